"""The ranges of `predict --parts` carried out by Ray Data and by plain tasks, on a cluster of this machine: which is faster?

    .venv/bin/python bench/ray_data.py [PICTURES] [ROUNDS]

PICTURES: how many, 32 × 32 pixels of noise (24,000), in 64 ranges; ROUNDS: of each, in turn (3). All call the same function of
a range (`study/range_work.py`) on the same plan, with a core each: Ray Data as `map` over the numbers of the ranges, by tasks
and by actors, and Beholder's own tasks, which also say how far they are, are watched for silence, and are begun again where
they die. The cluster is there before the clock starts. Ray Data repeats a task by itself; what it has no place for is a range
that is told apart from the others: how far it is, since when it is silent, and that it is left out after three tries.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

import beholder
from beholder.machine.cluster import connected
from beholder.study.range_work import work

RANGES = 64


def done(folder: str, row: dict[str, Any]) -> dict[str, Any]:
    """Carry out a range of the plan in `folder`."""
    for _ in work(folder, int(row["id"]), 1):
        pass
    return row


class Worker:
    """An actor that carries out ranges."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return done(self.folder, row)


def prepared(folder: Path, n: int) -> None:
    """Write a set and a bundle."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % 10
    x = (rng.integers(0, 100, (n, 32, 32, 3)) + (15 * y)[:, None, None, None]).astype(np.uint8)
    np.savez(folder / "set.npz", x=x, y=y)
    np.savez(folder / "few.npz", x=x[:2000], y=y[:2000])
    beholder.train(
        beholder.split(beholder.scan(folder / "few.npz"), seed=0), net="fastnet", epochs=1, seed=0, out=folder / "m.beholder"
    )


def emptied(parts: Path) -> None:
    for path in parts.glob("part-*.parquet"):
        path.unlink()


def main(n: int = 24_000, rounds: int = 3) -> None:
    os.environ.setdefault("RAY_DATA_DISABLE_PROGRESS_BARS", "1")
    with tempfile.TemporaryDirectory() as top, connected() as ray:
        folder, parts = Path(top), Path(top) / "parts"
        prepared(folder, n)
        cores = max(1, int(ray.cluster_resources()["CPU"]))

        def tasks() -> None:
            beholder.predict_parts(folder / "m.beholder", folder / "set.npz", parts, launch="ray", ranges=RANGES)

        def data(by: Any, **more: Any) -> None:
            rows = ray.data.range(RANGES, override_num_blocks=RANGES).map(by, num_cpus=1, **more)
            assert len(list(rows.iter_rows())) == RANGES

        ways: dict[str, Callable[[], None]] = {
            "tasks": tasks,
            "Ray Data, tasks": lambda: data(lambda row: done(str(parts), row)),
            "Ray Data, actors": lambda: data(Worker, fn_constructor_args=(str(parts),), concurrency=cores),
        }
        tasks()
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                emptied(parts)
                began = time.monotonic()
                way()
                seconds[name].append(time.monotonic() - began)
                assert len(list(parts.glob("part-*.parquet"))) == RANGES, name
                print(f"{name}: {seconds[name][-1]:.1f} s", flush=True)
        for name, each in seconds.items():
            print(f"{name}: median {median(each):.1f} s, {n / median(each):.0f} pictures a second")


if __name__ == "__main__":
    main(*(int(word) for word in sys.argv[1:]))
