"""The figures of the spine: each line is a command of `beholder`, run as a user runs it, one after the other.

    .venv/bin/python bench/spine.py [NAME…]

Needs the shared pictures (BEHOLDER_SHARED, default ../shared). Prints a table: test accuracy with its interval, seconds, goal.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
SHARED = (ROOT / os.environ.get("BEHOLDER_SHARED", "../shared")).resolve()
DATA, WEIGHTS = SHARED / "data", SHARED / "weights" / "mobilenetv2_100"

RUNS: dict[str, tuple[list[str], str]] = {
    "tutorial": ([f"{DATA}/fashion-mnist.zip", "--recipe", "tutorial"], "accuracy >= 0.8977 in less time than Keras"),
    "fashion": ([f"{DATA}/fashion-mnist.zip", "--minutes", "5"], "accuracy >= 0.925"),
    "cifar": ([f"{DATA}/cifar10.zip", "--net", "fastnet", "--minutes", "12"], "accuracy >= 0.88"),
    "trashnet": (
        [f"{DATA}/trashnet.zip", "--net", "timm:mobilenetv2_100", "--set", f"net.weights={WEIGHTS}", "--minutes", "5"],
        "accuracy >= 0.83 within five minutes",
    ),
    "blood": (["blood-cells.csv", "--minutes", "3"], "mAP with its interval"),
    "pneumonia": ([f"{DATA}/pneumonia.zip", "--minutes", "2"], "sensitivity and specificity"),
}


def main(names: list[str]) -> None:
    if not DATA.is_dir():
        print("left out: it needs the shared pictures (BEHOLDER_SHARED)")
        return
    with tempfile.TemporaryDirectory() as folder:
        here = Path(folder)
        zipfile.ZipFile(DATA / "blood-cells.zip").extractall(here / "blood-cells")
        (here / "blood-cells.csv").write_bytes((DATA / "blood-cells.csv").read_bytes())
        for name in names or RUNS:
            options, goal = RUNS[name]
            began = time.monotonic()
            command = [sys.executable, "-m", "beholder", "train", *options, "--out", f"{name}.beholder", "--json"]
            done = subprocess.run(command, cwd=here, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
            wall = time.monotonic() - began
            result = json.loads(done.stdout)
            for measure, score in list(result["scores"].items())[:1]:
                value = f"{score['value']:.4f} [{score['low']:.4f}, {score['high']:.4f}] n={score['n']}"
                print(f"{name:10} {result['net']:22} {measure} {value}  {wall:6.1f} s wall  goal: {goal}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
