"""What a million pictures cost here: core-seconds of each step, bytes on disk and in memory, and what has to be read.

    .venv/bin/python bench/costs.py [PHOTOS [OF_NETS]]

PHOTOS (600) of TrashNet, JPEG files of 192 × 256 pixels and 8 kB, are audited; a third as many, or OF_NETS, go
through EfficientNet-Lite0 at 224 × 224. Each step is a process of its own with one thread and an empty cache, run on them all
and on a fourth: the difference in CPU time (user and system, its children included) is what pictures cost, without loading
libraries and models, and it changes little where the machine is busy. Training: three epochs less one. Bytes are those written.
Needs the shared pictures (BEHOLDER_SHARED).
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parent.parent
SOURCE = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve() / "data" / "trashnet.zip"
NETS = ("label", "outlier")
"""Checks that need a net."""

SCAN = "import sys, beholder; beholder.scan(sys.argv[1])"
DIGEST = "import sys, beholder; from beholder.sources.digest import digested; digested(beholder.scan(sys.argv[1]))"
FEATURES = """
import sys, pathlib, beholder
files = sorted(map(str, pathlib.Path(sys.argv[1]).rglob("*.jpg")))
beholder.Features("timm:tf_efficientnet_lite0", size=224).fit_transform(files)
"""
TRAIN = """
import sys, beholder
parts = beholder.split(beholder.scan(sys.argv[1]), seed=0, near=False)
fields = {"net": "timm:tf_efficientnet_lite0", "size": 224, "epochs": int(sys.argv[2]), "batch": 16}
beholder.train(parts, seed=0, **fields).save(sys.argv[3])
"""


def photos(folder: Path, count: int) -> Path:
    """Write every n-th photo of TrashNet, `count` in all, into class folders."""
    with zipfile.ZipFile(SOURCE) as archive:
        names = sorted(name for name in archive.namelist() if name.endswith(".jpg"))
        for name in (names[k] for k in np.linspace(0, len(names) - 1, count).astype(int).tolist()):
            path = folder / Path(name).parent.name / Path(name).name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(archive.read(name))
    return folder


def links(folder: Path, count: int) -> Path:
    """Make `count` links to one photo, in ten class folders: enough for a scan, which opens none, to be timed."""
    one = next(photos(folder.with_name("one"), 1).rglob("*.jpg"))
    for k in range(count):
        path = folder / f"class-{k % 10}" / f"{k:06}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(one, path)
    return folder


def cpu(command: list[str], home: Path) -> float:
    """Return the core-seconds of a process and its children, with an empty home."""
    home.mkdir()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "HOME": str(home), "BEHOLDER_CACHE": str(home / "cache"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        sys.exit(f"{command}\n{done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def held(folder: Path, pattern: str = "*") -> int:
    return sum(path.stat().st_size for path in folder.rglob(pattern) if path.is_file())


def audit(folder: Path) -> list[str]:
    from beholder.quality.checks import CHECKS

    names = [name for name in CHECKS.names() if name not in NETS]
    command = [sys.executable, "-m", "beholder", "audit", str(folder), "--out", "audit.csv"]
    return command + [word for name in names for word in ("--check", name)]


def steps(bundle: Path) -> dict[str, Callable[[Path], list[str]]]:
    """Return each step by name: a folder of pictures → a command. Those of nets begin with features or predict."""
    python, beholder = [sys.executable, "-c"], [sys.executable, "-m", "beholder"]
    predict = [*beholder, "predict", str(bundle)]
    return {
        "scan: records": lambda folder: [*python, SCAN, str(folder)],
        "digests": lambda folder: [*python, DIGEST, str(folder)],
        "audit without nets": audit,
        "audit with facts in parts": lambda folder: [*audit(folder), "--parts", "parts"],
        "features": lambda folder: [*python, FEATURES, str(folder)],
        "predict, torch": lambda folder: [*predict, str(folder), "--engine", "torch fp32"],
        "predict, OpenVINO": lambda folder: [*predict, str(folder), "--engine", "OpenVINO fp32"],
        "predict in parts": lambda folder: [*predict, str(folder), "--engine", "torch fp32", "--parts", "parts", "--features"],
    }


def in_memory() -> float:
    """Return the bytes of memory that a picture takes in a table of labelled pictures with digests."""
    from beholder.base.names import Names

    n = 100_000
    tracemalloc.start()
    names = Names.of(f"train/class-{k % 1000:04}/{k:012}.jpg" for k in range(n))
    took = tracemalloc.get_traced_memory()[0] / n
    tracemalloc.stop()
    assert len(names) == n
    return took + 32 + 8 + 8 + 1  # digest, target, group, part


def trained(bundle: Path) -> int:
    with (bundle / "splits.csv").open(encoding="utf-8") as file:
        return sum(row["part"] == "train" for row in csv.DictReader(file))


def training(here: Path, folder: Path) -> float:
    """Return the core-seconds of a picture in an epoch; leaves a bundle with an ONNX graph at here/m.beholder."""
    train = [sys.executable, "-c", TRAIN, str(folder)]
    once = cpu([*train, "1", str(here / "m.beholder")], here / "train1")
    more = cpu([*train, "3", str(here / "n.beholder")], here / "train3")
    cpu([sys.executable, "-m", "beholder", "export", str(here / "m.beholder")], here / "export")
    return (more - once) / 2 / trained(here / "m.beholder")


def spent(here: Path, count: int, fewer: int) -> dict[str, float]:
    """Return the core-seconds of a picture in each step."""
    rows = {"train, an epoch": training(here, photos(here / "trained", fewer))}
    for name, command in steps(here / "m.beholder").items():
        most, took = fewer if name.startswith(("features", "predict")) else count, []
        most, made = (50 * count, links) if name.startswith("scan") else (most, photos)
        for n in (most // 4, most):
            folder = made(here / f"photos{n}", n)
            took.append(cpu(command(folder), here / f"{name}-{n}".replace(" ", "_")))
        rows[name] = (took[1] - took[0]) / (most - most // 4)
        print(f"{name}: {took[0]:.2f} and {took[1]:.2f} core-seconds for {most // 4} and {most}", flush=True)
    return rows


def stored(here: Path, count: int, fewer: int) -> dict[str, float]:
    """Return the bytes of a picture on disk and in memory, by what they are."""
    from beholder.data.shards import DIGEST
    from beholder.duplicates.facts import FACTS

    facts, answers = here / f"audit_with_facts_in_parts-{count}" / "parts", here / f"predict_in_parts-{fewer}" / "parts"
    return {
        "files, to be read once": held(here / f"photos{count}") / count,
        "pixels in the cache, 224": 3 * 224 * 224 + DIGEST + 4,
        "pixels in the cache, 160": 3 * 160 * 160 + DIGEST + 4,
        "facts in the cache": FACTS.itemsize,
        "facts in parts": held(facts, "*.parquet") / count,
        "answers with 1,280 features in parts": held(answers, "*.parquet") / fewer,
        "features in the cache": 2 * 1280 + DIGEST + 4,
        "table in memory": in_memory(),
    }


def main() -> None:
    if not SOURCE.is_file():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 600
    fewer = int(sys.argv[2]) if len(sys.argv) > 2 else count // 3
    with tempfile.TemporaryDirectory(prefix="beholder-costs-") as name:
        seconds = spent(Path(name), count, fewer)
        sizes = stored(Path(name), count, fewer)
    print("\n| step | ms a picture | core-hours a million |\n|---|---|---|")
    for step, each in seconds.items():
        print(f"| {step} | {each * 1e3:.2f} | {each * 1e6 / 3600:.2f} |")
    print("\n| bytes | a picture | a million |\n|---|---|---|")
    for what, each in sizes.items():
        print(f"| {what} | {each:,.0f} | {each / 1e3:.3g} GB |")
    print(json.dumps({"photos": count, "of_nets": fewer, "core_seconds": seconds, "bytes": sizes}))


if __name__ == "__main__":
    main()
