"""Intervals of F1, and of means of shares over classes, that hold where a class is always or never recognised.

A share that is seen to be 0 or 1 has no spread, yet the true one may be another. So each class brings the limits of its own
share, and a mean takes the wider of two intervals: distances to those limits, added as variances are (MOVER), and that of a
share as large as the mean with the variance of the classes, to which a picture was added.
Sources: G. Zou, A. Donner, Statistics in Medicine 27 (2008), MOVER with correlations; A. Agresti, B. Coull, American
Statistician 52 (1998); R. Price, D. Bonett, Computational Statistics & Data Analysis 45 (2004), fewer pseudo-observations
a class the more classes there are. Coverage in simulation: docs/HONESTY.md.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F64, I64
from beholder.base.records import Score
from beholder.measure.intervals import FEWEST_GROUPS, Share, multiplier


@dataclass(frozen=True)
class Measure:
    """What a share of a class is turned into before the mean is taken, with its slope; both must rise."""

    of: Callable[[F64], F64]
    slope: Callable[[F64], F64]


RECALL = Measure(lambda share: share, np.ones_like)
F1 = Measure(lambda share: 2 * share / (1 + share), lambda share: 2 / (1 + share) ** 2)
"""Of the share of hits among the pictures that are of a class or were called so (the Jaccard index): it is a share of
pictures, and F1 follows from it."""


def f1_score(share: Share, n: int, *, level: float = 0.95) -> Score:
    """Return an F1 with its interval, from the share of hits among all that was concerned; n: pictures behind it, 0: NaN."""
    if not n or not share.n:
        return Score(math.nan, math.nan, math.nan, n)
    found = share.score(level=level)
    value, low, high = F1.of(np.array([found.value, found.low, found.high])).tolist()
    return Score(value, low, high, n)


def mean_over(
    shares: Sequence[Share],
    measure: Measure,
    n: int,
    *,
    correlation: F64 | None = None,
    groups: int | None = None,
    level: float = 0.95,
) -> Score:
    """Return the mean over classes of what `measure` makes of their shares, with its interval.

    shares: of the classes that are there; correlation: float64 (K, K) of their figures, None: they are independent
    n, groups: pictures behind it all, and groups of them, None: pictures stand alone. No interval (NaN) of fewer than
    `FEWEST_GROUPS` groups.
    """
    if not shares:
        return Score(math.nan, math.nan, math.nan, n)
    p, size = (np.array([getattr(share, name) for share in shares]) for name in ("value", "size"))
    value = float(measure.of(p).mean())
    if groups is not None and groups < FEWEST_GROUPS:
        return Score(value, math.nan, math.nan, n)
    together = np.eye(len(p)) if correlation is None else correlation
    weight = 1 / size
    classes = weight.sum() ** 2 / np.square(weight).sum()  # that count: a class of few pictures alone decides the interval
    z = multiplier(level, _degrees(shares, weight))
    low, high = _limits(p, size, z, z**2 / math.sqrt(classes))
    below, above = (
        _sum(apart, together) / len(p) for apart in (measure.of(p) - measure.of(low), measure.of(high) - measure.of(p))
    )
    more = 1 / classes
    nearer = (p * size + more / 2) / (size + more)
    error = measure.slope(nearer) * np.sqrt(nearer * (1 - nearer) / (size + more))
    variance = (_sum(error, together) / len(p)) ** 2
    effective = value * (1 - value) / variance if 0 < value < 1 else len(p) ** 2 / weight.sum()
    least, most = _limits(np.array([value]), np.array([effective]), z, z**2)
    return Score(value, max(0.0, min(value - below, float(least[0]))), min(1.0, max(value + above, float(most[0]))), n)


def _sum(apart: F64, together: F64) -> float:
    """Return the error of a sum from those of its parts; classes that seem to make up for each other do so by half at most."""
    alone = float(np.square(apart).sum())
    return math.sqrt(max(float(apart @ together @ apart), alone / 2))


def _degrees(shares: Sequence[Share], weight: F64) -> float:
    """Return the degrees of freedom behind the mean: of pictures all of them, of groups by Satterthwaite's formula."""
    degrees = np.array([max(share.degrees, 1.0) for share in shares])
    if not any(share.grouped for share in shares):
        return float(degrees.sum())
    return float(weight.sum() ** 2 / (np.square(weight) / degrees).sum())


def _limits(p: F64, size: F64, z: float, more: float) -> tuple[F64, F64]:
    """Return the limits of shares p of `size` pictures to which `more` were added, half of them hits (Agresti and Coull)."""
    centre = (p * size + more / 2) / (size + more)
    half = z * np.sqrt(centre * (1 - centre) / (size + more))
    return np.minimum(p, np.maximum(centre - half, 0)), np.maximum(p, np.minimum(centre + half, 1))


def joined_by_mistakes(confusion: I64) -> F64:
    """Return how the F1 of classes vary together, float64 (K, K): a picture taken for another class harms both.

    confusion: int64 (K, K), rows = truth; half a picture a row is added, so that no class is without variance.
    """
    k = len(confusion)
    table = confusion + 0.5 / k
    hits, truth, guessed = np.diagonal(table), table.sum(1), table.sum(0)
    f1 = 2 * hits / (truth + guessed)
    lost = f1 / (truth + guessed)  # what a mistake takes from the F1 of a class
    variance = hits * ((2 - 2 * f1) / (truth + guessed)) ** 2 + (truth + guessed - 2 * hits) * lost**2
    covariance = (table + table.T) * lost[:, None] * lost[None, :]
    np.fill_diagonal(covariance, variance)
    return np.asarray(covariance / np.sqrt(variance[:, None] * variance[None, :]), np.float64)


def joined_by_errors(errors: F64) -> F64:
    """Return how figures vary together, float64 (K, K), from what each picture or group adds to their errors, float64 (G, K).

    A figure to which none adds anything varies with no other.
    """
    spread = np.sqrt(np.square(errors).sum(axis=0))
    still = spread < 1e-12 * max(float(spread.max(initial=0.0)), 1e-300)
    scaled = np.where(still, 0.0, errors / np.where(still, 1.0, spread))
    found = scaled.T @ scaled
    np.fill_diagonal(found, 1.0)
    return np.asarray(found, np.float64)
