"""SIGKILL of `tune` and of `train --minutes` at random moments: is anything lost but the slice that was running?

    .venv/bin/python bench/killed.py [KILLS] [tune] [train]

KILLS: of each (20); default: both. tune: a study with its budget in epochs is killed again and again and goes on each time; its
winner has to be that of a study that nobody disturbed, bit for bit. train: a run with a budget of minutes is killed at a moment
drawn over all of its time; from the first model on, a whole bundle has to lie at --out, and --resume has to end in a tested one
of the same net and size that the killed run had decided for.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

TUNE = """
import sys, beholder, torch
torch.set_num_threads(1)
beholder.tune(sys.argv[1], minutes=30, trials=4, net="cnn", epochs=8, batch=8, precision="fp32", out=sys.argv[2])
"""
MINUTES = 0.4


def leaves(folder: Path, each: int, side: int) -> Path:
    """Write three classes of pictures which differ in colour, and return their folder."""
    rng = np.random.default_rng(0)
    for name, colour in {"healthy": (40, 160, 60), "mildew": (210, 210, 220), "rust": (180, 80, 20)}.items():
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = np.clip(np.array(colour) + rng.integers(-90, 90, (side, side, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:03}.png")
    return folder


def started(words: list[str], home: Path) -> subprocess.Popen[bytes]:
    nowhere = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen([sys.executable, *words], env={**os.environ, "HOME": str(home)}, **nowhere)


def ended(run: subprocess.Popen[bytes], seconds: float) -> bool:
    """Kill a run after so many seconds; return whether it was over before."""
    try:
        run.wait(seconds)
    except subprocess.TimeoutExpired:
        run.send_signal(signal.SIGKILL)
        run.wait()
        return False
    return True


def tune(top: Path, kills: int) -> str:
    import beholder
    from beholder.base.files import file_sha256

    source, whole, out = leaves(top / "leaves", 40, 24), top / "whole.beholder", top / "m.beholder"
    began = time.monotonic()
    assert started(["-c", TUNE, str(source), str(whole)], top).wait() == 0
    took, moments, done, rounds = time.monotonic() - began, random.Random(0), 0, 0
    same, told = 0, 0
    while done < kills:
        for _ in range(3):  # in a row: each time it goes on from where it was
            done += not ended(started(["-c", TUNE, str(source), str(out)], top), moments.uniform(0.2, 0.9) * took)
        assert started(["-c", TUNE, str(source), str(out)], top).wait() == 0
        rounds += 1
        same += file_sha256(out / "model.safetensors") == file_sha256(whole / "model.safetensors")
        same -= beholder.load(out).recipe != beholder.load(whole).recipe
        told += trials(beholder.load(out)) == trials(beholder.load(whole))
        for path in top.glob("m.*"):
            subprocess.run(["rm", "-rf", str(path)], check=True)
    return f"tune: {done} kills in {rounds} studies, the same winner, bit for bit, in {same}, the same trials in {told}"


def trials(bundle: Any) -> list[tuple[Any, ...]]:
    """Return the number, state, reason and score of each trial of a search."""
    return [tuple(row[name] for name in ("trial", "state", "reason", "valid_score")) for row in bundle.config.search["trials"]]


def train(top: Path, kills: int) -> str:
    import beholder

    source = leaves(top / "photos", 60, 120)
    words = ["-m", "beholder", "train", str(source), "--minutes", str(MINUTES), "--out"]
    moments, there, whole, resumed, decided = random.Random(1), 0, 0, 0, 0
    for number in range(kills):
        out = top / f"{number}.beholder"
        moment = moments.uniform(4.0, 60 * MINUTES)
        if ended(started([*words, str(out)], top), moment):
            continue
        there += 1
        whole += out.exists() and beholder.load(out) is not None
        chosen = out.with_suffix(".run") / "decided.json"
        before = json.loads(chosen.read_text("utf-8")) if chosen.is_file() else {}
        resumed += started([*words, str(out), "--resume"], top).wait() == 0 and bool(beholder.load(out).scores)
        after = beholder.load(out)
        decided += not before or before.get("net") == after.recipe.net.name
        print(f"  killed after {moment:.1f} s: {'a model lies there' if out.exists() else 'nothing yet'}", flush=True)
    return (
        f"train: {there} kills, a whole model lay there after {whole}, resumed to a tested one {resumed} times, "
        f"by the recipe that was decided {decided} times"
    )


if __name__ == "__main__":
    given = sys.argv[1:]
    count = int(given[0]) if given and given[0].isdigit() else 20
    for part in (tune, train):
        if part.__name__ in given or not {"tune", "train"} & set(given):
            with tempfile.TemporaryDirectory() as place:
                print(part(Path(place), count), flush=True)
