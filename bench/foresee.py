"""What dry runs predict beside what the runs take: of each set the plan, then the run, each from an empty cache folder.

    .venv/bin/python bench/foresee.py [SOURCE [OPTION …]]       such as: bench/foresee.py leaves/ --epochs 2

Without a SOURCE: scikit-learn's digits by a cnn for 6 epochs, and 240 photos of noise by a head on frozen features with an
epoch of fine-tuning. Both numbers are wall-clock seconds, the run's with the start of the program.
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
from PIL import Image
from sklearn.datasets import load_digits

PHOTOS, SIDE = 240, (240, 320)


def digits(folder: Path) -> Path:
    """Write the digits of scikit-learn, 1,797 of 8 × 8 pixels, and return the file."""
    found = load_digits()
    np.savez(folder / "digits.npz", x=np.round(found.images * 255 / 16).astype(np.uint8), y=found.target)
    return folder / "digits.npz"


def photos(folder: Path) -> Path:
    """Write JPEGs of noise in ten classes, and return their folder."""
    rng = np.random.default_rng(0)
    for k in range(PHOTOS):
        place = folder / "photos" / f"class {k % 10}" / f"{k}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (*SIDE, 3), np.uint8)).save(place)
    return folder / "photos"


def called(source: str, options: list[str], folder: Path) -> tuple[dict[str, object], float]:
    """Return what `beholder train` prints as JSON from an empty cache folder, and the seconds that the process took."""
    with tempfile.TemporaryDirectory(dir=folder) as cache:
        command = [sys.executable, "-m", "beholder", "train", source, "--out", str(folder / "m.beholder"), "--json", *options]
        began = time.monotonic()
        done = subprocess.run(command, env={**os.environ, "BEHOLDER_CACHE": cache}, stdout=subprocess.PIPE, check=True)
        return json.loads(done.stdout), time.monotonic() - began


def main() -> None:
    """Print a line a set."""
    with tempfile.TemporaryDirectory() as made:
        folder, asked = Path(made), sys.argv[1:]
        own = [(asked[0], asked[1:])] if asked else []
        sets = own or [(str(digits(folder)), ["--net", "cnn", "--epochs", "6"]), (str(photos(folder)), ["--epochs", "1"])]
        for source, options in sets:
            plan, _ = called(source, [*options, "--dry-run"], folder)
            predicted = float(plan["seconds"]["value"])  # type: ignore[index]
            _, took = called(source, options, folder)
            steps = ", ".join(f"{step['step']} {step['seconds']:.1f}" for step in plan["steps"])  # type: ignore[attr-defined]
            said = " ".join([Path(source).name, *options])
            print(f"{said}: predicted {predicted:.0f} s ({steps}), took {took:.0f} s, {took / predicted:.2f} times as long")


if __name__ == "__main__":
    main()
