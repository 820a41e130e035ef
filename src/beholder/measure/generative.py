"""What made pictures are like beside real ones, from features of both: the kernel distance, coverage, the nearest."""

from __future__ import annotations

import math

import numpy as np

from beholder.base.arrays import F32, F64, Bools
from beholder.base.records import Score
from beholder.measure.intervals import multiplier
from beholder.measure.neighbours import nearest

BLOCK = 100
"""Pictures of a kind in a block of the kernel distance: blocks share none, so that their spread gives an interval."""

AROUND = 3
"""To which of its own neighbours, in order, the ball around a picture reaches."""


def kid(real: F32, made: F32, *, block: int = BLOCK) -> Score:
    """Return the kernel distance of features (N, F) and (M, F): the mean over blocks of unbiased squared MMDs.

    The kernel is (x·y / F + 1)³. It may fall below 0, and is 0 on average where both are of one distribution. The interval is
    that of Student's t over blocks; with fewer than two blocks it is not estimable.
    Source: M. Bińkowski et al., "Demystifying MMD GANs", ICLR 2018.
    """
    count = min(len(real), len(made)) // block
    if not count:
        block, count = min(len(real), len(made)), 1
    if block < 2:
        return Score(math.nan, math.nan, math.nan, 0)
    found = np.array([_mmd(real[k * block : (k + 1) * block], made[k * block : (k + 1) * block]) for k in range(count)])
    value = float(found.mean())
    if count < 2:
        return Score(value, math.nan, math.nan, block)
    half = multiplier(0.95, count - 1) * float(found.std(ddof=1)) / math.sqrt(count)
    return Score(value, value - half, value + half, count * block)


def _mmd(one: F32, other: F32) -> float:
    """Return the unbiased squared MMD of two samples (n, F) of one size."""
    n = len(one)

    def kernel(a: F32, b: F32) -> F64:
        found: F64 = (a.astype(np.float64) @ b.astype(np.float64).T / a.shape[1] + 1) ** 3
        return found

    own = sum(float(k.sum() - np.trace(k)) for k in (kernel(one, one), kernel(other, other))) / (n * (n - 1))
    return own - 2 * float(kernel(one, other).mean())


def balls(rows: F32, *, around: int = AROUND) -> F32:
    """Return how far each row (N, F) is from the `around`-th nearest other, by cosine: float32 (N,)."""
    count = min(around, len(rows) - 1)
    similar, _ = nearest(rows, rows, count, itself=np.arange(len(rows)))
    return np.asarray(1 - similar[:, count - 1], np.float32)


def covered(real: F32, made: F32, *, around: int = AROUND) -> Bools:
    """Return whether a real picture lies in the ball around a made one, bool (N,): its mean is the recall.

    real, made: directions of length 1, float32 (N, F), (M, F)
    Source: T. Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", NeurIPS 2019.
    """
    reach, found = balls(made, around=around), np.zeros(len(real), bool)
    for start in range(0, len(real), 512):
        far = 1 - real[start : start + 512] @ made.T
        found[start : start + 512] = (far <= reach).any(axis=1)
    return found


def spread(rows: F32) -> float:
    """Return how far two different pictures lie from each other on average, by cosine: 0 where all are alike.

    rows: directions of length 1, float32 (N, F), of two pictures at least
    """
    n, whole = len(rows), rows.sum(axis=0, dtype=np.float64)
    return 1 - (float(whole @ whole) - n) / (n * (n - 1))
