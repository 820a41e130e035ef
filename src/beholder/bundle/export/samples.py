"""Pictures that an export is tried on: of the recogniser's own kind where a source is named, else pieces of two photographs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import DataError, PictureError
from beholder.base.records import Pictures
from beholder.bundle.bundle import Bundle
from beholder.data.cache import cached
from beholder.data.digest import digested
from beholder.data.image import decode
from beholder.data.sources import scan

Bytes = npt.NDArray[np.uint8]

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

    images: Bytes
    truth: tuple[str, ...]
    whole: tuple[tuple[int, Bytes], ...]
    training: Bytes
    what: str


def sample(bundle: Bundle, like: str | Path | Pictures | None = None, *, seed: int = 0) -> Sample:
    """Return pictures to try exports of the bundle on.

    like: what it was trained on: validation pictures are tried first, then those of training; at most `MOST`. The test part is
    not touched. None: `PIECES` pieces of the two photographs that come with scikit-learn.
    Raises `DataError` where the source has no picture that was trained or chosen on.
    """
    return _pieces(bundle, seed) if like is None else _own(bundle, like, seed)


def _pieces(bundle: Bundle, seed: int) -> Sample:
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng(seed)
    photographs = load_sample_images().images
    pieces = [_piece(photographs[number % len(photographs)], rng) for number in range(PIECES)]
    images = np.stack([bundle.pixels(piece) for piece in pieces])
    upright = [decode(piece, channels=bundle.policy.channels) for piece in pieces[:WHOLE]]
    whole = tuple((row, pixels.transpose(2, 0, 1)) for row, pixels in enumerate(upright))
    return Sample(images, (), whole, images[:0], f"{PIECES} pieces of two photographs")


def _piece(photograph: Bytes, rng: np.random.Generator) -> Bytes:
    height, width = (int(rng.integers(16, length)) for length in photograph.shape[:2])
    top, left = (int(rng.integers(0, all_ - part)) for all_, part in zip(photograph.shape[:2], (height, width), strict=True))
    return np.ascontiguousarray(photograph[top : top + height, left : left + width])


def _own(bundle: Bundle, like: str | Path | Pictures, seed: int) -> Sample:
    pictures = digested(like if isinstance(like, Pictures) else scan(like))
    rows = {part: _rows(bundle, pictures, part, seed) for part in ("valid", "train")}
    tried = rows["valid"][:MOST]
    if len(tried) < FEWEST:
        tried = np.concatenate([tried, rows["train"][: FEWEST - len(tried)]])
    if not len(tried):
        raise DataError(
            f"{pictures.store.name} has no picture that this bundle was trained or chosen on",
            code="other-source",
            hint="name with --like what it was trained on",
        )
    pixels = cached(pictures.take(tried), bundle.policy, workers=bundle.recipe.data.workers)
    kept = pictures.take(tried[pixels.rows])
    truth = tuple(_truth(bundle, kept, row) for row in range(len(kept)))
    whole = _whole(bundle, kept)
    parts = bundle.part_of(_hexes(kept))
    what = " and ".join(f"{parts.count(part)} pictures of {part}" for part in ("valid", "train") if part in parts)
    return Sample(pixels.take(np.arange(len(kept))), truth, whole, _training(bundle, pictures, rows["train"]), what)


def _rows(bundle: Bundle, pictures: Pictures, part: str, seed: int) -> npt.NDArray[np.int64]:
    """Return the rows of a part that the bundle's own split knows, shuffled."""
    known = np.array(bundle.part_of(_hexes(pictures)))
    return np.random.default_rng(seed).permutation(np.flatnonzero(known == part))


def _training(bundle: Bundle, pictures: Pictures, rows: npt.NDArray[np.int64]) -> Bytes:
    if not len(rows):
        return np.zeros((0, bundle.policy.channels, bundle.policy.height, bundle.policy.width), np.uint8)
    pixels = cached(pictures.take(rows[:FEWEST]), bundle.policy, workers=bundle.recipe.data.workers)
    found: Bytes = pixels.take(np.arange(len(pixels.rows)))
    return found


def _whole(bundle: Bundle, pictures: Pictures) -> tuple[tuple[int, Bytes], ...]:
    found: list[tuple[int, Bytes]] = []
    for row, key in enumerate(pictures.keys[:WHOLE]):
        try:
            data: Any = pictures.store.read(key)
            pixels = decode(data, channels=bundle.policy.channels, background=bundle.policy.background)
        except PictureError:
            continue
        found.append((row, pixels.transpose(2, 0, 1)))
    return tuple(found)


def _truth(bundle: Bundle, pictures: Pictures, row: int) -> str:
    """Return the label of a picture as the bundle would say it."""
    names = set(pictures.labels(row))
    return ";".join(name for name in bundle.classes if name in names)


def _hexes(pictures: Pictures) -> list[str]:
    assert pictures.digests is not None
    return [row.tobytes().hex() for row in pictures.digests]
