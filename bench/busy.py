"""`beholder train` on a busy machine, against a few lines of other libraries in the same minutes (bench/head.py).

    .venv/bin/python bench/busy.py [SETS] [MINUTES] [LOOPS]

Each with commas between; default: trashnet,ants-bees,sign-digits,pneumonia,fashion-mnist,cifar10 for 0.5,1,2 minutes with 0,2,6
busy loops beside, which takes hours. Photos and X-rays are measured against timm's features of the frozen backbone that comes
with the install and a logistic regression; Fashion-MNIST and CIFAR-10 against the better one of a logistic regression on
pixels and the classic small net. The same files, split, load and minutes; threads as each of them sets them. Each run has a
home of its own, so nothing is remembered. Both are scored on the whole test part, off the clock.

A cell holds if ours is not lower by more than 2 points and two standard errors of the paired difference, and took no longer
than 1.05 × the minutes and 5 s. Results are appended to bench/out/busy.jsonl.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
WEIGHTS = SHARED / "weights" / "tf_efficientnet_lite0"
SETS = ("trashnet", "ants-bees", "sign-digits", "pneumonia", "fashion-mnist", "cifar10")
KINDS = {"fashion-mnist": ("pixels", "cnn"), "cifar10": ("pixels", "cnn")}
MINUTES, LOOPS = (0.5, 1.0, 2.0), (0, 2, 6)
PARTS = {"val": "test", "validation": "test", "valid": "test"}


@contextmanager
def busy(loops: int) -> Iterator[None]:
    """So many other processes compute inside the block."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(loops)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def unpacked(name: str, folder: Path) -> Path:
    """Return the set as a folder; ants-bees' val/ is its test."""
    zipfile.ZipFile(SHARED / "data" / f"{name}.zip").extractall(folder)
    if name == "ants-bees":
        for part in folder.rglob("val"):
            part.rename(part.with_name("test"))
    inside = [path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", "."))]
    return inside[0] if len(inside) == 1 else folder


def ours(source: Path, minutes: float, home: Path) -> tuple[float, Path]:
    """Return the seconds that `beholder train` took, and its bundle."""
    out = home / "ours.beholder"
    began = time.monotonic()
    command = [sys.executable, "-m", "beholder", "train", str(source), "--minutes", str(minutes), "--out", str(out)]
    done = subprocess.run(command, env={**os.environ, "HOME": str(home)}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.monotonic() - began, out


def scored(bundle: Path, source: Path, files: Path) -> np.ndarray:
    """Write the split of the bundle as FILES.csv; return whether it is right of each test picture, bool (N,)."""
    import beholder
    from beholder.base import events
    from beholder.evaluation.evaluate import evaluate
    from beholder.sources.digest import digested

    with events.listen(alone=True):
        loaded = beholder.load(bundle)
        pictures = digested(beholder.scan(source))
        assert pictures.digests is not None
        parts = loaded.part_of([row.tobytes().hex() for row in pictures.digests])
        rows = [row for row, part in enumerate(parts) if part == "test"]
        found = evaluate(loaded, pictures.take(np.array(rows)))
    with files.open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file)
        table.writerow(["path", "label", "part"])
        for row, part in enumerate(parts):
            if part and (part != "test" or pictures.keys[row] in found.keys):
                table.writerow([source / pictures.keys[row], pictures.classes[pictures.targets[row]], part])
    return np.asarray(found.probabilities.argmax(axis=1) == found.targets)


def theirs(kind: str, files: Path, minutes: float, loops: int) -> np.ndarray:
    command = [sys.executable, str(ROOT / "bench" / "head.py"), kind, str(files), str(minutes), str(WEIGHTS)]
    with busy(loops):
        run = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert run.stdout is not None
        run.stdout.readline()
    said, _ = run.communicate()
    if run.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {run.returncode}")
    return np.array(json.loads(said.splitlines()[-1])["right"], bool)


def cell(name: str, minutes: float, loops: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source, home = unpacked(name, folder / "set"), folder / "home"
        home.mkdir()
        with busy(loops):
            seconds, bundle = ours(source, minutes, home)
        mine = scored(bundle, source, folder / "files.csv")
        best = None
        for kind in KINDS.get(name, ("features",)):
            other = theirs(kind, folder / "files.csv", minutes, loops)
            best = other if best is None or other.mean() > best.mean() else best
    assert best is not None
    difference = mine.astype(float) - best
    error = difference.std() / max(1, len(difference)) ** 0.5
    limit = 1.05 * 60 * minutes + 5
    return {
        "set": name,
        "minutes": minutes,
        "loops": loops,
        "ours": round(float(mine.mean()), 4),
        "theirs": round(float(best.mean()), 4),
        "difference": round(float(difference.mean()), 4),
        "error": round(float(error), 4),
        "seconds": round(seconds, 1),
        "holds": bool(difference.mean() >= -0.02 - 2 * error and seconds <= limit),
    }


def main(sets: list[str], minutes: list[float], loops: list[int]) -> None:
    if not WEIGHTS.is_dir():
        print("left out: it needs the shared pictures and weights (BEHOLDER_SHARED)")
        return
    out = ROOT / "bench" / "out" / "busy.jsonl"
    out.parent.mkdir(exist_ok=True)
    rows = []
    for name in sets:
        for time_given in minutes:
            for others in loops:
                rows.append(cell(name, time_given, others))
                print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    mean = sum(float(str(row["difference"])) for row in rows) / len(rows)
    print(f"{sum(bool(row['holds']) for row in rows)} of {len(rows)} cells hold; mean difference {mean:+.4f}")


if __name__ == "__main__":
    given = sys.argv[1:] + [""] * 3
    main(
        given[0].split(",") if given[0] else list(SETS),
        [float(word) for word in given[1].split(",")] if given[1] else list(MINUTES),
        [int(word) for word in given[2].split(",")] if given[2] else list(LOOPS),
    )
