"""The articles' Keras program on TensorFlow, its `fit` alone, beside the whole `beholder train … --recipe sprint`, in turn.

    .venv/bin/python bench/article.py PYTHON [EPOCHS] [TIMES] [WORDS …]

PYTHON: an interpreter that has tensorflow. Keras is given the arrays, and the clock starts with `fit`: 10 epochs of the classic
program (conv 32@3x3, max-pool, dense; Adam, batches of 32) of Fashion-MNIST. Ours is the whole process: start, zip, split,
audit, training, the test of 10,000 pictures, report. WORDS: options of `train`. Needs the shared pictures (BEHOLDER_SHARED).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import beholder

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "fashion-mnist.zip"

KERAS = """
import json, os, sys, time
os.environ["TF_CPP_MIN_LOG_LEVEL"], os.environ["KERAS_BACKEND"] = "3", "tensorflow"
import numpy as np
from keras import Input, Sequential
from keras.layers import Conv2D, Dense, Flatten, MaxPooling2D
from keras.utils import set_random_seed
with np.load(sys.argv[1]) as found:
    x, y, z, goal = (found[name] for name in ("x", "y", "z", "goal"))
x, z = x[..., None] / 255.0, z[..., None] / 255.0
set_random_seed(int(sys.argv[3]))
layers = [Conv2D(32, (3, 3), activation="relu"), MaxPooling2D((2, 2)), Flatten(), Dense(10, activation="softmax")]
model = Sequential([Input(x.shape[1:]), *layers])
model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
began = time.monotonic()
model.fit(x, y, epochs=int(sys.argv[2]), batch_size=32, verbose=0)
seconds = time.monotonic() - began
print(json.dumps({"seconds": seconds, "accuracy": float(model.evaluate(z, goal, verbose=0)[1])}))
"""


def theirs(python: str, arrays: Path, epochs: int, seed: int) -> dict[str, float]:
    """Return the seconds of `fit`, and the test accuracy."""
    done = subprocess.run(
        [python, "-c", KERAS, str(arrays), str(epochs), str(seed)], capture_output=True, text=True, check=True
    )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def ours(folder: Path, seed: int, words: list[str]) -> dict[str, float]:
    """Return the seconds of the whole command in a new home, and the test accuracy."""
    home, out = folder / f"home{seed}", folder / f"{seed}.beholder"
    home.mkdir()
    command = [sys.executable, "-m", "beholder", "train", str(SOURCE), "--recipe", "sprint", "--seed", str(seed), *words]
    began = time.monotonic()
    done = subprocess.run(
        [*command, "--out", str(out), "--json"], env={**os.environ, "HOME": str(home)}, stdout=subprocess.PIPE, check=True
    )
    seconds = time.monotonic() - began
    return {"seconds": seconds, "accuracy": float(json.loads(done.stdout)["scores"]["accuracy"]["value"])}


def main(python: str, epochs: str = "10", times: str = "1", *words: str) -> None:
    """Measure both in turn and say it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (x, y), (z, goal) = beholder.arrays(SOURCE)
        np.savez(folder / "arrays.npz", x=x, y=y, z=z, goal=goal)
        for seed in range(int(times)):
            for name in ("keras", "ours"):
                keras = name == "keras"
                row = theirs(python, folder / "arrays.npz", int(epochs), seed) if keras else ours(folder, seed, list(words))
                print(f"{name} seed {seed}: {row['accuracy']:.4f} after {row['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
