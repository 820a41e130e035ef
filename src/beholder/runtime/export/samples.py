"""Sample pictures for testing an export: validation pictures where a source is named, else crops of two photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import I64, U8
from beholder.base.errors import DataError, PictureError
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle
from beholder.data.cache import cached
from beholder.image import decode
from beholder.sources import scan
from beholder.sources.digest import digested

MOST = 1000
FEWEST = 200
WHOLE = 100
"""So many pictures are also given to the graph in their own size."""

PIECES = 256


@dataclass(frozen=True, eq=False)
class Sample:
    """N pictures to try an export on.

    images: uint8 (N, C, height, width), as the net is given them; truth: N labels ("a;b" where there are several), () where
    none are known; whole: at most `WHOLE` of the pictures upright in their own size, uint8 (C, h, w), with their row
    in `images`; training: uint8 (M, C, height, width) to quantise on, M 0 where no source is named; what: in words
    """

    images: U8
    truth: tuple[str, ...]
    whole: tuple[tuple[int, U8], ...]
    training: U8
    what: str


def sample(bundle: Bundle, like: str | Path | Pictures | None = None, *, seed: int = 0, allow_download: bool = False) -> Sample:
    """Return pictures to try exports of the bundle on.

    like: what it was trained on: validation pictures are tried first, then those of training; at most `MOST`. The test part is
    not touched. None: `PIECES` pieces of the two photographs that come with scikit-learn. allow_download: as of `scan`.
    Raises `DataError` where the source has no picture that was trained or chosen on.
    """
    return _pieces(bundle, seed) if like is None else _own(bundle, like, seed, allow_download)


def _pieces(bundle: Bundle, seed: int) -> Sample:
    pieces = cut_pieces(PIECES, seed)
    images = np.stack([bundle.pixels(piece) for piece in pieces])
    upright = [decode(piece, channels=bundle.policy.channels, bits=bundle.policy.bits) for piece in pieces[:WHOLE]]
    whole = tuple((row, pixels.transpose(2, 0, 1)) for row, pixels in enumerate(upright))
    return Sample(images, (), whole, images[:0], f"{PIECES} pieces of two photographs")


def cut_pieces(count: int, seed: int) -> list[U8]:
    """Return `count` pieces uint8 (h, w, 3) of the two photographs that come with scikit-learn."""
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images
    return [_piece(photographs[number % len(photographs)], rng) for number in range(count)]


def _piece(photograph: U8, rng: np.random.Generator) -> U8:
    height, width = (int(rng.integers(16, length)) for length in photograph.shape[:2])
    top, left = (int(rng.integers(0, all_ - part)) for all_, part in zip(photograph.shape[:2], (height, width), strict=True))
    return np.ascontiguousarray(photograph[top : top + height, left : left + width])


def _own(bundle: Bundle, like: str | Path | Pictures, seed: int, allow_download: bool) -> Sample:
    pictures = digested(like if isinstance(like, Pictures) else scan(like, labels=None, allow_download=allow_download))
    rows = {part: _rows(bundle, pictures, part, seed) for part in ("valid", "train")}
    tried = rows["valid"][:MOST]
    if len(tried) < FEWEST:
        tried = np.concatenate([tried, rows["train"][: FEWEST - len(tried)]])
    if not len(tried):
        text = f"{pictures.store.name} has no picture that this bundle was trained or chosen on"
        hint = "name with --like what it was trained on"
        raise DataError(text, code="other-source", hint=hint)
    pixels = cached(pictures.take(tried), bundle.policy, workers=bundle.recipe.data.workers)
    kept = pictures.take(tried[pixels.rows])
    truth = tuple(_truth(bundle, kept, row) for row in range(len(kept)))
    whole = _whole(bundle, kept)
    parts = bundle.part_of(kept.hexdigests)
    what = " and ".join(f"{parts.count(part)} pictures of {part}" for part in ("valid", "train") if part in parts)
    return Sample(pixels.take(np.arange(len(kept))), truth, whole, _training(bundle, pictures, rows["train"]), what)


def _rows(bundle: Bundle, pictures: Pictures, part: str, seed: int) -> I64:
    """Return the rows of a part that the bundle's own split knows, shuffled."""
    known = np.array(bundle.part_of(pictures.hexdigests))
    return np.random.default_rng(seed).permutation(np.flatnonzero(known == part))


def _training(bundle: Bundle, pictures: Pictures, rows: I64) -> U8:
    if not len(rows):
        return np.zeros((0, bundle.policy.channels, bundle.policy.height, bundle.policy.width), np.uint8)
    pixels = cached(pictures.take(rows[:FEWEST]), bundle.policy, workers=bundle.recipe.data.workers)
    found: U8 = pixels.take(np.arange(len(pixels.rows)))
    return found


def _whole(bundle: Bundle, pictures: Pictures) -> tuple[tuple[int, U8], ...]:
    found: list[tuple[int, U8]] = []
    for row, key in enumerate(pictures.keys[:WHOLE]):
        try:
            data: Any = pictures.store.read(key)
            pixels = decode(data, channels=bundle.policy.channels, background=bundle.policy.background, bits=bundle.policy.bits)
        except PictureError:
            continue
        found.append((row, pixels.transpose(2, 0, 1)))
    return tuple(found)


def _truth(bundle: Bundle, pictures: Pictures, row: int) -> str:
    """Return the label of a picture as the bundle would say it."""
    names = set(pictures.labels(row))
    return ";".join(name for name in bundle.classes if name in names)
