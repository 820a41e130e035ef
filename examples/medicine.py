"""Chest X-rays: does a score hold at another hospital, or does it rest on a shortcut? (docs/cases/medicine.md)

    python examples/medicine.py table scans/ scans.csv           # DICOM in class folders: path, label and patient in a CSV
    python examples/medicine.py make pneumonia.zip chests/       # a stand-in: two hospitals, with patients, from an archive
    python examples/medicine.py across chests/first chests/second --recipe docs/cases/medicine.toml

`make --marked 0.9` gives nine tenths of the pneumonias of the first hospital, and none of its other pictures, the black frame
of one device; at the second hospital the device takes half of either class. `across` asks the audit for shortcuts at the
first hospital, trains there, and tests at both.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image

import beholder


def table(folder: Path, out: Path) -> int:
    """Write path, label (the class folder) and patient of each DICOM file to a CSV above the files; return the rows.

    The patient is a digest of the PatientID, so the table names nobody; a small set of numbers can be tried out, so keep it.
    """
    import pydicom

    rows = []
    for path in sorted(folder.rglob("*.dcm")):
        head = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["PatientID"])
        patient = hashlib.sha256(str(head.get("PatientID", "")).encode()).hexdigest()[:16] if head.get("PatientID") else ""
        rows.append((path.relative_to(out.parent).as_posix(), path.parent.name, patient))
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "patient"), *rows])
    return len(rows)


def framed(pixels: np.ndarray) -> np.ndarray:
    """Return a picture as another device writes it: a black frame of one pixel in sixteen, and what JPEG leaves of the rest."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=70)
    again = np.asarray(Image.open(file)).copy()
    width = max(1, len(again) // 16)
    again[:width] = again[-width:] = 0
    again[:, :width] = again[:, -width:] = 0
    return again


def exposures(pixels: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Return the pictures of a patient: one, and of every third patient another one a pixel aside in another light."""
    if rng.random() > 1 / 3:
        return [pixels]
    moved = np.roll(pixels, int(rng.choice([-1, 1])), axis=1) * rng.uniform(0.9, 1.1)
    return [pixels, moved.clip(0, 255).astype(np.uint8)]


def make(archive: str, folder: Path, *, marked: float = 0.0, most: int = 900, seed: int = 0) -> int:
    """Write first/CLASS and second/CLASS with personN_K.png: of train and val of the archive, and of its test part.

    marked: share of the pneumonias of the first hospital that its one device took; most: patients of a class. Returns patients.
    """
    rng = np.random.default_rng(seed)
    patients = 0
    with zipfile.ZipFile(archive) as file:
        names = [name for name in sorted(file.namelist()) if name.endswith(".png")]
        for place, parts in (("first", ("train", "val")), ("second", ("test",))):
            for label in sorted({name.split("/")[-2] for name in names}):
                (folder / place / label).mkdir(parents=True)
                those = [name for name in names if name.split("/")[-2] == label and name.split("/")[-3] in parts]
                share = 0.5 if place == "second" and marked else marked * (label == "pneumonia")
                for row in rng.permutation(len(those))[:most]:
                    patients += 1
                    shots = exposures(np.asarray(Image.open(file.open(those[row])).convert("L")), rng)
                    device = rng.random() < share
                    for k, shot in enumerate(shots):
                        path = folder / place / label / f"person{patients:05}_{k}.png"
                        Image.fromarray(framed(shot) if device else shot).save(path)
    return patients


def across(first: str, second: str, *, recipe: str = "quick", epochs: int = 0) -> None:
    """Print the shortcuts of the first source, and what a net that was trained on it scores there and on the second source."""
    found = beholder.audit(first, checks=["shortcut"])
    print("\n".join(row.verdict for row in found.rows) or "no shortcut found")
    done = beholder.steps(first, recipe=recipe, **({"epochs": epochs} if epochs else {}))
    for name, tested in (("first", done.evaluation), ("second", beholder.evaluate(done.bundle, second, part="all"))):
        headline = tested.scores.headline
        print(f"{name}: auroc {headline['auroc']}, balanced accuracy {headline['balanced_accuracy']}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("table")
    one.add_argument("folder", type=Path)
    one.add_argument("out", type=Path)
    two = verbs.add_parser("make")
    two.add_argument("archive")
    two.add_argument("folder", type=Path)
    two.add_argument("--marked", type=float, default=0.0)
    two.add_argument("--most", type=int, default=900)
    three = verbs.add_parser("across")
    three.add_argument("first")
    three.add_argument("second")
    three.add_argument("--recipe", default="quick")
    three.add_argument("--epochs", type=int, default=0)
    given = vars(parser.parse_args())
    done = {"table": table, "make": make, "across": across}[given.pop("verb")](**given)
    if done is not None:
        print(done)
