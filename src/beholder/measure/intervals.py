"""How far a measured value may lie from the true one: Wilson intervals, variances and the bootstrap."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools
from beholder.base.errors import UsageError
from beholder.base.records import Score

FEWEST_GROUPS = 5
"""Of fewer groups of pictures no interval is given: what so few say of the spread between groups is next to nothing."""

UNSEEN = 0.5
"""So many groups that are right or wrong as a whole are added to what the groups say of their own likeness: where few of them
hold a mistake, one that is all mistakes may just not have been met."""

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
    statistic: Callable[[I64], float],
    n: int,
    *,
    clusters: npt.ArrayLike | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    level: float = 0.95,
) -> Score:
    """Return `statistic` of n rows with its percentile bootstrap interval.

    statistic: takes weights int64 (n,), how often each row was drawn (all 1: the sample itself), gives a float;
               what scikit-learn calls `sample_weight`. Resamples where it is NaN are left out.
    clusters: see `resamples`.
    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.

    >>> heights = np.array([1.62, 1.71, 1.74, 1.80, 1.93])
    >>> print(bootstrap(lambda weights: float(np.average(heights, weights=weights)), 5))
    1.760 [1.674, 1.860] (n=5)
    """
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    value = float(statistic(np.ones(n, np.int64)))
    drawn = resamples(n, clusters=clusters, seed=seed, repeats=repeats)
    return interval(value, np.array([statistic(weights) for weights in drawn], np.float64), n, level=level)


def resamples(
    n: int, *, strata: npt.ArrayLike | None = None, clusters: npt.ArrayLike | None = None, seed: int = 0, repeats: int = REPEATS
) -> Iterator[I64]:
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


def cluster_numbers(n: int, clusters: npt.ArrayLike | None) -> I64:
    """Return int64 (n,): clusters renumbered from 0, each row with -1 as a cluster of its own."""
    if clusters is None:
        return np.arange(n, dtype=np.int64)
    given = _column(clusters, n, "clusters")
    alone = np.where(given < 0, given.max(initial=0) + 1 + np.arange(n), given)
    return np.unique(alone, return_inverse=True)[1].astype(np.int64)


def interval(value: float, draws: F64, n: int, *, level: float = 0.95, units: float = 0.0) -> Score:
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
        return by_variance(value, float(draws.var()), n, units=units, level=level)
    low, high = np.quantile(draws, [1 - _inner(level), _inner(level)]).tolist()
    return Score(value, min(value, low), max(value, high), n)


def by_variance(value: float, variance: float, n: int, *, units: float, level: float = 0.95) -> Score:
    """Return a `value` in 0..1 with Wilson's interval for the number of observations at which a share has that `variance`.

    variance: NaN where there is but one group or picture to tell it from; the interval is all of 0..1 then
    units:   the number of independent observations behind it, taken where the variance says nothing (0, or a value of 0 or 1)
    Source: E. Korn, B. Graubard, Survey Methodology 24 (1998).
    """
    if math.isnan(value):
        return Score(value, math.nan, math.nan, n)
    if math.isnan(variance) or units <= 0:
        return Score(value, min(value, 0.0), max(value, 1.0), n)
    share = min(max(value, 0.0), 1.0)
    # A variance of 1e-33 is one of 0 that was rounded: it says as little.
    effective = share * (1 - share) / variance if 0 < share < 1 and variance > 1e-9 * share * (1 - share) / units else units
    found = wilson(share * effective, effective, level=level)
    return Score(value, min(value, found.low), max(value, found.high), n)


def mean_variance(values: npt.ArrayLike, clusters: I64 | None = None) -> float:
    """Return the variance of the mean of values, float (N,); NaN where all are of one cluster.

    clusters: int64 (N,) numbered from 0; rows of one cluster are one observation, None: each row is.
    The mean is a ratio of two sums over clusters, and is linearised as such: W. Cochran, Sampling Techniques (1977), 6.8.
    """
    column = np.asarray(values, np.float64)
    rest = column - column.mean() if len(column) else column
    sums = rest if clusters is None else np.bincount(clusters, rest)
    count = len(sums)
    if count < 2:
        return math.nan
    return float(np.square(sums).sum()) / len(column) ** 2 * count / (count - 1)


def proportion(right: Bools, clusters: I64 | None = None, *, level: float = 0.95) -> Score:
    """Return the share of True in bool (N,) with Wilson's interval; clusters: as for `mean_variance`, N ≥ 1 then.

    No interval (NaN) of fewer than `FEWEST_GROUPS` groups. Raises `UsageError` for a level outside 0..1.
    """
    return share_of(right, clusters).score(level=level)


@dataclass(frozen=True)
class Share:
    """A share of pictures, and what its error follows from.

    value: in 0..1, NaN of no picture; n: pictures; size: the number of independent pictures with the same error
    groups: how many groups of pictures are behind it, which vary together if `grouped`; else each picture is one
    """

    value: float
    n: int
    size: float
    groups: int
    grouped: bool = False

    @property
    def degrees(self) -> float:
        """Return the degrees of freedom of its variance."""
        return self.groups - 1.0

    def score(self, *, level: float = 0.95) -> Score:
        """Return it with Wilson's interval; the fewer groups, the wider, and of less than `FEWEST_GROUPS` none (NaN)."""
        if not self.grouped:
            return wilson(round(self.value * self.n) if self.n else 0, self.n, level=level)
        if self.groups < FEWEST_GROUPS:
            return Score(self.value, math.nan, math.nan, self.n)
        size = self.size * (multiplier(level) / multiplier(level, self.degrees)) ** 2
        found = wilson(self.value * size, size, level=level)
        return Score(self.value, min(self.value, found.low), max(self.value, found.high), self.n)


def share_of(right: Bools, clusters: I64 | None = None) -> Share:
    """Return the share of True in bool (N,); clusters: int64 (N,) ≥ 0, rows of one number are one observation.

    The error of a share of pictures in groups is larger than that of as many lone pictures, by a factor of at most the size of
    the group that a picture finds itself in: then a group is right or wrong as a whole. How large it is only groups can tell
    that differ from the others, so to their number `UNSEEN` groups of that worst case are added.
    """
    n, value = len(right), float(right.mean()) if len(right) else math.nan
    if clusters is None or not n:
        return Share(value, n, float(n), n)
    _, numbers, counts = np.unique(clusters, return_inverse=True, return_counts=True)
    if len(counts) == n:  # each picture alone
        return Share(value, n, float(n), n)
    hits = np.bincount(numbers, right)
    telling = min(int((hits > 0).sum()), int((hits < counts).sum()))
    variance = float(np.square(hits - value * counts).sum()) / n**2 * len(counts) / max(len(counts) - 1, 1)
    inflated = variance * n / (value * (1 - value)) if telling else 0.0
    most = float(np.square(counts).sum()) / n
    inflated = max(1.0, (telling * inflated + UNSEEN * most) / (telling + UNSEEN))
    return Share(value, n, n / inflated, len(counts), grouped=True)


def at_level(score: Score, level: float, *, least: float = 0.0, most: float = 1.0) -> Score:
    """Return a score whose interval is Wilson's at some effective n, with the interval that has another `level`.

    least, most: between what the score lies: as a share of that range it is one of pictures
    """
    if math.isnan(score.value) or math.isnan(score.low):
        return score
    span = most - least
    width, share = (score.high - score.low) / span, min(max((score.value - least) / span, 0.0), 1.0)
    few, many = 1e-3, 1e12
    for _ in range(100):
        middle = math.sqrt(few * many)
        found = wilson(share * middle, middle)
        few, many = (middle, many) if found.high - found.low > width else (few, middle)
    wide = wilson(share * few, few, level=level)
    return Score(score.value, least + span * wide.low, least + span * wide.high, score.n)


def joint(count: int, *, level: float = 0.95) -> float:
    """Return the level that each of `count` intervals needs for all of them to hold at once with `level`, by Šidák.

    It is exact for figures that rest on different pictures, such as the recalls of classes, and else on the safe side.
    Source: Z. Šidák, Rectangular confidence regions for the means of multivariate normal distributions, JASA 62 (1967).

    >>> round(joint(10), 5)
    0.99488
    """
    return float(level ** (1 / max(count, 1)))


def quantile(values: npt.ArrayLike, share: float, *, level: float = 0.95) -> Score:
    """Return the smallest of the values, float (N,), that at least `share` of them do not exceed, between two others of them.

    The ends hold the quantile of the population with at least `level`, whatever its distribution; NaN: too few values for one.
    Source: H. David, H. Nagaraja, Order Statistics (2003), section 7.1.
    """
    column = np.sort(np.asarray(values, np.float64))
    n = len(column)
    if n == 0:
        return Score(math.nan, math.nan, math.nan, 0)
    from scipy.special import bdtr

    below = bdtr(np.arange(-1, n).clip(0), n, share)  # [k]: P(fewer than k of n lie below the quantile), for k ≥ 1
    below[0] = 0.0
    low = int(np.searchsorted(below, 1 - _inner(level), side="right")) - 1
    high = int(np.searchsorted(below, _inner(level), side="left"))
    ends = (column[low - 1] if low >= 1 else math.nan, column[high - 1] if high <= n else math.nan)
    return Score(float(column[math.ceil(share * n) - 1 if share > 0 else 0]), float(ends[0]), float(ends[1]), n)


def multiplier(level: float, degrees: float = math.inf) -> float:
    """Return by how many standard errors an interval of that `level` reaches to either side: of a normal, or of Student's t."""
    if not math.isfinite(degrees):
        return NormalDist().inv_cdf(_inner(level))
    from scipy.special import stdtrit

    return float(stdtrit(max(degrees, 1.0), _inner(level)))


def _inner(level: float) -> float:
    if not 0 < level < 1:
        raise UsageError(f"level cannot be {level}", code="bad-value", hint="it lies between 0 and 1, for example 0.95")
    return (1 + level) / 2


def _stratum_of_unit(units: I64, count: int, n: int, strata: npt.ArrayLike | None) -> I64:
    if strata is None:
        return np.zeros(count, np.int64)
    given = _column(strata, n, "strata")
    low, high = np.full(count, np.iinfo(np.int64).max), np.full(count, -1, np.int64)
    np.minimum.at(low, units, given)
    np.maximum.at(high, units, given)
    return np.where(low == high, low, -1)


def _column(values: npt.ArrayLike, n: int, name: str) -> I64:
    column = np.asarray(values)
    if column.shape != (n,) or not (column.dtype.kind in "iu" or column.size == 0):
        hint = f"give one whole number for each of the {n} rows"
        raise UsageError(f"{name} has shape {column.shape} and type {column.dtype}", code="bad-shape", hint=hint)
    return column.astype(np.int64)
