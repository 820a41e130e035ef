"""How far a measured value may lie from the true one: Wilson intervals and the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError
from beholder.base.records import Score

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

REPEATS = 1000
"""Resamples of a bootstrap: the ends of a 95 % interval then rest on 25 values each."""


def wilson(successes: float, n: float, *, level: float = 0.95) -> Score:
    """Return the share successes / n with its Wilson score interval; NaN throughout where n is 0.

    Unlike value ± 1.96 σ it stays within 0..1 and keeps a width at 0 and 1. Both may be fractions (an effective n).
    Raises `UsageError` unless 0 ≤ successes ≤ n.
    Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).

    >>> print(wilson(48, 50))
    0.960 [0.865, 0.989] (n=50)
    """
    if not 0 <= successes <= n:
        raise UsageError(f"{successes} of {n} is no share", code="bad-count", hint="successes lie between 0 and n")
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    z2 = NormalDist().inv_cdf(_inner(level)) ** 2
    share = successes / n
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = math.sqrt(z2 * (share * (1 - share) + z2 / (4 * n)) / n) / (1 + z2 / n)
    # At shares of exactly 0 and 1 rounding could leave the value a hair outside its own interval.
    return Score(share, max(0.0, min(share, centre - half)), min(1.0, max(share, centre + half)), round(n))


def bootstrap(
    statistic: Callable[[Ints], float],
    n: int,
    *,
    strata: npt.ArrayLike | None = None,
    clusters: npt.ArrayLike | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    level: float = 0.95,
) -> Score:
    """Return `statistic` of n rows with its percentile bootstrap interval.

    statistic: takes weights int64 (n,), how often each row was drawn (all 1: the sample itself), gives a float;
               what scikit-learn calls `sample_weight`. Resamples where it is NaN are left out.
    strata, clusters: see `resamples`.
    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.

    >>> heights = np.array([1.62, 1.71, 1.74, 1.80, 1.93])
    >>> print(bootstrap(lambda weights: float(np.average(heights, weights=weights)), 5))
    1.760 [1.674, 1.860] (n=5)
    """
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    value = float(statistic(np.ones(n, np.int64)))
    drawn = resamples(n, strata=strata, clusters=clusters, seed=seed, repeats=repeats)
    return interval(value, np.array([statistic(weights) for weights in drawn], np.float64), n, level=level)


def resamples(
    n: int, *, strata: npt.ArrayLike | None = None, clusters: npt.ArrayLike | None = None, seed: int = 0, repeats: int = REPEATS
) -> Iterator[Ints]:
    """Yield `repeats` bootstrap resamples of n rows as weights int64 (n,): how often each row was drawn.

    strata:   int (n,) ≥ 0; each stratum keeps its size, so no class can vanish
    clusters: int (n,); rows that share a number are drawn together, -1 stands alone. A cluster that lies in several
              strata cannot keep all their sizes: such clusters form one stratum of their own.
    """
    rng = np.random.default_rng(seed)
    units = cluster_numbers(n, clusters)
    count = int(units.max(initial=-1)) + 1
    layer = _stratum_of_unit(units, count, n, strata)
    order = np.argsort(layer, kind="stable")
    _, starts, sizes = np.unique(layer[order], return_index=True, return_counts=True)
    start, size = np.repeat(starts, sizes), np.repeat(sizes, sizes)
    weights = np.empty(count, np.int64)
    for _ in range(repeats):
        drawn = start + (rng.random(count) * size).astype(np.int64)
        weights[order] = np.bincount(drawn, minlength=count)
        yield weights[units]


def cluster_numbers(n: int, clusters: npt.ArrayLike | None) -> Ints:
    """Return int64 (n,): clusters renumbered from 0, each row with -1 as a cluster of its own."""
    if clusters is None:
        return np.arange(n, dtype=np.int64)
    given = _column(clusters, n, "clusters")
    alone = np.where(given < 0, given.max(initial=0) + 1 + np.arange(n), given)
    return np.unique(alone, return_inverse=True)[1].astype(np.int64)


def interval(value: float, draws: Floats, n: int, *, level: float = 0.95, units: float = 0.0) -> Score:
    """Return `value` with its interval, widened to hold it, from bootstrap `draws` (float (R,), NaN left out).

    units: 0: the interval is the central `level` of the draws. For a share in 0..1, the number of independent observations
           behind it: the interval is then Wilson's for the n at which a share has the variance of the draws. Percentiles
           of few mistakes are too short, and without any mistake the draws have no spread at all; `units`
           then stands in for that n.
    Source: L. Brown, T. Cai, A. DasGupta, Interval estimation for a binomial proportion, Statistical Science 16 (2001);
    effective n: E. Korn, B. Graubard, Confidence intervals for proportions with small expected number of positive counts
    estimated from survey data, Survey Methodology 24 (1998).
    """
    draws = draws[~np.isnan(draws)]
    if math.isnan(value) or draws.size == 0:
        return Score(math.nan, math.nan, math.nan, n)
    if units > 0:
        spread, share = float(draws.var()), min(max(value, 0.0), 1.0)
        effective = share * (1 - share) / spread if spread > 0 and 0 < share < 1 else units
        found = wilson(share * effective, effective, level=level)
        low, high = found.low, found.high
    else:
        low, high = np.quantile(draws, [1 - _inner(level), _inner(level)]).tolist()
    return Score(value, min(value, low), max(value, high), n)


def _inner(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"level cannot be {level}", code="bad-value", hint="it lies between 0 and 1, for example 0.95")
    return (1 + level) / 2


def _stratum_of_unit(units: Ints, count: int, n: int, strata: npt.ArrayLike | None) -> Ints:
    if strata is None:
        return np.zeros(count, np.int64)
    given = _column(strata, n, "strata")
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(low, units, given)
    np.maximum.at(high, units, given)
    return np.where(low == high, low, -1)


def _column(values: npt.ArrayLike, n: int, name: str) -> Ints:
    column = np.asarray(values)
    if column.shape != (n,) or not (column.dtype.kind in "iu" or column.size == 0):
        hint = f"give one whole number for each of the {n} rows"
        raise UsageError(f"{name} has shape {column.shape} and type {column.dtype}", code="bad-shape", hint=hint)
    return column.astype(np.int64)
