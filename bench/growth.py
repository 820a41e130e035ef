"""Time and memory of `train` at 1, 2, 4, 8 and 16 times the pictures: cache, one epoch of a small net, bundle.

    .venv/bin/python bench/growth.py [PICTURES] [ROUNDS]

Each run is a process of its own over 1, 2, 4 … times PICTURES generated files of 64 × 64 pixels (2,000 by default) and may keep
16 MiB of pixels in memory. Memory is the most that was ever resident of the process's own (RssAnon, every 10 ms; pages of the
cache that the system keeps mapped are not it, for they can be dropped at any moment). Linear in time means that the last
doubling costs no more than twice; constant in memory, that it costs less than a tenth of the pixels that it adds; until then
the two shards of 64 MiB that the cache fills and writes grow to their size. Draws docs/figures/growth.png.
"""

from __future__ import annotations

import csv
import json
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image

FIGURE = Path(__file__).parent.parent / "docs" / "figures" / "growth.png"
TIMES, SIDE, CLASSES, MEMORY = (1, 2, 4, 8, 16), 64, 10, 16


def pictures(folder: Path, number: int) -> list[tuple[str, str]]:
    """Write small JPEG files, each class a colour under noise; return (path, label) of each."""
    rng = np.random.default_rng(0)
    colours = rng.integers(64, 192, (CLASSES, 1, 1, 3))
    rows = []
    for k in range(number):
        pixels = np.clip(colours[k % CLASSES] + rng.normal(0, 40, (SIDE, SIDE, 3)), 0, 255).astype(np.uint8)
        path = folder / f"{k // 1000:03}" / f"{k:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
        rows.append((str(path.relative_to(folder)), f"class {k % CLASSES}"))
    return rows


class Peak(threading.Thread):
    """Watches this process's own resident memory, in MiB."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0.0

    def run(self) -> None:
        while True:
            found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
            self.most = max(self.most, int(found[1]) / 1024 if found else 0.0)
            time.sleep(0.01)


def one(table: Path) -> dict[str, float]:
    """Train on a few pictures and then on those of a table; return seconds, and MiB above the peak of the first training."""
    import beholder
    from beholder.base import events

    watch = Peak()
    watch.start()
    with events.listen(alone=True):
        beholder.train(
            beholder.split(beholder.scan(table.with_name("few.csv"))),
            net="cnn",
            width=0.25,
            epochs=1,
            batch=64,
            precision="fp32",
        )
        before = watch.most
        began, busy = time.perf_counter(), time.process_time()
        parts = beholder.split(beholder.scan(table), seed=0)
        bundle = beholder.train(parts, net="cnn", width=0.25, epochs=1, batch=64, precision="fp32", memory=MEMORY, size=SIDE)
        seconds, cpu = time.perf_counter() - began, time.process_time() - busy
    return {"seconds": seconds, "cpu": cpu, "peak": watch.most - before, "n": bundle.config.parts["train"]}


def run(table: Path, home: Path) -> dict[str, float]:
    import os

    with tempfile.TemporaryDirectory(dir=home) as cache:  # a user's home of its own: the cache starts empty
        command = [sys.executable, "-W", "ignore", __file__, "--one", str(table)]
        done = subprocess.run(command, env={**os.environ, "HOME": cache}, stdout=subprocess.PIPE, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def draw(counts: list[int], seconds: list[float], peaks: list[float]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.4), layout="constrained")
    slope, start = np.polyfit(counts, seconds, 1)
    left.plot(counts, seconds, "o", color="#1f6f8b", label="measured")
    left.plot([0, counts[-1]], [start, start + slope * counts[-1]], color="#1f6f8b", alpha=0.5, label="straight line")
    left.set(xlabel="pictures", ylabel="seconds", title="time of cache, epoch and bundle", xlim=0, ylim=0)
    right.plot(counts, peaks, "o-", color="#1f6f8b", label="measured")
    held = [count * SIDE * SIDE * 3 / 2**20 for count in counts]
    right.plot(counts, held, "--", color="#b5482f", label="if all pixels stayed in memory")
    right.set(
        xlabel="pictures",
        ylabel="MiB",
        title="memory of the process beyond its start",
        xlim=0,
        ylim=(0, 1.2 * max(*peaks, *held)),
    )
    for axes in (left, right):
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(FIGURE, dpi=130)


def main(number: int, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = pictures(folder, number * TIMES[-1])
        for stem, count in [("few", 200), *((str(k), number * k) for k in TIMES)]:
            with (folder / f"{stem}.csv").open("w", newline="") as file:
                csv.writer(file).writerows([("path", "label"), *rows[:count]])
        runs: dict[int, list[dict[str, float]]] = {k: [] for k in TIMES}
        for _ in range(rounds):
            for k in TIMES:
                runs[k].append(run(folder / f"{k}.csv", folder))
    seconds = [statistics.median(r["seconds"] for r in runs[k]) for k in TIMES]
    peaks = [statistics.median(r["peak"] for r in runs[k]) for k in TIMES]
    busy = [statistics.median(r["cpu"] for r in runs[k]) for k in TIMES]
    print(
        f"medians of {rounds}; {MEMORY} MiB of pixels may stay in memory; peaks are beyond that of training on a few pictures"
    )
    for k, s, c, p in zip(TIMES, seconds, busy, peaks, strict=True):
        pixels = number * k * SIDE * SIDE * 3 / 2**20
        print(f"  {number * k:7} pictures ({pixels:6.1f} MiB of pixels)  {s:7.2f} s, {c:7.2f} s of CPU  peak {p:6.0f} MiB")
    added = number * (TIMES[-1] - TIMES[-2]) * SIDE * SIDE * 3 / 2**20
    doubled = f"{seconds[-1] / seconds[-2]:.2f} times the seconds, {busy[-1] / busy[-2]:.2f} times those of CPU"
    print(f"the last doubling: {doubled}; {peaks[-1] - peaks[-2]:.1f} MiB more for {added:.1f} MiB of pixels")
    draw([number * k for k in TIMES], seconds, peaks)
    print(f"drawn to {FIGURE}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        print(json.dumps(one(Path(sys.argv[2]))))
    else:
        main(*([int(word) for word in sys.argv[1:3]] + [2000, 3][len(sys.argv) - 1 :])[:2])
