"""Measures of a ranking."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def average_precision(
    scores: npt.NDArray[np.floating], truth: npt.NDArray[np.generic], weights: npt.NDArray[np.number] | None = None
) -> Floats:
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
    shares: Floats = np.divide(area, hits[..., -1], out=np.full(area.shape, np.nan), where=np.asarray(hits[..., -1] > 0))
    return shares
