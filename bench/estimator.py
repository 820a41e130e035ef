"""CPU seconds of `ImageClassifier.fit` and `Features.transform` on scikit-learn's digits: bench/estimator.py [REPEATS]."""

from __future__ import annotations

import pickle
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
from sklearn.datasets import load_digits

import beholder
from beholder import Features, ImageClassifier


def timed(name: str, work: Callable[[], object], repeats: int) -> None:
    taken = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            beholder.cache(folder)
            began = time.process_time()
            work()
            taken.append(time.process_time() - began)
    print(f"{name}: {min(taken):.2f} to {max(taken):.2f} s of CPU time (n = {repeats})", flush=True)


def main(repeats: int) -> None:
    digits = load_digits()
    x, y = (digits.images * 15.9).astype(np.uint8), digits.target
    plain = ImageClassifier("logistic", epochs=12, lr=0.1, augment="none", random_state=0)
    default = ImageClassifier(random_state=0)
    with beholder.listen(alone=True):
        plain.fit(x[:50], y[:50])
        timed("logistic, 12 epochs, 120 pictures", lambda: plain.fit(x[:120], y[:120]), repeats)
        timed("logistic, 12 epochs, 1,797 pictures", lambda: plain.fit(x, y), repeats)
        timed("Features, the net on board, 200 pictures", lambda: Features().fit(x[:200]).transform(x[:200]), repeats)
        timed("default, 1,200 pictures", lambda: default.fit(x[:1200], y[:1200]), 1)
        right, size = default.score(x[1200:], y[1200:]), len(pickle.dumps(default))
        print(f"{right:.3f} on the other {len(x) - 1200}; {size:,} bytes pickled")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
