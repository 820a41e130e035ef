"""Scores of grades: classes in an order, where to be one class off is less wrong than to be three off.

Source: J. Cohen, Weighted kappa, Psychological Bulletin 70 (1968), with weights that grow as the square of the distance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64
from beholder.base.records import Score
from beholder.measure.families import median
from beholder.measure.intervals import FEWEST_GROUPS, cluster_numbers, interval, resamples
from beholder.measure.scores import Scores, single

KAPPA, ERROR = "quadratic_kappa", "mean_absolute_error"


def ordinal(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    classes: Sequence[str],
    *,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """Score answers where each picture has one of several ordered classes; arguments and errors as for `single`.

    The answer is the median of the probabilities. Headline: quadratic_kappa (agreement beyond chance, 1 = perfect, 0 = chance,
    NaN where all pictures are of one class and are told so), mean_absolute_error in classes, then the scores of `single`.
    Both intervals are of bootstraps over pictures, or groups: Wilson's at the number of pictures at which a share has the
    variance of the resamples, as a share of their range; with less than `FEWEST_GROUPS` groups there is none.
    """
    p, y = np.asarray(probabilities, np.float64), np.asarray(targets)
    plain = single(p, y, classes, groups=groups, answers=median(p) if p.ndim == 2 else None)
    n, k = p.shape
    weights = np.array(list(resamples(n, clusters=groups, seed=seed))) if n else np.zeros((0, 0), np.int64)
    units = int(cluster_numbers(n, groups).max(initial=-1)) + 1
    ranges = {KAPPA: (-1.0, 1.0), ERROR: (0.0, float(k - 1))}
    found = {}
    for name, of in statistics(y.astype(np.int64), median(p), k).items():
        value = float(of(np.ones((1, n), np.int64))[0]) if n else math.nan
        found[name] = _scored(value, of(weights), n, units=units, span=ranges[name])
    headline = {name: score for name, score in plain.headline.items() if name != "top5"}
    return replace(plain, headline={**found, **headline}, ranges=ranges)


def statistics(targets: I64, answers: I64, k: int) -> dict[str, Callable[[Sequence[I64] | I64], F64]]:
    """Return kappa and mean absolute error as functions of resamples int64 (R, N), to float64 (R,)."""
    return {
        KAPPA: lambda drawn: kappa(_confusions(targets, answers, k, np.asarray(drawn))),
        ERROR: lambda drawn: _error(_confusions(targets, answers, k, np.asarray(drawn))),
    }


def kappa(confusion: npt.ArrayLike) -> F64:
    """Return the quadratic weighted kappa float64 (...) of counts (..., K, K); NaN where chance would never be wrong."""
    table = np.asarray(confusion, np.float64)
    distance = _distances(table.shape[-1]) ** 2
    n = table.sum(axis=(-2, -1))
    chance = np.einsum("...i,...j,ij->...", table.sum(axis=-1), table.sum(axis=-2), distance)
    seen = (table * distance).sum(axis=(-2, -1)) * n
    return np.asarray(1 - np.divide(seen, chance, out=np.full_like(seen, np.nan), where=chance > 0))


def _error(table: F64) -> F64:
    return np.asarray((table * _distances(table.shape[-1])).sum(axis=(-2, -1)) / table.sum(axis=(-2, -1)))


def _distances(k: int) -> F64:
    return np.abs(np.subtract.outer(np.arange(k), np.arange(k))).astype(np.float64)


def _confusions(targets: I64, answers: I64, k: int, weights: I64) -> F64:
    """Return counts float64 (R, K, K) under weights int64 (R, N); rows of a table are the truth."""
    cell = targets * k + answers
    rows = [np.bincount(cell, drawn, k * k) for drawn in weights]
    return np.asarray(np.reshape(rows, (-1, k, k)), np.float64)


def _scored(value: float, draws: F64, n: int, *, units: int, span: tuple[float, float]) -> Score:
    if math.isnan(value) or units < min(FEWEST_GROUPS, n):
        return Score(value, math.nan, math.nan, n)
    low, wide = span[0], span[1] - span[0]
    found = interval((value - low) / wide, (draws - low) / wide, n, units=float(units))
    return Score(value, low + wide * found.low, low + wide * found.high, n)
