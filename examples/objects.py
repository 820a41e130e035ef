"""Household waste from a few pictures a class, and the files for a page on a phone (docs/cases/objects.md).

python examples/objects.py few trashnet.zip few/ --each 20   # train/ and val/ of 20 pictures a class in all, test/ of 40
python examples/objects.py cells blood-cells-boxes.csv       # how many boxes of which size, before anything is trained
"""

from __future__ import annotations

import argparse
import csv
import zipfile
from collections import defaultdict
from pathlib import Path

import numpy as np


def few(archive: str, folder: Path, *, each: int = 20, test: int = 40, seed: int = 0) -> int:
    """Write `each` pictures of every class of an archive to train/ and, a quarter of them, to val/, and `test` to test/.

    The test pictures are the same whatever `each` is, so that several sizes can be compared. Returns the pictures.
    """
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(archive) as file:
        classes = defaultdict(list)
        for name in sorted(file.namelist()):
            if name.lower().endswith((".jpg", ".jpeg", ".png")):
                classes[name.split("/")[-2]].append(name)
        for label, names in classes.items():
            drawn = [names[row] for row in rng.permutation(len(names))[: test + each]]
            for number, name in enumerate(drawn):
                part = "test" if number < test else "val" if (number - test) % 4 == 3 else "train"
                place = folder / part / label
                place.mkdir(parents=True, exist_ok=True)
                (place / Path(name).name).write_bytes(file.read(name))
    return len(list(folder.rglob("*.*")))


def cells(path: Path) -> dict[str, tuple[int, float, float]]:
    """Return of each class of a table of boxes how many there are, and the median of their width and height in pixels."""
    sides = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            left, top, right, bottom = (float(row[name]) for name in ("xmin", "ymin", "xmax", "ymax"))
            sides[row["label"]].append((right - left, bottom - top))
    return {label: (len(of), *map(float, np.median(of, axis=0))) for label, of in sides.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("few")
    one.add_argument("archive")
    one.add_argument("folder", type=Path)
    one.add_argument("--each", type=int, default=20)
    one.add_argument("--test", type=int, default=40)
    two = verbs.add_parser("cells")
    two.add_argument("path", type=Path)
    given = vars(parser.parse_args())
    if given.pop("verb") == "few":
        print(f"{few(given.pop('archive'), given.pop('folder'), **given)} pictures")
    else:
        for label, (n, width, height) in cells(**given).items():
            print(f"{label}: {n:,} boxes, median {width:.0f} x {height:.0f} pixels")
