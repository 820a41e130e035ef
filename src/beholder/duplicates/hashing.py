"""A perceptual hash, and the candidates for near-duplicates by it.

The hash of a picture is the direction of its low frequencies: the first 8 × 8 coefficients of the cosine transform of its luma
without the mean, each times the root of its frequency so that no few of them rule, as a unit vector in whole numbers. Light
and contrast do not change it, noise and size hardly. Flips and turns by right angles only change signs and places within
it, so that a hash tells those of all eight turned copies without decoding anything.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.arrays import F32, F64, I8, I64, U8
from beholder.measure.neighbours import nearest, unit

SIDE = 8
LENGTH = SIDE * SIDE
TURNS = 8
"""A turn t: transposed where t & 4, then upside down where t & 2, then mirrored where t & 1."""

FLAT = 1.5
"""Standard deviation, in levels of 255, of the low frequencies below which a picture shows nothing to compare."""

ALIKE = 0.8
"""Least cosine of two hashes. Of 2,100 changed copies of photos (bench/audit.py duplicates) 2,099 lie above it."""

ALL = 4096
"""Up to so many pictures all are compared with all; beyond, cells of similar hashes with their nearest neighbours."""

PROBES = 4
"""Cells in which each turned hash is looked for."""

MOST = 32
"""Candidates kept of one turned hash in one cell, the best: a picture with a thousand duplicates is tied to them by a few."""

PAIRS, EACH = 100_000, 3
"""Candidates up to which all are compared: so many, and no more than so many for each picture."""


def perceptual(luma: U8) -> I8:
    """Return the hashes of B pictures: uint8 (B, H, W) → int8 (B, 64), all 0 where a picture shows nothing."""
    _, height, width = luma.shape
    found = _cosines(height) @ luma.astype(np.float32) @ _cosines(width).T
    found[:, 0, 0] = 0
    strength = np.sqrt(np.square(found).sum(axis=(1, 2)))
    found *= _weights()
    flat = found.reshape(len(luma), LENGTH)
    flat = flat * (127 / np.maximum(np.linalg.norm(flat, axis=1), 1e-6))[:, None]
    return np.where((strength >= FLAT)[:, None], np.rint(flat), 0).astype(np.int8)


@lru_cache(maxsize=64)
def _cosines(length: int) -> F32:
    """Return the first rows of the cosine transform, so scaled that a coefficient is in levels: float32 (8, length)."""
    at = (np.arange(length) + 0.5) / length
    waves = np.cos(np.pi * np.arange(SIDE)[:, None] * at)
    return np.asarray(waves * np.where(np.arange(SIDE) > 0, np.sqrt(2), 1.0)[:, None] / length, np.float32)


@lru_cache(maxsize=1)
def _weights() -> F32:
    step = np.arange(SIDE)
    return np.asarray(np.hypot(step[:, None], step) ** 0.5, np.float32)


def turned(hashes: npt.NDArray[np.generic], turn: int) -> npt.NDArray[np.generic]:
    """Return the hashes (N, 64) that the pictures would have after a turn, of the same dtype."""
    square = hashes.reshape(-1, SIDE, SIDE)
    signs = np.where(np.arange(SIDE) % 2, -1, 1).astype(hashes.dtype)
    if turn & 4:
        square = square.transpose(0, 2, 1)
    if turn & 2:
        square = square * signs[:, None]
    if turn & 1:
        square = square * signs
    return square.reshape(-1, LENGTH)


def turned_picture(picture: npt.NDArray[np.generic], turn: int) -> npt.NDArray[np.generic]:
    """Return a square picture (H, W) after a turn."""
    if turn & 4:
        picture = picture.T
    return picture[:: -1 if turn & 2 else 1, :: -1 if turn & 1 else 1]


def alike(hashes: I8, *, least: float = ALIKE) -> tuple[I64, I64]:
    """Return who may be twins: pairs int64 (M, 2), first < second; and for each the turn that makes the first like the second.

    hashes: int8 (N, 64); a row of zeros is like none. least: cosine
    Beyond `ALL` hashes the work grows like N to the power 1.5, and a few pairs may be missed: the nearest `PROBES` cells of
    about √N are searched (an inverted file; Jégou, Douze & Schmid 2011, section III). The same input gives the same answer.
    """
    rows = np.flatnonzero(hashes.any(axis=1))
    vectors = unit(hashes[rows])
    if len(rows) < 2:
        return np.empty((0, 2), np.int64), np.empty(0, np.int64)
    centres, members = _cells(vectors)
    found = []
    for turn in range(TURNS):
        asked = np.ascontiguousarray(turned(vectors, turn), np.float32)
        cells = nearest(asked, centres, min(PROBES, len(centres)))[1]
        found.append(_matches(asked, vectors, cells, members, least, turn))
        events.progress("looking for near-duplicates", turn + 1, TURNS)
    return fewer(*_best(np.concatenate(found), rows), len(hashes))


def likest(asked: I8, known: I8, *, least: float) -> tuple[I64, F64]:
    """Return for each of `asked`, int8 (N, 64), the row of `known`, int8 (M, 64), that is most like it: int64 (N,), cosines.

    least: the cosine below which there is none: -1 and 0. Turned copies count; a row of zeros is like none. See `alike`.
    """
    row, cosine = np.full(len(asked), -1, np.int64), np.zeros(len(asked))
    theirs, ours = np.flatnonzero(known.any(axis=1)), np.flatnonzero(asked.any(axis=1))
    if not len(theirs) or not len(ours):
        return row, cosine
    vectors, mine = unit(known[theirs]), unit(asked[ours])
    centres, members = _cells(vectors)
    for turn in range(TURNS):
        seen = np.ascontiguousarray(turned(mine, turn), np.float32)
        cells = nearest(seen, centres, min(PROBES, len(centres)))[1]
        found = _matches(seen, vectors, cells, members, least, turn, others=True)
        found = found[np.argsort(found[:, 3], kind="stable")]  # the last assignment, the largest, stays
        who, best = ours[found[:, 0].astype(np.int64)], np.zeros(len(asked))
        best[who] = found[:, 3]
        match = np.full(len(asked), -1, np.int64)
        match[who] = theirs[found[:, 1].astype(np.int64)]
        row, cosine = np.where(best > cosine, match, row), np.maximum(best, cosine)
    return row, cosine


def _cells(vectors: F32) -> tuple[F32, list[I64]]:
    """Return the centres of cells, float32 (K, 64), and which of the vectors (N, 64) lie in each."""
    centres = _centres(vectors)
    home = nearest(vectors, centres, 1)[1][:, 0]
    return centres, np.split(np.argsort(home, kind="stable"), np.cumsum(np.bincount(home, minlength=len(centres)))[:-1])


def _centres(vectors: F32) -> F32:
    """Return about √N unit vectors (K, 64) amid the vectors, by a few rounds of spherical k-means on a sample; 1 if few."""
    if len(vectors) <= ALL:
        return vectors[:1]
    rng = np.random.default_rng(0)
    sample = vectors[rng.permutation(len(vectors))[: 16 * ALL]]
    count = round(len(vectors) ** 0.5)
    centres = sample[:count]
    for _ in range(5):
        home = nearest(sample, centres, 1)[1][:, 0]
        order = np.argsort(home, kind="stable")
        starts = np.unique(home[order], return_index=True)[1]
        centres = unit(np.add.reduceat(sample[order], starts, axis=0))
    return centres


def _matches(asked: F32, vectors: F32, cells: I64, members: list[I64], least: float, turn: int, *, others: bool = False) -> F64:
    """Return rows of first, second, turn, cosine (M, 4): who of the members of the cells is like each that was asked for.

    others: the vectors are of other pictures than those asked for, so that equal numbers do not mean the same one
    """
    order = np.argsort(cells.ravel(), kind="stable")
    ends = np.cumsum(np.bincount(cells.ravel(), minlength=len(members)))
    found = []
    for cell, who in enumerate(np.split(order // cells.shape[1], ends[:-1])):
        for at in range(0, len(who), ALL):
            some = who[at : at + ALL]
            cosines = asked[some] @ vectors[members[cell]].T
            _only_best(cosines)
            first, second = np.nonzero(cosines >= least)
            pair = np.stack([some[first], members[cell][second], np.full(len(first), turn), cosines[first, second]], axis=1)
            found.append(pair if others else pair[pair[:, 0] != pair[:, 1]])
    return np.concatenate(found)


def _only_best(cosines: F32) -> None:
    """Set all but the `MOST` largest of each row to -1, in place."""
    if cosines.shape[1] > MOST:
        crowded = np.flatnonzero(np.count_nonzero(cosines >= ALIKE, axis=1) > MOST)
        few = np.argpartition(cosines[crowded], -MOST, axis=1)[:, :-MOST]
        cosines[crowded[:, None], few] = -1


def fewer(pairs: I64, turns: I64, cosines: F64, n: int) -> tuple[I64, I64]:
    """Return the pairs, or where they are too many to compare, those that are among the likest of one of the two pictures.

    Small pictures of like things (digits, clothes) all look alike: a duplicate is then still among the very likest.
    """
    most = min(PAIRS, EACH * n)
    if len(pairs) <= most:
        return pairs, turns
    each = max(1, most // n)
    order = np.argsort(-cosines, kind="stable")
    ends = pairs[order].ravel()
    place = np.argsort(ends, kind="stable")
    starts = np.searchsorted(ends[place], np.arange(n))
    rank = np.empty(len(ends), np.int64)
    rank[place] = np.arange(len(ends)) - starts[ends[place]]
    likest = np.sort(order[(rank.reshape(-1, 2) < each).any(axis=1)])
    return pairs[likest], turns[likest]


def _best(found: F64, rows: I64) -> tuple[I64, I64, F64]:
    """Return each pair once, with the turn of the largest cosine, and that."""
    first, second, turn = (found[:, k].astype(np.int64) for k in range(3))
    swap = first > second
    # Undoing a turn: a transposition exchanges the two mirrors, the others are their own inverse.
    undone = np.where(turn & 4, 4 | (turn & 1) << 1 | (turn & 2) >> 1, turn)
    turn = np.where(swap, undone, turn)
    first, second = np.where(swap, second, first), np.where(swap, first, second)
    order = np.lexsort((turn, -found[:, 3], second, first))
    first, second, turn = first[order], second[order], turn[order]
    fresh = np.ones(len(first), bool)
    fresh[1:] = (np.diff(first) != 0) | (np.diff(second) != 0)
    pairs = np.stack([rows[first[fresh]], rows[second[fresh]]], axis=1)
    return pairs, turn[fresh], found[order, 3][fresh]
