"""Is one model better than another on the same pictures: a test, the interval of the difference, what would settle it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt
from scipy.special import bdtr, xlogy
from scipy.special import gammaln as log_gamma

from beholder.base.arrays import F64, I64, Bools
from beholder.base.records import Score
from beholder.measure.intervals import mean_variance

ALPHA, POWER = 0.05, 0.8
"""Share of false alarms that a test may give, and of true differences that it is to find."""

MOST = 10_000_000
"""Pictures beyond which no number is named: nobody will take so many."""


@dataclass(frozen=True)
class Paired:
    """What two models make of the same N pictures.

    difference:  share of right predictions of the second less that of the first, with its interval
    first_only, second_only: pictures that only one of them has right
    p:           of the test that they are equally good (mid-p, two-sided)
    effect:      how many times the variance is that of as many independent pictures; 1 without groups
    needed:      pictures (of groups like these) at which a difference of this size is found in `POWER` of all tests;
                 None where both are right equally often, or more than `MOST` would be needed
    """

    difference: Score
    first_only: int
    second_only: int
    p: float
    effect: float
    needed: int | None


def paired(first: Bools, second: Bools, *, clusters: I64 | None = None, level: float = 1 - ALPHA) -> Paired:
    """Compare two models by which pictures they have right: bool (N,) each, in the same order; N ≥ 1.

    clusters: int64 (N,) numbered from 0; pictures of one group (a person, duplicates) are one observation.
    """
    n = len(first)
    change = second.astype(np.int64) - first.astype(np.int64)
    lost, won = int((change < 0).sum()), int((change > 0).sum())
    effect = _effect(change, clusters)
    found = difference(lost, won, n, effect=effect, level=level)
    return Paired(found, lost, won, flips(change, clusters), effect, needed(lost / n, won / n, effect=effect))


def _effect(change: I64, clusters: I64 | None) -> float:
    """Return the design effect of groups on the variance of a mean change, at least 1 where there are groups."""
    if clusters is None or clusters.max(initial=-1) + 1 == len(change):
        return 1.0
    grouped, alone = mean_variance(change, clusters), mean_variance(change)
    return max(1.0, grouped / alone) if alone > 0 and not math.isnan(grouped) else 1.0


def mcnemar(lost: npt.ArrayLike, won: npt.ArrayLike, *, mid: bool = True) -> F64:
    """Return the two-sided p that `lost` and `won`, int (...), are equally likely, by the binomial distribution: float64 (...).

    mid: count the observed table half (mid-p): less conservative than the exact test. 1 where both are 0.
    Source: Q. McNemar, Psychometrika 12 (1947); mid-p: M. Fagerland, S. Lydersen, P. Laake, BMC Medical Research Methodology 13
    (2013).

    >>> mcnemar([10], [2]).round(4).tolist()
    [0.0225]
    """
    a, b = np.asarray(lost, np.float64), np.asarray(won, np.float64)
    total, less = a + b, np.minimum(a, b)
    tail = 2 * bdtr(less, total.astype(np.int64), 0.5)
    if mid:
        tail = tail - np.exp(_log_half(less, total))
    return np.asarray(np.where(total > 0, np.where(mid | (a != b), np.minimum(tail, 1.0), 1.0), 1.0), np.float64)


def _log_half(k: F64, n: F64) -> F64:
    return np.asarray(log_gamma(n + 1) - log_gamma(k + 1) - log_gamma(n - k + 1) - n * math.log(2), np.float64)


def flips(change: I64, clusters: I64 | None = None) -> float:
    """Return the two-sided mid-p that the sign of each group's total change is a coin's toss; for single pictures `mcnemar`.

    change: int64 (N,) in -1, 0, 1. Exact: all 2^G ways of signs are counted, by convolution.
    Source: sign-flip tests: R. Fisher, The Design of Experiments (1935), section 21.
    """
    sums = change if clusters is None else np.bincount(clusters, change).astype(np.int64)
    sizes = np.abs(sums[sums != 0])
    if not len(sizes):
        return 1.0
    if (sizes == 1).all():
        return float(mcnemar((sums < 0).sum(), (sums > 0).sum()))
    total = int(sizes.sum())
    odds = np.ones(1)  # [k]: probability that the groups whose sign is + sum to k
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        steps = np.zeros(size * count + 1)
        steps[::size] = np.exp(_log_half(np.arange(count + 1.0), np.asarray(count, np.float64)))
        odds = np.convolve(odds, steps)
    distance = np.abs(2 * np.arange(total + 1) - total)
    seen = abs(int(sums.sum()))
    return float(min(1.0, odds[distance > seen].sum() + odds[distance == seen].sum() / 2)) if seen else 1.0


def difference(lost: int, won: int, n: int, *, effect: float = 1.0, level: float = 1 - ALPHA) -> Score:
    """Return (won - lost) / n with Tango's score interval for paired shares, at n / `effect` pictures.

    It agrees with McNemar's test: 0 lies outside where the score (won - lost) / √(won + lost) is beyond the normal quantile.
    Source: T. Tango, Equivalence test and confidence interval for the difference in proportions for the paired-sample design,
    Statistics in Medicine 17 (1998).
    """
    z = NormalDist().inv_cdf((1 + level) / 2)
    a, b, count = won / effect, lost / effect, n / effect
    value = (won - lost) / n
    low, high = (_bound(a, b, count, value, end, z) for end in (-1.0, 1.0))
    return Score(value, low, high, n)


def _bound(won: float, lost: float, n: float, value: float, end: float, z: float) -> float:
    """Return where between `value` and `end` (-1 or 1) Tango's score passes z, by bisection."""
    inside, outside = value, end
    for _ in range(60):
        middle = (inside + outside) / 2
        if abs(_score(won, lost, n, middle)) <= z:
            inside = middle
        else:
            outside = middle
    return inside


def _score(won: float, lost: float, n: float, delta: float) -> float:
    """Return Tango's score of the hypothesis that the difference is `delta`."""
    second = -won - lost + (2 * n - won + lost) * delta
    third = -lost * delta * (1 - delta)
    share = (math.sqrt(max(second**2 - 8 * n * third, 0.0)) - second) / (4 * n)
    spread = n * (2 * share + delta * (1 - delta))
    gap = won - lost - n * delta
    return gap / math.sqrt(spread) if spread > 1e-12 else math.copysign(math.inf, gap) if abs(gap) > 1e-9 else 0.0


def apart(first: Score, second: Score, correlation: float, *, span: float = 1.0) -> Score:
    """Return second - first with an interval made of theirs by squaring and adding; correlation: of the two as estimates.

    span: how far they can lie apart

    Unlike percentiles of the bootstrap it keeps a width where one of the two makes no mistake.
    Source: R. Newcombe, Statistics in Medicine 17 (1998), method 10; G. Zou, A. Donner, ibid. 27 (2008).
    """
    value = second.value - first.value

    def half(one: float, other: float) -> float:
        return math.sqrt(max(one**2 + other**2 - 2 * correlation * one * other, 0.0))

    low = value - half(second.value - second.low, first.high - first.value)
    high = value + half(second.high - second.value, first.value - first.low)
    if math.isnan(low + high):  # of too few groups one of the two has no interval
        return Score(value, math.nan, math.nan, second.n)
    return Score(value, max(-span, low), min(span, high), second.n)


def power(n: int, lost: float, won: float, *, alpha: float = ALPHA) -> float:
    """Return how often McNemar's mid-p test of `n` pictures finds a difference, when shares `lost` and `won` change in truth.

    Exact but for tails of 1e-9: the number that change is binomial, and so is how many of those are won.
    """
    changes = lost + won
    if changes <= 0 or n <= 0:
        return 0.0
    middle, spread = n * changes, 6.5 * math.sqrt(n * changes * max(1 - changes, 0)) + 6
    counts = np.arange(max(1, math.floor(middle - spread)), min(n, math.ceil(middle + spread)) + 1, dtype=np.int64)
    if len(counts) > 400:  # the power changes slowly: some of the counts stand for all
        counts = np.unique(np.linspace(counts[0], counts[-1], 400).round().astype(np.int64))
    m = counts.astype(np.float64)
    weight = np.exp(
        log_gamma(n + 1) - log_gamma(m + 1) - log_gamma(n - m + 1) + xlogy(m, changes) + xlogy(n - m, max(1 - changes, 0))
    )
    limit = _limits(counts, alpha)
    found = bdtr(limit, counts, won / changes) + bdtr(limit, counts, lost / changes)
    found = np.where(limit < 0, 0.0, found)
    return float((weight * found).sum() / weight.sum()) if weight.sum() > 0 else 0.0


def _limits(counts: I64, alpha: float) -> F64:
    """Return the largest k at which mid-p of k against count - k is at most alpha, -1 where there is none: float64 (M,)."""
    low, high = np.full(len(counts), -1.0), np.floor(counts / 2)
    while (high > low).any():
        middle = np.ceil((low + high) / 2)
        rejected = mcnemar(middle.clip(0), counts - middle.clip(0)) <= alpha
        low, high = np.where(rejected & (high > low), middle, low), np.where(rejected, high, middle - 1)
        high = np.maximum(high, low)
    return low


def needed(lost: float, won: float, *, effect: float = 1.0, alpha: float = ALPHA, aim: float = POWER) -> int | None:
    """Return how many pictures find a difference of the shares `lost` and `won` with the power `aim`; None beyond `MOST`.

    effect: design effect of groups. Starts from R. Connor, Sample size for testing differences in proportions for the
    paired-sample design, Biometrics 43 (1987), and goes on with `power`.
    """
    gap, changes = abs(won - lost), lost + won
    if gap <= 0:
        return None
    normal = NormalDist()
    z = normal.inv_cdf(1 - alpha / 2) * math.sqrt(changes) + normal.inv_cdf(aim) * math.sqrt(max(changes - gap**2, 0.0))
    rough = (z / gap) ** 2
    if rough * effect > MOST:
        return None
    low, high = max(1, int(rough / 2)), int(rough * 2) + 20
    while high - low > max(1, low // 200):
        middle = (low + high) // 2
        low, high = (low, middle) if power(middle, lost, won, alpha=alpha) >= aim else (middle, high)
    return math.ceil(high * effect)


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values corrected for being several: that any false alarm is at most 0.05 has a chance of 5 % at most.

    Source: S. Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6 (1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p, np.float64)
    order = np.argsort(values, kind="stable")
    steps = values[order] * np.arange(len(values), 0, -1)
    found = np.empty(len(values))
    found[order] = np.minimum(np.maximum.accumulate(steps), 1.0) if len(values) else steps
    return [float(value) for value in found]
