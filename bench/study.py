"""`beholder train --minutes` beside other systems: the same files, backbone weights, split and minutes; regret to the best.

    .venv/bin/python bench/study.py [SETS] [MINUTES] [SEEDS]

Each with commas between; default: trashnet,ants-bees,sign-digits,pneumonia,fashion-mnist,cifar10 for 1,5 minutes with seed 0.
Of Fashion-MNIST 12,000 pictures are taken, of CIFAR-10 10,000.
The others: timm's features of the frozen backbone that comes with the install and scikit-learn's logistic regression with its
penalty from a grid; fastai's fine_tune of the same backbone, where PEERS names a folder for PYTHONPATH that has fastai; of
Fashion-MNIST and CIFAR-10 also a logistic regression on pixels and the classic small net (bench/head.py); AutoGluon MultiModal
with the same backbone, where AUTOGLUON names the Python of an environment that has it (bench/peer_autogluon.py). All are scored
on the whole test part, off the clock; the seconds of each are shown. Our regret is how much lower ours is than the best, 0 at
least. Results are appended to bench/out/study.jsonl.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from busy import KINDS, ROOT, SETS, WEIGHTS, scored, unpacked

MINUTES, SEEDS = (1.0, 5.0), (0,)
FEWER = {"fashion-mnist": {"train": 10_000, "test": 2_000}, "cifar10": {"train": 8_000, "test": 2_000}}
"""Pictures of a part that are kept of the larger sets: as many of each class, the first by name."""
PEERS, AUTOGLUON = os.environ.get("PEERS", ""), os.environ.get("AUTOGLUON", "")


def fewer(source: Path, counts: dict[str, int]) -> None:
    """Delete what is more than so many pictures of a part, the same number from each class."""
    for part, count in counts.items():
        classes = [folder for folder in (source / part).iterdir() if folder.is_dir()]
        for folder in classes:
            for path in sorted(folder.iterdir())[count // len(classes) :]:
                path.unlink()


def ours(source: Path, minutes: float, home: Path, seed: int) -> tuple[float, Path]:
    """Return the seconds that `beholder train` took, and its bundle."""
    out = home / "ours.beholder"
    command = [sys.executable, "-m", "beholder", "train", str(source), "--minutes", str(minutes), "--seed", str(seed)]
    began = time.monotonic()
    done = subprocess.run([*command, "--out", str(out)], env={**os.environ, "HOME": str(home)}, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return time.monotonic() - began, out


def theirs(kind: str, files: Path, minutes: float) -> tuple[np.ndarray, float] | None:
    """Return whether a peer is right of each test picture, bool (N,), and its seconds; None where it is not installed."""
    given = [str(files), str(minutes), str(WEIGHTS)]
    path = os.pathsep.join(filter(None, [PEERS, os.environ.get("PYTHONPATH", "")]))
    if kind == "autogluon":
        command, path = [AUTOGLUON, str(ROOT / "bench" / "peer_autogluon.py"), *given], ""
    else:
        command = [sys.executable, str(ROOT / "bench" / "head.py"), kind, *given]
    done = subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else ""
        print(f"{kind} is left out: {last}", flush=True)
        return None
    said = json.loads(done.stdout.splitlines()[-1])
    return np.array(said["right"], bool), said["seconds"]


def cell(name: str, minutes: float, seed: int) -> dict[str, object]:
    """Return the scores and seconds of every system in one cell, and our regret with its standard error."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        source, home = unpacked(name, folder / "set"), folder / "home"
        home.mkdir()
        fewer(source, FEWER.get(name, {}))
        seconds, bundle = ours(source, minutes, home, seed)
        mine = scored(bundle, source, folder / "files.csv")
        more = [kind for kind, place in (("fastai", PEERS), ("autogluon", AUTOGLUON)) if place]
        kinds = ("grid", *more, *KINDS.get(name, ()))
        others = {kind: found for kind in kinds if (found := theirs(kind, folder / "files.csv", minutes)) is not None}
    best = max(others, key=lambda kind: others[kind][0].mean())
    change = mine.astype(float) - others[best][0]
    return {
        **{"set": name, "minutes": minutes, "seed": seed, "n": len(mine), "ours": round(float(mine.mean()), 4)},
        "seconds": round(seconds, 1),
        **{kind: (round(float(right.mean()), 4), took) for kind, (right, took) in others.items()},
        "regret": round(max(0.0, -float(change.mean())), 4),
        "error": round(float(change.std() / len(change) ** 0.5), 4),
        "in_time": bool(seconds <= 1.03 * 60 * minutes),
    }


def main(sets: list[str], minutes: list[float], seeds: list[int]) -> None:
    if not WEIGHTS.is_dir():
        print("left out: it needs the shared pictures and weights (BEHOLDER_SHARED)")
        return
    out = ROOT / "bench" / "out" / "study.jsonl"
    out.parent.mkdir(exist_ok=True)
    rows = []
    for name in sets:
        for given in minutes:
            for seed in seeds:
                rows.append(cell(name, given, seed))
                print("  ".join(f"{key} {value}" for key, value in rows[-1].items()), flush=True)
                with out.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(rows[-1]) + "\n")
    regrets = [float(str(row["regret"])) for row in rows]
    print(f"{len(rows)} cells: mean regret {np.mean(regrets):.4f}, largest {max(regrets):.4f}")


if __name__ == "__main__":
    words = [*sys.argv[1:], *[""] * 3]
    main(
        words[0].split(",") if words[0] else list(SETS),
        [float(word) for word in words[1].split(",")] if words[1] else list(MINUTES),
        [int(word) for word in words[2].split(",")] if words[2] else list(SEEDS),
    )
