"""The classic first program on Fashion-MNIST: Keras on TensorFlow against `beholder train`, in turn.

    .venv/bin/python bench/tutorial.py [ROUNDS]

Like for like (`--recipe tutorial`): conv 32@3x3, ReLU, max-pool 2, flatten, dense; Adam at 0.001, batch 32, 10 epochs. Keras
trains on all 60,000 pictures; Beholder keeps 9,000 of them for validation, after every epoch. `--recipe sprint` may do as it
likes; its settings were chosen once, to end no worse than Keras. Keras has the time of its `fit` alone, from arrays in memory;
Beholder's is given twice: that of its loop, and the wall time of the whole command, from the zip to the report.
Needs the shared pictures, and the environment of bench/peers.txt (BEHOLDER_PEERS: its python).
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "fashion-mnist.zip"
PEERS = os.environ.get("BEHOLDER_PEERS", str(ROOT / "bench" / "out" / "peers" / "bin" / "python"))

SPRINT = ("net.width=0.25", "train.epochs=1", "train.batch=250", "data.grow=0.3", "data.augment=none", "data.val=0.02")
"""How `sprint` ends no worse than Keras on this set (docs/LOG.md)."""

KERAS = """
import json, os, sys, time
os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
import keras, numpy
held = numpy.load(sys.argv[1])
x, y, x_test, y_test = (held[name] for name in ("x", "y", "x_test", "y_test"))
keras.utils.set_random_seed(0)
net = keras.Sequential([
    keras.Input((28, 28, 1)), keras.layers.Conv2D(32, 3, activation="relu"), keras.layers.MaxPooling2D(2),
    keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax"),
])
net.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
began = time.time()
net.fit(x[..., None] / 255, y, epochs=10, batch_size=32, verbose=0)
seconds = time.time() - began
print(json.dumps({"seconds": seconds, "accuracy": net.evaluate(x_test[..., None] / 255, y_test, verbose=0)[1]}))
"""


def arrays(path: Path) -> None:
    import numpy as np

    import beholder

    (x, y), (x_test, y_test) = beholder.arrays(SOURCE)
    np.savez(path, x=x, y=y, x_test=x_test, y_test=y_test)


def keras(held: Path) -> dict[str, float]:
    done = subprocess.run(
        [PEERS, "-c", KERAS, str(held)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def ours(folder: Path, recipe: str) -> dict[str, float]:
    out, began = folder / f"{recipe}.beholder", time.monotonic()
    command = [sys.executable, "-m", "beholder", "train", str(SOURCE), "--recipe", recipe, "--out", str(out), "--json"]
    for change in SPRINT if recipe == "sprint" else ():
        command += ["--set", change]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    wall = time.monotonic() - began
    history = json.loads((out / "history.json").read_text())
    return {"seconds": history[-1]["seconds"], "wall": wall, "accuracy": json.loads(done.stdout)["scores"]["accuracy"]["value"]}


def main(rounds: int) -> None:
    if not Path(PEERS).is_file() or not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED) and the peers of bench/peers.txt (BEHOLDER_PEERS)")
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        arrays(folder / "fashion.npz")
        theirs: list[dict[str, float]] = []
        mine: dict[str, list[dict[str, float]]] = {"tutorial": [], "sprint": []}
        for _ in range(rounds):
            theirs.append(keras(folder / "fashion.npz"))
            print(f"keras {theirs[-1]}", flush=True)
            for recipe, runs in mine.items():
                runs.append(ours(folder, recipe))
                print(f"{recipe} {runs[-1]}", flush=True)
    peer = {key: statistics.median(run[key] for run in theirs) for key in ("seconds", "accuracy")}
    print(f"medians of {rounds}: keras fit {peer['seconds']:.1f} s, {peer['accuracy']:.4f}")
    for recipe, runs in mine.items():
        median = {key: statistics.median(run[key] for run in runs) for key in ("seconds", "wall", "accuracy")}
        loop, whole = peer["seconds"] / median["seconds"], peer["seconds"] / median["wall"]
        print(f"{recipe}: loop {median['seconds']:.1f} s, whole command {median['wall']:.1f} s, {median['accuracy']:.4f}")
        print(f"  Keras's fit takes {loop:.2f} times as long as our loop, {whole:.2f} times as long as our whole command")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1)
