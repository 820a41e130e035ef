"""The textbooks' Keras program on torch and Beholder's five lines, in turn; and what channels-last costs in Keras on torch.

    .venv/bin/python bench/classic.py [EPOCHS] [SOURCE]

Both programs are those of examples/, whole: start, reading, training, test; Beholder's also keeps a validation part.
Wall and CPU seconds are of the whole process. Then a step (forward, backward, Adam; batch 32, 28×28, conv 32@3x3, max-pool,
dense) is timed by CPU seconds in one thread: in torch, as `keras:` nets of both layouts, and by Keras's own `train_on_batch`;
medians of 100 steps, in turn. SOURCE is Fashion-MNIST of the shared pictures by default.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("KERAS_BACKEND", "torch")

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "fashion-mnist.zip"
FIVE = (
    "import sys; sys.path.insert(0, 'examples'); from classic_beholder import five_lines as f; print(f(sys.argv[1], epochs={}))"
)


def program(words: list[str]) -> dict[str, float]:
    before, began = os.times(), time.monotonic()
    done = subprocess.run([sys.executable, *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    accuracy = float(done.stdout.decode().split()[-1])
    return {"wall": round(time.monotonic() - began, 1), "cpu": round(cpu, 1), "accuracy": round(accuracy, 2)}


def steps() -> dict[str, Callable[[], object]]:
    import keras
    import torch
    from keras import layers
    from torch import nn

    from beholder.nets.keras import wrapped

    def model(form: str) -> keras.Model:
        shape = (28, 28, 1) if form == "channels_last" else (1, 28, 28)
        how = {"data_format": form}
        conv, pool = layers.Conv2D(32, 3, activation="relu", **how), layers.MaxPooling2D(2, **how)
        return keras.Sequential([keras.Input(shape), conv, pool, layers.Flatten(), layers.Dense(10, activation="softmax")])

    x, y = torch.rand(32, 1, 28, 28), torch.randint(0, 10, (32,))
    x = x.contiguous(memory_format=torch.channels_last)

    def of(net: nn.Module) -> Callable[[], object]:
        adam = torch.optim.Adam(net.train().parameters(), fused=True)

        def step() -> None:
            nn.functional.cross_entropy(net(x), y).backward()
            adam.step()
            adam.zero_grad()

        return step

    how = {"channels": 1, "size": (28, 28), "classes": 10}
    plain = model("channels_last")
    plain.compile(optimizer="adam", loss="sparse_categorical_crossentropy")
    nhwc, target = x.permute(0, 2, 3, 1).numpy(), y.numpy()
    return {
        "torch": of(nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * 169, 10))),
        "keras: channels first": of(wrapped(model("channels_first"), "first", **how)),
        "keras: channels last": of(wrapped(model("channels_last"), "last", **how)),
        "Keras, train_on_batch": lambda: plain.train_on_batch(nhwc, target),
    }


def layouts() -> dict[str, float]:
    import torch

    torch.set_num_threads(1)
    found = steps()
    times: dict[str, list[float]] = {name: [] for name in found}
    for k in range(110):
        for name, step in found.items():
            began = time.process_time()
            step()
            if k >= 10:
                times[name].append(1000 * (time.process_time() - began))
    return {name: round(statistics.median(each), 2) for name, each in times.items()}


def main(epochs: int, source: str) -> None:
    print(json.dumps({"milliseconds of a step": layouts()}), flush=True)
    if not Path(source).exists():
        print("the programs are left out: give SOURCE, or the shared pictures (BEHOLDER_SHARED)")
        return
    print(json.dumps({"keras": program(["examples/classic_keras.py", source, "--epochs", str(epochs)])}), flush=True)
    print(json.dumps({"beholder": program(["-c", FIVE.format(epochs), source])}), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10, sys.argv[2] if len(sys.argv) > 2 else str(SHARED))
