"""Outliers: pictures whose features are far from those of all others (nearest neighbours by cosine)."""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import F32, F64, I64
from beholder.base.order import spread
from beholder.measure.neighbours import nearest, unit
from beholder.quality.checks import Check, Evidence, Marks

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
    rows = unit(features)
    pool = spread(len(rows), references)
    place = np.full(len(rows), -1, np.int64)
    place[pool] = np.arange(len(pool))
    near, found = nearest(rows, np.ascontiguousarray(rows[pool]), count, itself=place)
    return near, pool[found]


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
    hint="check whether it belongs here at all; rare but correct pictures are worth keeping",
    group="labels",
    needs=("features",),
)
