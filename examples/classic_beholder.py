"""The classic first program in Beholder's five lines; net, optimiser and epochs of the recipe `tutorial` are those of Keras.

python examples/classic_beholder.py fashion-mnist.zip
"""

from __future__ import annotations

import sys

import beholder


def five_lines(source: str, **fields: object) -> float:
    """Return the test accuracy in percent; weights are chosen on a validation part."""
    pictures = beholder.scan(source)
    parts = beholder.split(pictures)
    model = beholder.train(parts, recipe="tutorial", **fields)
    scores = beholder.evaluate(model, parts.test)
    return 100 * scores.scores.headline["accuracy"].value


if __name__ == "__main__":
    print(f"Accuracy: {five_lines(sys.argv[1]):.2f}")
