"""Parts of a test in which a model does worse than elsewhere, judged with the number of parts that were looked at in mind.

A slice is a set of rows, such as the darkest quarter. Looking at many slices and showing the worst finds one that is bad by
chance alone; p values here are those of the largest deviation among all slices when scores are dealt out anew (max-T), and the
intervals are widened for the number of slices (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64
from beholder.base.records import Score
from beholder.measure.intervals import cluster_numbers
from beholder.measure.means import mean_score

FEWEST = 10
"""A slice of fewer pictures (or groups, where there are some) is not looked at: it could not tell anything."""

PERMUTATIONS = 2000

EVEN = 1e-18
"""Squared length of a contrast below which it is rounding alone."""


@dataclass(frozen=True, eq=False)
class Slice:
    """What a slice showed.

    rows: int64 (M,); score: mean of its rows, with an interval for all slices at once; rest: mean of the other rows
    p: how often the worst of all slices would be as bad as this one by chance, in (0, 1]
    """

    name: str
    rows: I64
    score: Score
    rest: float
    p: float


def quarters(values: npt.ArrayLike) -> dict[str, I64]:
    """Return the rows of the lowest, second, third and highest quarter of `values` (N,) by name, equal values together.

    NaN is in none. Where all values are equal there is no slice, and quarters that ties leave empty are missing.
    """
    column = np.asarray(values, np.float64)
    known = column[~np.isnan(column)]
    if not known.size or known.min() == known.max():
        return {}
    edges = np.quantile(known, [0.25, 0.5, 0.75], method="lower")
    place = np.where(np.isnan(column), -1, np.searchsorted(edges, column, side="left"))
    names = ("lowest quarter", "second quarter", "third quarter", "highest quarter")
    return {name: np.flatnonzero(place == k) for k, name in enumerate(names) if (place == k).any()}


def kinds(values: Sequence[str], *, most: int = 50) -> dict[str, I64]:
    """Return the rows of each distinct word of `values`, the `most` frequent ones; none where there is only one word."""
    words, index, counts = np.unique(np.asarray(values, np.str_), return_inverse=True, return_counts=True)
    if len(words) < 2:
        return {}
    return {str(words[k]): np.flatnonzero(index == k) for k in np.argsort(-counts, kind="stable")[:most].tolist()}


def judged(
    values: npt.ArrayLike,
    slices: Mapping[str, I64],
    *,
    clusters: npt.ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
) -> list[Slice]:
    """Return the slices with at least `FEWEST` units inside and outside, those with the least p first, then the lowest.

    values: float (N,) in [0, 1], what each picture scored; slices: name → rows; clusters: int (N,), pictures of one person
    share a number, -1 stands alone: then whole clusters are dealt out anew.
    Source: P. Westfall, S. Young, Resampling-based multiple testing (1993), single-step max-T; one-sided, for worse ones.
    """
    column = np.asarray(values, np.float64)
    units = cluster_numbers(len(column), clusters)
    kept = {name: rows for name, rows in slices.items() if _enough(rows, units)}
    if not kept:
        return []
    observed, p = _max_t(column, list(kept.values()), units, seed, permutations)
    inner = 1 - (1 - level) / len(kept)
    groups = None if clusters is None else np.asarray(clusters)
    found = []
    for k, (name, rows) in enumerate(kept.items()):
        score = mean_score(column[rows], clusters=None if groups is None else groups[rows], level=inner)
        rest = float(np.delete(column, rows).mean())
        found.append((p[k], -observed[k], Slice(name, rows, score, rest, float(p[k]))))
    return [one for _, _, one in sorted(found, key=lambda row: row[:2])]


def _enough(rows: I64, units: I64) -> bool:
    inside = np.unique(units[rows])
    return len(inside) >= FEWEST and len(np.unique(np.delete(units, rows))) >= FEWEST


def _max_t(column: F64, slices: list[I64], units: I64, seed: int, permutations: int) -> tuple[F64, F64]:
    """Return each slice's deviation (larger = worse) in standard errors, and its adjusted p.

    What is dealt out anew are the sums of scores of the clusters, less their expected sums.
    """
    count = int(units.max()) + 1
    spread = np.bincount(units, weights=column - column.mean(), minlength=count)
    share = np.zeros((len(slices), count))
    for k, rows in enumerate(slices):
        share[k] = np.bincount(units[rows], minlength=count) / np.bincount(units, minlength=count)
    # A cluster counts for a slice by the share of its pictures in it. Centred, a slice's sum is a contrast with the rest.
    contrast = share - share.mean(axis=1, keepdims=True)
    length = (contrast**2).sum(axis=1)
    # A slice with the same share of every cluster contrasts nothing: it deviates by 0, and no other slice suffers from it.
    error = np.where(length > EVEN, np.sqrt(length * max(float(spread.var()), 1e-300)), np.inf)
    observed = -(contrast @ spread) / error
    if spread.var() < 1e-15:
        return np.zeros(len(slices)), np.ones(len(slices))
    rng, least = np.random.default_rng(seed), np.empty(permutations)
    for start in range(0, permutations, 100):
        some = min(100, permutations - start)
        dealt = rng.permuted(np.repeat(spread[None], some, axis=0), axis=1)
        least[start : start + some] = (-(contrast @ dealt.T) / error[:, None]).max(axis=0)
    p = (1 + (least[None] >= observed[:, None] - 1e-9).sum(axis=1)) / (1 + permutations)
    return observed, p
