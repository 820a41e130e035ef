"""Planted sets for bench/audit.py: copies of TrashNet's photos changed as copies in the wild are, and the truth beside them."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def _resized(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    scale = rng.uniform(0.5, 0.9)
    return picture.resize((round(picture.width * scale), round(picture.height * scale)), Image.Resampling.BICUBIC)


def _brighter(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Multiply by 0.85 to 0.95 or 1.05 to 1.15."""
    gain = 1 + rng.choice([-1, 1]) * rng.uniform(0.05, 0.15)
    return picture.point(lambda level: min(255, round(level * gain)))


def _cropped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Take 1 to 5 % off each of the four sides."""
    left, top, right, bottom = rng.uniform(0.01, 0.05, 4)
    w, h = picture.size
    return picture.crop((round(left * w), round(top * h), round(w - right * w), round(h - bottom * h)))


def _flipped(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return ImageOps.mirror(picture) if rng.random() < 0.75 else ImageOps.flip(picture)


def _written_on(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Write a word of 5 to 8 % of the height somewhere, black or white or yellow."""
    picture = picture.copy()
    size = round(picture.height * rng.uniform(0.05, 0.08))
    word = str(rng.choice(["SAMPLE", "stock photo", "21.07.2019", "(c) archive", "DRAFT"]))
    where = rng.uniform(0.02, 0.6) * picture.width, rng.uniform(0.02, 0.9) * picture.height
    ink = [(0, 0, 0), (255, 255, 255), (255, 220, 0)][int(rng.integers(3))]
    ImageDraw.Draw(picture).text(where, word, fill=ink, font=ImageFont.load_default(size))
    return picture


def _several(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    return _resized(_brighter(_cropped(picture, rng), rng), rng)


CHANGES: dict[str, Change] = {
    "re-encoded": lambda picture, rng: picture,
    "resized": _resized,
    "brightness": _brighter,
    "cropped": _cropped,
    "flipped": _flipped,
    "text": _written_on,
    "several": _several,  # cropped, then brightness, then resized: harder than what was asked
}

SECOND_SHOTS = [
    tuple(names.split())
    for names in """
        cardboard15 cardboard361
        cardboard386 cardboard72
        glass115 metal91
        glass127 glass339
        glass176 plastic152
        glass389 plastic332
        metal11 metal221
        metal120 metal50
        metal122 metal57
        metal141 metal390
        metal394 metal76
        paper101 paper108
        paper123 paper547
        paper135 paper496
        paper136 paper148
        paper147 paper99
        paper152 paper392
        paper176 paper549
        paper180 paper284
        paper185 paper390
        paper2 paper40
        paper246 paper349
        paper265 paper408
        paper305 paper308
        paper314 paper53
        paper345 paper451
        paper39 paper467
        paper457 paper553
        paper459 paper466
        paper474 paper89
        paper522 paper534
        paper540 paper56
        paper68 paper74
        plastic118 plastic137
    """.strip().splitlines()
]
"""Photos that TrashNet itself has twice: three pixel by pixel, under two labels, the others shot again from the same place.

Looked at by eye, among all that Beholder, phash (up to 4) or CleanVision find alike. They count neither as right nor as wrong.
"""


def changed(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """Return a JPEG that shows the same after one kind of change, saved again at a quality of 50 to 90."""
    picture = CHANGES[kind](Image.open(io.BytesIO(data)).convert("RGB"), rng)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=int(rng.integers(50, 91)))
    return buffer.getvalue()


def plant(source: Path, folder: Path, *, each: int, seed: int) -> dict[str, str]:
    """Unpack the photos of a zip into `folder`, with `each` copies of every kind beside them in their class folders.

    No photo is copied twice. Returns name of the copy → name of its original, both relative to `folder`; a copy is
    called KIND-ORIGINAL.
    """
    rng = np.random.default_rng(seed)
    with zipfile.ZipFile(source) as file:
        names = [name for name in file.namelist() if name.endswith(".jpg")]
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(file.read(name))
    chosen = rng.permutation(len(names))[: each * len(CHANGES)]
    twins = {}
    for kind, rows in zip(CHANGES, np.split(chosen, len(CHANGES)), strict=True):
        for row in rows:
            name = names[row]
            copy = str(Path(name).with_name(f"{kind}-{Path(name).name}"))
            (folder / copy).write_bytes(changed((folder / name).read_bytes(), kind, rng))
            twins[copy] = name
    return twins
