"""Measures of a ranking: average precision, and the area under the ROC curve with what each row adds to it."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Floating
from beholder.base.records import Score
from beholder.measure.intervals import FEWEST_GROUPS, by_variance

WORTH = 3
"""Independent observations that a picture of the rarer kind may stand for in an area under the ROC curve."""


def average_precision(scores: Floating, truth: npt.NDArray[np.generic], weights: npt.NDArray[np.number] | None = None) -> F64:
    """Return Σ (recallᵢ - recallᵢ₋₁) · precisionᵢ over the distinct scores, from the highest down; not interpolated.

    scores: float (N,); truth: bool or 0/1 (N,); weights: (..., N), how often each row counts.
    Returns float64 (...), in 0..1; NaN where nothing is positive.
    Source: M. Zhu, Recall, precision and average precision, University of Waterloo (2004).
    """
    weights = np.ones(len(scores)) if weights is None else weights
    if not truth.any():
        return np.full(weights.shape[:-1], np.nan)
    order = np.argsort(-scores, kind="stable")
    level = np.cumsum(np.append(False, np.diff(scores[order]) != 0))
    positive = np.flatnonzero(truth[order])
    # Recall grows only at levels that hold a positive: sums over the rows between them are all that is needed.
    levels, first = np.unique(level[positive], return_index=True)
    ends = np.searchsorted(level, levels, side="right")
    gained = np.add.reduceat(weights[..., order[positive]], first, axis=-1, dtype=np.float64)
    rows = order[: ends[-1]]
    taken = np.cumsum(np.add.reduceat(weights[..., rows], np.append(0, ends[:-1]), axis=-1, dtype=np.float64), axis=-1)
    hits = np.cumsum(gained, axis=-1)
    area = (gained * hits / np.maximum(taken, 1)).sum(axis=-1)
    shares: F64 = np.divide(area, hits[..., -1], out=np.full(area.shape, np.nan), where=np.asarray(hits[..., -1] > 0))
    return shares


def auroc(scores: Floating, truth: npt.NDArray[np.generic]) -> tuple[float, F64]:
    """Return the area under the ROC curve, and what each row adds to its error: float64 (N,), summing to 0 in each class.

    scores: float (N,); truth: bool or 0/1 (N,). The area is the share of pairs of a positive and a negative that are in order,
    equals counting half; NaN where one of the two is missing. The squares of what the rows add sum to DeLong's
    variance; sums over the rows of a group, squared, to that of Obuchowski for clustered data.
    Source: E. DeLong, D. DeLong, D. Clarke-Pearson, Biometrics 44 (1988); N. Obuchowski, Biometrics 53 (1997); by ranks as in
    X. Sun, W. Xu, IEEE Signal Processing Letters 21 (2014).
    """
    positive = np.asarray(truth).astype(bool)
    m, n = int(positive.sum()), int((~positive).sum())
    if m == 0 or n == 0:
        return math.nan, np.full(len(positive), np.nan)
    rank = _ranks(scores)
    won = np.empty(len(positive))
    won[positive] = (rank[positive] - _ranks(scores[positive])) / n
    won[~positive] = 1 - (rank[~positive] - _ranks(scores[~positive])) / m
    area = float(rank[positive].sum() - m * (m + 1) / 2) / (m * n)
    scale = np.where(positive, 1 / math.sqrt(m * max(m - 1, 1)), 1 / math.sqrt(n * max(n - 1, 1)))
    return area, (won - area) * scale


def of_area(value: float, added: F64, n: int, *, units: float, clusters: I64 | None = None) -> Score:
    """Return an area under the ROC curve with its interval, from what each row adds to its error (`auroc`), float64 (N,).

    units: independent pictures of the rarer of the two kinds; clusters: int64 (N,) numbered from 0.
    No interval (NaN) of fewer than `FEWEST_GROUPS` groups.
    The variance is taken as at least that of a share of `WORTH` times as many: near 1 few pairs are out of order, and
    DeLong's variance of them is too small (docs/HONESTY.md).
    """
    if math.isnan(value):
        return Score(math.nan, math.nan, math.nan, n)
    sums = added if clusters is None else np.bincount(clusters, added)
    if len(sums) < min(FEWEST_GROUPS, len(added)):
        return Score(value, math.nan, math.nan, n)
    # Sorted, so that the order of the pictures does not show in the last digits.
    variance = float(np.sort(np.square(sums)).sum())
    return by_variance(value, max(variance, value * (1 - value) / (WORTH * units)), n, units=units)


def _ranks(values: Floating) -> F64:
    """Return the ranks of values, from 1; equals share the mean of theirs: float64 (N,)."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2)[place.ravel()], np.float64)
