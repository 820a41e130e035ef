"""Means of what each picture scored, with an interval that knows which pictures belong together."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.measure.intervals import FEWEST_GROUPS, cluster_numbers, wilson


def mean_score(values: npt.ArrayLike, *, clusters: npt.ArrayLike | None = None, level: float = 0.95) -> Score:
    """Return the mean of `values` in [0, 1] with Wilson's interval at the n at which a share has the variance of this mean.

    values:   float (N,), what each picture scored: 1 or 0 for right or wrong, or a share
    clusters: int (N,); pictures that share a number vary together, -1 stands alone
    The variance is that of sums over clusters about the mean (the sandwich of a ratio of sums, times C / (C - 1)), so for
    lone rights and wrongs this is Wilson's interval but for (n - 1) / n. Without spread n is the number of clusters.
    No interval (NaN) of fewer than `FEWEST_GROUPS` groups. Raises `UsageError` for values outside of [0, 1].
    Source: E. Korn, B. Graubard, Survey Methodology 24 (1998); W. Cochran, Sampling Techniques (1977), 6.3.

    >>> print(mean_score([1, 1, 1, 0]))
    0.750 [0.238, 0.967] (n=4)
    """
    column = np.asarray(values, np.float64)
    if column.size and not (column.min() >= 0 and column.max() <= 1):
        raise UsageError("a mean of shares needs values in 0..1", code="bad-value", hint="give 1 or 0 for right or wrong")
    n = len(column)
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    mean = float(column.mean())
    units = cluster_numbers(n, clusters)
    count = int(units.max()) + 1
    if count < min(FEWEST_GROUPS, n):
        return Score(mean, math.nan, math.nan, n)
    spread = np.bincount(units, weights=column - mean)
    variance = float((spread**2).sum()) / n**2 * count / max(count - 1, 1)
    effective = min(mean * (1 - mean) / variance, float(n)) if variance > 1e-15 and 0 < mean < 1 else float(count)
    found = wilson(mean * effective, effective, level=level)
    return Score(mean, min(found.low, mean), max(found.high, mean), n)
