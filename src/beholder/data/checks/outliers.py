"""Outliers: pictures whose features are far from those of all others (nearest neighbours by cosine)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beholder.data.checks import F64, I64, Check, Evidence, Marks

F32 = npt.NDArray[np.float32]

NEIGHBOURS = 10
"""How many nearest neighbours count."""

REFERENCES = 10_000
"""Neighbours are looked for among so many pictures of the set, an even sample of it, so the time is linear in its size."""

FAR = 6.0
"""Robust deviations above the median of the logarithm of the distance that make a score of 0.5."""


def neighbours(features: F32, *, count: int = NEIGHBOURS, references: int = REFERENCES) -> tuple[F32, I64]:
    """Return (similarity float32 (N, k), row int64 (N, k)) of the nearest others of each picture, the nearest first.

    features: float32 (N, F) without NaN. Similarity is the cosine. k is `count`, or fewer in a set of fewer pictures.
    """
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    pool = np.unique(np.linspace(0, len(unit) - 1, min(len(unit), references)).astype(np.int64))
    place = np.full(len(unit), -1, np.int64)
    place[pool] = np.arange(len(pool))
    k = min(count, len(pool) - 1)
    near = np.empty((len(unit), k), np.float32)
    rows = np.empty((len(unit), k), np.int64)
    theirs = np.ascontiguousarray(unit[pool].T)
    for at in range(0, len(unit), 1024):
        cosine = unit[at : at + 1024] @ theirs
        own = np.flatnonzero(place[at : at + 1024] >= 0)
        cosine[own, place[at : at + 1024][own]] = -np.inf  # a picture is no neighbour of itself
        best = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        values = np.take_along_axis(cosine, best, axis=1)
        order = np.argsort(-values, axis=1, kind="stable")
        near[at : at + 1024] = np.take_along_axis(values, order, axis=1)
        rows[at : at + 1024] = pool[np.take_along_axis(best, order, axis=1)]
    return near, rows


def strangeness(distances: F64) -> F64:
    """Return scores in [0, 1] of mean distances to the nearest neighbours, float64 (M,).

    With z = (log d - median) / (1.4826 · median absolute deviation), the score is z / (z + 6) for z > 0, else 0: half where
    the distance is six robust deviations above what is usual in the set.
    """
    logs = np.log(np.maximum(distances, 1e-6))
    centre = np.median(logs)
    usual = max(1.4826 * float(np.median(np.abs(logs - centre))), 1e-3)
    z = np.maximum((logs - centre) / usual, 0.0)
    return np.asarray(z / (z + FAR))


def outlier(evidence: Evidence) -> Marks:
    """Score by the mean distance (1 - cosine) to the ten nearest of the same set; see `strangeness`."""
    assert evidence.features is not None
    scores = np.full(len(evidence.pictures), np.nan)
    known = np.flatnonzero(np.isfinite(evidence.features).all(axis=1))
    if len(known) > NEIGHBOURS:
        near, _ = neighbours(evidence.features[known])
        scores[known] = strangeness(1 - near.astype(np.float64).mean(axis=1))
    return Marks(scores)


OUTLIER = Check(
    outlier,
    limit=0.5,
    sentence="looks like no other picture of the set",
    hint="see whether it belongs here at all; rare but right pictures are worth keeping",
    group="labels",
    needs=("features",),
)
