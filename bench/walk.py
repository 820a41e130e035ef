"""From nothing to a model of one's own photos and its answers, walked at one go: Beholder, fastai and Keras.

    .venv/bin/python bench/walk.py [MINUTES [WHO …]]       (2 minutes; WHO: beholder, fastai, keras)

Each begins in an empty folder with an empty cache, and does what its first page says: get it, install it, and train on the 245
photos of ants and bees (as bench/newcomer.py does, with its programs); the 153 others are answered at the end. Beholder is
cloned from this checkout and shows its demo on the way. Seconds of the clock and of CPU are told for each command. fastai
starts from weights of a local folder: those it would fetch cannot be had everywhere. Needs the shared pictures, a package
index, and 16 GB of disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from newcomer import AROUND, FASTAI, FASTAI_ANSWERS, KERAS, KERAS_ANSWERS, ROOT, SOURCE, STOPPING, WEIGHTS, cpu, unpack

from beholder.measure.intervals import wilson

FASTAI_OF_LOCAL = FASTAI.replace("NET", f'"local-dir:{WEIGHTS}"').replace("EPOCHS", "1") + FASTAI_ANSWERS
Rows = list[tuple[str, float, float]]
VENV = [sys.executable, "-m", "venv", ".venv"]


def step(what: str, command: list[str], folder: Path, rows: Rows, env: dict[str, str]) -> str:
    """Carry out a command, note how long it took and return what it printed; end the walk where it fails."""
    began, before = time.monotonic(), cpu()
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    rows.append((what, time.monotonic() - began, cpu() - before))
    print(f"  {what}: {rows[-1][1]:.0f} s, {rows[-1][2]:.0f} s of CPU", flush=True)
    if done.returncode:
        sys.exit(f"{what} failed: {done.stderr[-600:]}")
    return done.stdout


def ours(minutes: float, folder: Path, rows: Rows, env: dict[str, str]) -> dict[str, str]:
    """Return the answer for each file name."""
    step("git clone", ["git", "clone", "--quiet", str(ROOT), "beholder"], folder, rows, env)
    step("make demo", ["make", "-C", "beholder", "demo"], folder, rows, env)
    command = str(folder / "beholder" / ".venv" / "bin" / "beholder")
    step("beholder train", [command, "train", "own", "--minutes", str(minutes)], folder, rows, env)
    told = step("beholder predict", [command, "predict", "own.beholder", "new", "--json"], folder, rows, env)
    return {Path(row["path"]).name: row.get("label", "") for row in map(json.loads, told.splitlines())}


def peer(packages: list[str], program: str, folder: Path, rows: Rows, env: dict[str, str]) -> list[str]:
    """Return the answers in the order of new.json."""
    step("venv", VENV, folder, rows, env)
    python = str(folder / ".venv" / "bin" / "python")
    step("pip install", [python, "-m", "pip", "install", "--quiet", *packages], folder, rows, env)
    (folder / "program.py").write_text(AROUND + program)
    told = step("python program.py", [python, "-W", "ignore", "program.py", str(time.time()), "new.json"], folder, rows, env)
    answers = [json.loads(line) for line in told.splitlines() if line.startswith('["answers"')]
    labels: list[str] = answers[0][2]
    return labels


def walk(who: str, minutes: float) -> None:
    """Walk one way from an empty folder to the answers."""
    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), Rows()
        new = unpack(folder)
        (folder / "new.json").write_text(json.dumps([str(path) for path in new]))
        home = {"HOME": name, "XDG_CACHE_HOME": f"{name}/cache", "PIP_NO_CACHE_DIR": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
        env = {key: value for key, value in os.environ.items() if not key.startswith(("BEHOLDER", "VIRTUAL", "PYTHON"))} | home
        print(f"{who}:", flush=True)
        if who == "beholder":
            said = ours(minutes, folder, rows, env)
            labels = [said.get(path.name, "") for path in new]
        elif who == "fastai":
            labels = peer(["fastai", "timm"], FASTAI_OF_LOCAL, folder, rows, env)
        else:
            program = STOPPING.replace("MINUTES", str(minutes)) + KERAS + KERAS_ANSWERS
            labels = peer(["keras", "tensorflow", "pillow"], program, folder, rows, env | {"KERAS_BACKEND": "tensorflow"})
        right = sum(label == path.parent.name for label, path in zip(labels, new, strict=True))
        wall, used = sum(row[1] for row in rows), sum(row[2] for row in rows)
        print(f"  in all {wall:.0f} s, {used:.0f} s of CPU; right: {wilson(right, len(new))}", flush=True)


if __name__ == "__main__":
    if not SOURCE.is_file():
        sys.exit("left out: it needs the shared pictures (BEHOLDER_SHARED)")
    for who in sys.argv[2:] or ("beholder", "fastai", "keras"):
        walk(who, float(sys.argv[1]) if len(sys.argv) > 1 else 2)
