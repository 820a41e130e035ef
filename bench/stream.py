"""Batches that stay in memory against batches that are read ahead from the cache, on pictures of CIFAR's size, in turn.

    .venv/bin/python bench/stream.py [ROUNDS]

The set is four times the memory that it is allowed. Both train fastnet of width 0.5 in batches of 512 in the precision that
this chip gets. Prints a step's time either way, the time waited for pixels as a share of the wall time (goal: under 5 %), and
the cost of each augmentation as a share of the step (goal: under 10 %).
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from beholder.base import events
from beholder.base.records import PixelPolicy
from beholder.data.augment import preset
from beholder.data.cache import Pixels, cached
from beholder.data.loader import Batches
from beholder.machine.device import device, precision
from beholder.nets.build import build
from beholder.nets.spec import NetSpec
from beholder.sources import scan

N, BATCH, MEAN, STD = 4096, 512, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
BYTES = N * 3 * 32 * 32


def pixels(root: Path) -> Pixels:
    x = np.random.default_rng(0).integers(0, 256, (N, 32, 32, 3), dtype=np.uint8)
    with events.listen(alone=True):
        return cached(scan((x, np.arange(N) % 10)), PixelPolicy(32, 32), root=root)


def batches(found: Pixels, augmentation: str, memory: int) -> Batches:
    targets = F.one_hot(torch.arange(N) % 10, 10).float()
    plan = preset(augmentation, size=32)
    return Batches(found, targets, batch=BATCH, seed=0, device=device(), mean=MEAN, std=STD, plan=plan, memory=memory)


class Trainer:
    """One net and its optimiser; `epoch` returns the wall seconds of an epoch and the seconds of it spent in making batches."""

    def __init__(self) -> None:
        self.net = build(NetSpec("fastnet", channels=3, height=32, width_px=32, classes=10, width=0.5))
        self.net.to(device(), memory_format=torch.channels_last).train()
        self.optimiser = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        self.precision = precision(device())

    def epoch(self, source: Batches, number: int) -> tuple[float, float]:
        began, making = time.perf_counter(), 0.0
        these = source.epoch(number)
        while True:
            start = time.perf_counter()
            batch = next(these, None)
            making += time.perf_counter() - start
            if batch is None:
                return time.perf_counter() - began, making
            with torch.autocast(device().type, dtype=self.precision.dtype, enabled=self.precision.mixed):
                loss = F.cross_entropy(self.net(batch.images.contiguous(memory_format=torch.channels_last)), batch.targets)
            loss.backward()
            self.optimiser.step()
            self.optimiser.zero_grad()
            loss.item()


def main(rounds: int) -> None:
    trainer = Trainer()
    with tempfile.TemporaryDirectory() as folder:
        found = pixels(Path(folder))
        held = {name: batches(found, name, BYTES) for name in ("none", "light", "standard", "strong")}
        streamed = batches(found, "light", BYTES // 4)
        assert not streamed.resident
        trainer.epoch(held["none"], 0)
        walls: dict[str, list[float]] = {name: [] for name in (*held, "streamed")}
        makings: dict[str, list[float]] = {name: [] for name in held}
        stalls = []
        for number in range(rounds):
            for name, source in held.items():
                wall, making = trainer.epoch(source, number)
                walls[name].append(wall)
                makings[name].append(making / wall)
            before = streamed.stall
            wall, _ = trainer.epoch(streamed, number)
            walls["streamed"].append(wall)
            stalls.append((streamed.stall - before) / wall)
    steps = N // BATCH
    print(f"fastnet 0.5, batch {BATCH}, {trainer.precision.name}, {torch.get_num_threads()} threads, medians of {rounds}")
    for name in held:
        step, share = statistics.median(walls[name]) / steps, statistics.median(makings[name])
        print(f"  {name:9} step {step * 1e3:6.1f} ms, of which gathering and augmenting {share:6.2%}  (goal: under 10 %)")
    step = statistics.median(walls["streamed"]) / steps
    ratio = statistics.median(a / b for a, b in zip(walls["streamed"], walls["light"], strict=True))
    print(f"  streamed  step {step * 1e3:6.1f} ms, {ratio:.3f} times that of light in memory")
    print(f"  stall {statistics.median(stalls):.2%} of the wall time, at most {max(stalls):.2%}  (goal: under 5 %)")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 5)
