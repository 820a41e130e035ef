"""The nearest neighbours by cosine: the one search behind outliers, OOD scores, near-duplicates and explanation by examples."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F32, I64

_ROWS = 1024
"""Rows that are compared with all others at a time."""


def unit(rows: npt.ArrayLike) -> F32:
    """Return the rows of (N, F) as vectors of length 1, float32 (N, F); rows of zeros stay."""
    values = np.asarray(rows, np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), np.float32)


def nearest(rows: F32, others: F32, count: int, *, itself: I64 | None = None) -> tuple[F32, I64]:
    """Return (cosine float32 (N, k), place in `others` int64 (N, k)) of the nearest of each row, the nearest first.

    rows, others: float32 (N, F) and (M, F), of length 1. k is `count`, or as many as there are.
    itself: int64 (N,), where in `others` a row stands itself, -1 where it does not: no row is a neighbour of its own
    """
    k = max(0, min(count, len(others) - (itself is not None)))
    near, found = np.empty((len(rows), k), np.float32), np.empty((len(rows), k), np.int64)
    for at in range(0, len(rows) if k else 0, _ROWS):
        cosines = rows[at : at + _ROWS] @ others.T
        if itself is not None:
            own = np.flatnonzero(itself[at : at + _ROWS] >= 0)
            cosines[own, itself[at : at + _ROWS][own]] = -np.inf
        best = cosines.argmax(axis=1)[:, None] if k == 1 else np.argpartition(-cosines, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(cosines, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        near[at : at + _ROWS] = np.take_along_axis(values, order, axis=1)
        found[at : at + _ROWS] = np.take_along_axis(best, order, axis=1)
    return near, found
