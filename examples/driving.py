"""Traffic signs: a stand-in in GTSRB's own form, and what a split by frames would wrongly promise (docs/cases/driving.md).

    python examples/driving.py make sign-digits.zip signs/      # tracks of 30 frames out of an archive of class folders
    python examples/driving.py split signs/ --minutes 1         # or the real set: GTSRB/Final_Training/Images

`split` keeps whole tracks back, divides the frames of the others at random, trains once, and tests twice: on frames whose
tracks were trained on (the promise), and on the tracks that were kept back (what a car meets).
"""

from __future__ import annotations

import argparse
import zipfile
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

import beholder

HEADER = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"


def photographs(archive: str) -> dict[str, list[Image.Image]]:
    """Return the pictures of an archive of class folders by class, the classes and the pictures in the order of their names."""
    found = defaultdict(list)
    with zipfile.ZipFile(archive) as file:
        for name in sorted(file.namelist()):
            if name.lower().endswith((".jpg", ".jpeg", ".png")):
                with file.open(name) as picture:
                    found[name.split("/")[-2]].append(Image.open(picture).convert("RGB"))
    return dict(sorted(found.items()))


def frame(photo: Image.Image, side: int, rng: np.random.Generator, border: np.ndarray) -> tuple[Image.Image, int]:
    """Return a frame of a drive: the photograph at `side` pixels in the middle of its surroundings, and their width."""
    margin = max(5, side // 10)
    pixels = np.asarray(photo.resize((side, side)).rotate(rng.normal(0, 2), fillcolor=tuple(border.tolist())), float)
    whole = np.empty((side + 2 * margin, side + 2 * margin, 3))
    whole[:] = border
    whole[margin : margin + side, margin : margin + side] = pixels
    whole = whole * rng.normal(1, 0.04) + rng.normal(0, 4, whole.shape)
    return Image.fromarray(whole.clip(0, 255).astype(np.uint8)), margin


def make(archive: str, folder: Path, *, most: int = 20, least: int = 4, frames: int = 30, seed: int = 0) -> int:
    """Write class folders 00000, … with GT-00000.csv: from `most` tracks of the first class to `least` of the last.

    The sign comes nearer from frame to frame; it is one photograph, in surroundings and a light of its own. Returns the tracks.
    """
    rng = np.random.default_rng(seed)
    classes = photographs(archive)
    tracks = np.geomspace(most, least, len(classes)).round().astype(int)
    for number, (photos, n) in enumerate(zip(classes.values(), tracks, strict=True)):
        place = folder / f"{number:05}"
        place.mkdir(parents=True)
        rows = [HEADER]
        for track, row in enumerate(rng.permutation(len(photos))[:n]):
            light, border = rng.uniform(0.5, 1.2), rng.uniform(30, 220, 3).astype(int)
            photo = photos[row].point(lambda value, light=light: min(255, int(value * light)))
            for k in range(frames):
                picture, margin = frame(photo, 24 + 28 * k // frames, rng, border)
                name, side = f"{track:05}_{k:05}.ppm", picture.width
                picture.save(place / name)
                last = side - margin - 1
                rows.append(f"{name};{side};{side};{margin};{margin};{last};{last};{number}")
        (place / f"GT-{number:05}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return int(tracks.sum())


def by_frames(pictures: beholder.Pictures, *, seed: int = 0) -> tuple[beholder.Parts, beholder.Pictures]:
    """Return parts of frames at random, as a split does that knows of no tracks, and the pictures of tracks in none of them."""
    kept = beholder.split(pictures, seed=seed).test
    away = set(kept.keys)
    rest = pictures.take(np.array([row for row, key in enumerate(pictures.keys) if key not in away]))
    alone = replace(rest, groups=np.full(len(rest), -1), parts=np.full(len(rest), -1, np.int8))
    return beholder.split(alone, seed=seed, near=False), kept


def split(source: str, *, minutes: float, epochs: int = 0, recipe: str = "quick") -> None:
    """Train on frames at random and print what is measured on frames of known tracks and on tracks that were kept back."""
    pictures = beholder.scan(f"boxes:{source}")
    parts, kept = by_frames(pictures)
    budget = {"epochs": epochs} if epochs else {"minutes": minutes}
    bundle = beholder.train(parts, recipe=recipe, **budget)
    unseen = replace(kept, parts=np.full(len(kept), 2, np.int8))
    for name, part in (("frames at random", parts.test), ("tracks kept back", unseen)):
        scores = beholder.evaluate(bundle, part).scores.headline
        told = ", ".join(f"{key} {scores[key]}" for key in ("accuracy", "macro_f1"))
        tracks = len(set(part.groups.tolist()) - {-1})
        print(f"{name}: {told}, n = {len(part):,}" + (f" of {tracks} tracks" if tracks else ""))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb", required=True)
    one = verbs.add_parser("make")
    one.add_argument("archive")
    one.add_argument("folder", type=Path)
    one.add_argument("--most", type=int, default=20)
    one.add_argument("--least", type=int, default=4)
    two = verbs.add_parser("split")
    two.add_argument("source")
    two.add_argument("--minutes", type=float, default=1)
    two.add_argument("--epochs", type=int, default=0)
    two.add_argument("--recipe", default="quick")
    given = vars(parser.parse_args())
    verb = given.pop("verb")
    if verb == "split":
        split(given.pop("source"), **given)
    else:
        print(f"{make(given.pop('archive'), given.pop('folder'), **given)} tracks")
