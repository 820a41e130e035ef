"""SIGKILL of one of the processes of `train --launch local:3` at random moments: does every run come to its right end?

    .venv/bin/python bench/faults.py [KILLS] [SEED]

KILLS: how many runs (50). Each trains a small net on scikit-learn's digits; one of its processes, drawn at random, is killed at
a moment drawn over the time that an undisturbed run takes. Where it is the first, the same command with --resume has to end it;
else the run has to go on by itself. A right end: exit code 0, a bundle that loads, every epoch once in its history at the step
of the undisturbed run, with its training loss within 1 %, and no process left behind.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np

TRAIN = "train digits.npz --net cnn --epochs 6 --batch 48 --seed 1 --audit off --launch local:3 --set train.precision=fp32"
MORE = "--set train.optimiser=sgd --set train.lr=0.02 --set net.width=0.5 --set train.patience=0"


def digits(folder: Path) -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    images = np.repeat(np.repeat((found.images * 15).astype(np.uint8), 2, 1), 2, 2)
    np.savez(folder / "digits.npz", x=images[:900, :, :, None], y=found.target[:900])


def started(top: Path, out: Path, *more: str) -> subprocess.Popen[bytes]:
    words = [*TRAIN.split(), *MORE.split(), "--out", str(out), *more]
    env = {**os.environ, "HOME": str(top), "OMP_NUM_THREADS": "1"}
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, "-m", "beholder", *words], cwd=top, env=env, **nowhere)


def children(of: int) -> list[int]:
    """Return the processes that one has started, in the order of their start."""
    return sorted(int(word) for word in Path(f"/proc/{of}/task/{of}/children").read_text().split())


def alive(process: int) -> bool:
    """Return whether a process runs: one that is over, and that nobody has asked for, does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def history(out: Path) -> list[tuple[int, int, float]]:
    import beholder

    return [(row["epoch"], row["step"], row["loss"]) for row in beholder.load(out).history]


def one(top: Path, number: int, victim: int, moment: float) -> tuple[str, Path]:
    """Return what was killed, and where the bundle has to lie: a run that was disturbed once, and brought to its end."""
    out = top / f"{number}.beholder"
    run = started(top, out)
    began, others = time.monotonic(), []
    while run.poll() is None and time.monotonic() - began < moment:
        time.sleep(0.01)
        others = children(run.pid) if run.poll() is None else others
    if run.poll() is not None:
        return "over before", out
    if victim == 0 or victim > len(others):
        run.send_signal(signal.SIGKILL)
        run.wait()
        killed = "the first"
        run = started(top, out, "--resume") if out.with_suffix(".run").exists() else started(top, out)
    else:
        os.kill(others[victim - 1], signal.SIGKILL)
        killed = "another"
    code = run.wait()
    until = time.monotonic() + 60
    while any(map(alive, others)) and time.monotonic() < until:
        time.sleep(0.1)
    left = [process for process in others if alive(process)]
    return (killed if code == 0 and not left else f"{killed}: exit code {code}, {len(left)} processes left"), out


def main(kills: int, seed: int) -> None:
    moments = random.Random(seed)
    with tempfile.TemporaryDirectory() as place:
        top = Path(place)
        digits(top)
        began = time.monotonic()
        assert started(top, top / "whole.beholder").wait() == 0
        took, whole = time.monotonic() - began, history(top / "whole.beholder")
        print(f"undisturbed: {took:.1f} s, {len(whole)} epochs", flush=True)
        ends: Counter[str] = Counter()
        wrong = number = 0
        while sum(ends.values()) < kills:
            moment = moments.uniform(0.0, took)
            killed, out = one(top, number, moments.randrange(3), moment)
            number += 1
            if killed == "over before":
                continue
            ends[killed] += 1
            found = history(out) if out.exists() else []
            same = [row[:2] for row in found] == [row[:2] for row in whole]
            near = same and np.allclose([row[2] for row in found], [row[2] for row in whole], rtol=0.01)
            wrong += not near or killed not in ("the first", "another")
            print(f"  {killed} killed after {moment:.1f} s: {'right' if near else f'wrong: {found}'}", flush=True)
        total = sum(ends.values())
        print(f"{total} kills ({', '.join(f'{n} of {who}' for who, n in ends.items())}): {total - wrong} right ends")


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], *("50", "0")[len(sys.argv) - 1 :]]))
