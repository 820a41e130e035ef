"""What `train` takes beyond its bare training steps: start-up, augmentation, validation, test, saving and the report.

    .venv/bin/python bench/overhead.py [MINUTES]

Runs `beholder train fashion-mnist.zip --minutes M --profile` on a warm cache, with bare steps of the same net, batch and
precision timed in this process before and after it. Needs the shared pictures. Goal: at most 10 % of the wall time.
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

from steps import net_of, seconds_of, stepper

from beholder.machine.device import device, precision

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "fashion-mnist.zip"
BATCH, SIDE, WIDTH = 512, 28, 0.5


def train(folder: Path, *more: str) -> tuple[dict[str, float], list[dict[str, float]], float]:
    out, began = folder / "m.beholder", time.perf_counter()
    command = [sys.executable, "-m", "beholder", "train", str(SOURCE), "--net", "fastnet", "--out", str(out), "--json"]
    more = (*more, "--set", f"train.batch={BATCH}", "--set", f"net.width={WIDTH}", "--profile")
    done = subprocess.run([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    wall = time.perf_counter() - began
    return json.loads(done.stdout)["profile"], json.loads((out / "history.json").read_text()), wall


def main(minutes: float) -> None:
    if not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
        return
    on = device()
    net = net_of("fastnet", side=SIDE, channels=1, width=WIDTH, on=on)
    step = stepper(net, batch=BATCH, side=SIDE, channels=1, precision=precision(on), name="muon")
    with tempfile.TemporaryDirectory() as name:
        train(Path(name), "--minutes", "0.2")  # fills the cache
        seconds_of(step, on, times=3)
        bare = [seconds_of(step, on) for _ in range(20)]
        profile, history, wall = train(Path(name), "--minutes", str(minutes), "--set", "train.epochs=1000")
        bare += [seconds_of(step, on) for _ in range(20)]
    taken = history[-1]["step"]
    each = statistics.median(bare)
    print(f"{taken} steps of {BATCH} in {wall:.1f} s of wall time; a bare step takes {1000 * each:.1f} ms (median of 40)")
    print(f"  overhead: {1 - taken * each / wall:.1%} of the wall time (goal: 10 %)")
    spans = ", ".join(f"{name} {value:.2f}" for name, value in profile["seconds"].items())
    print(f"  by the profile, seconds: {spans}")
    inside = sum(profile["seconds"].get(name, 0.0) for name in ("forward", "backward", "optimiser"))
    print(f"  forward, backward and optimiser inside the run took {inside / (taken * each):.2f} times as long as bare steps")


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
