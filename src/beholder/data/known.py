"""Near-duplicates of the pictures that a bundle was trained on, by the hashes that it keeps.

A hash alone says who may look the same (`maybe_known`). That two do is said by `near.agreeing` and its limit alone, as in
the audit: it needs the pixels of both, and those of training lie in the cache of the machine that trained (`confirmed`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import I8, I64, U8, Bools
from beholder.base.errors import DataError, PictureError
from beholder.base.events import only
from beholder.base.order import numbered
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import Pixels, cached
from beholder.data.split import unit_of
from beholder.duplicates.appearance import thumbnail
from beholder.duplicates.hashing import ALIKE, LENGTH, alike, likest, perceptual, turned
from beholder.duplicates.near import LIKE, SMALLEST, Twins, agreeing
from beholder.measure.neighbours import unit

CLOSE = 0.98
"""Least cosine of two hashes that may be of one picture: where pixels cannot be compared this is said, and no more.
Within a test part only pairs so close are compared."""

COMPARED = 5000
"""Pairs of pictures whose pixels a test compares, the likest by hash: a millisecond each."""

LARGEST = 2**18
"""Pictures of which a bundle remembers the hashes: 16 MiB of 64 bytes each. Of more it remembers none."""

_CHUNK, _ENOUGH = 256, 96
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114


def none() -> I8:
    """Return no hashes: int8 (0, 64)."""
    return np.zeros((0, LENGTH), np.int8)


def hashes(pixels: Pixels) -> I8:
    """Return the hashes of N pictures as the net is given them: int8 (N, 64); zeros where they are too small to tell."""
    found = np.zeros((len(pixels), LENGTH), np.int8)
    if min(pixels.shape[1:]) < SMALLEST:
        return found
    step = max(1, min(pixels.shape[1:]) // _ENOUGH)  # eight waves across a picture are seen in every other pixel too
    for start in range(0, len(pixels), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(pixels)))
        found[positions] = perceptual(_luma(pixels.take(positions)[:, :, ::step, ::step]))
    return found


def _luma(images: U8) -> U8:
    """Return the luma of uint8 (B, C, H, W): uint8 (B, H, W)."""
    if images.shape[1] < 3:
        return images[:, 0]
    red, green, blue = (images[:, channel].astype(np.float32) for channel in range(3))
    return np.asarray(_RED * red + _GREEN * green + _BLUE * blue + 0.5, np.uint8)


def _likest(seen: I8, pairs: I64, turns: I64) -> tuple[I64, I64]:
    """Return the `COMPARED` pairs of hashes int8 (N, 64) with the largest cosines, and their turns."""
    if len(pairs) <= COMPARED:
        return pairs, turns
    cosine, vectors = np.zeros(len(pairs)), unit(seen)
    for turn in np.unique(turns).tolist():
        some = np.flatnonzero(turns == turn)
        cosine[some] = (turned(vectors[pairs[some, 0]], turn) * vectors[pairs[some, 1]]).sum(axis=1)
    best = np.sort(np.argsort(-cosine, kind="stable")[:COMPARED])
    return pairs[best], turns[best]


def _thumbnails(pixels: Pixels, positions: I64) -> list[U8]:
    found: list[U8] = []
    for start in range(0, len(positions), _CHUNK):
        found += [thumbnail(one) for one in _luma(pixels.take(positions[start : start + _CHUNK]))]
    return found


def remembered(*parts: Pixels) -> I8:
    """Return what a bundle keeps of the pictures of its parts: their different hashes, sorted, int8 (M, 64), M ≤ `LARGEST`."""
    if not 0 < sum(len(part) for part in parts) <= LARGEST:
        return none()
    known = np.unique(np.concatenate([hashes(part) for part in parts]), axis=0)
    return np.ascontiguousarray(known[known.any(axis=1)])


def maybe_known(asked: I8, known: I8, *, least: float = CLOSE) -> Bools:
    """Return which of the hashes int8 (N, 64) are close to one of `known`, int8 (M, 64), turned copies too: bool (N,)."""
    return np.asarray(likest(asked, known, least=least)[0] >= 0)


def confirmed(pixels: Pixels, asked: I8, held: Pixels, known: I8) -> Bools:
    """Return which pictures look the same as one of `held`, bool (N,): by the rule of the audit, with the pixels of both.

    asked, known: the hashes of `pixels`, int8 (N, 64), and of `held`, int8 (M, 64)
    """
    found = np.zeros(len(pixels), bool)
    mine = np.flatnonzero(maybe_known(asked, known, least=ALIKE))
    theirs = np.flatnonzero(maybe_known(known, asked[mine], least=ALIKE))
    both = np.concatenate([asked[mine], known[theirs]])
    pairs, turns = alike(both)
    across = (pairs < len(mine)).sum(axis=1) == 1  # the first of such a pair is ours
    pairs, turns = _likest(both, pairs[across], turns[across])
    rows, places = np.unique(pairs, return_inverse=True)
    ours, others = rows[rows < len(mine)], rows[rows >= len(mine)] - len(mine)
    thumbs = _thumbnails(pixels, mine[ours]) + _thumbnails(held, theirs[others])
    never = np.zeros(len(pairs), bool)
    found[mine[pairs[agreeing(thumbs, places.reshape(-1, 2), turns, apart=never).scores >= LIKE, 0]]] = True
    return found


@dataclass(frozen=True)
class _Away:
    """A store whose pictures are not at hand: only what the cache holds of them can be had."""

    name: str = "the pictures of training"

    def read(self, key: str) -> bytes:
        raise PictureError("it is not at hand", code="not-at-hand")

    def stamp(self, key: str) -> str:
        return ""


def in_cache(digests: Sequence[str], policy: PixelPolicy) -> Pixels | None:
    """Return the pixels of pictures by their SHA-256, as far as this machine's cache holds them; None where it has none."""
    if not digests:
        return None
    rows = np.frombuffer(bytes.fromhex("".join(digests)), np.uint8).reshape(-1, 32)
    n = len(rows)
    away = Pictures(_Away(), list(digests), np.zeros(n, np.int64), ("any",), np.full(n, -1, np.int8), np.full(n, -1), rows)
    try:
        with only("error"):
            return cached(away, policy, on_bad="skip")
    except DataError:
        return None


def units(pictures: Pictures, pixels: Pixels | None, asked: I8) -> I64:
    """Return the unit of each picture, int64 (N,): those of one group share one, and so do exact and near-duplicates.

    pixels: of the N pictures, and `asked`, their hashes, int8 (N, 64); None and none: only exact duplicates
    """
    kinds = np.arange(len(pictures))
    if pixels is None or not len(asked):
        return unit_of(pictures, Twins(kinds, np.empty((0, 2), np.int64), np.empty(0)))
    pairs, turns = _likest(asked, *alike(asked, least=CLOSE))
    rows, places = np.unique(pairs, return_inverse=True)
    labels = numbered(pictures.targets)
    apart = labels[pairs[:, 0]] != labels[pairs[:, 1]]
    found = agreeing(_thumbnails(pixels, rows), places.reshape(-1, 2), turns, apart=apart)
    near = found.scores >= LIKE
    scores, light, least = (column[near] for column in (found.scores, found.light, found.least))
    return unit_of(pictures, Twins(kinds, pairs[near], scores, light, least, turns[near]))
