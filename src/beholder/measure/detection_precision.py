"""Average precision of found boxes as COCO defines it, with intervals, and how far two models lie apart in it.

Source: T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV (2014); the figures are those of pycocotools.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Integer
from beholder.base.records import Score
from beholder.measure.comparison import apart
from beholder.measure.counts import effective, mean_of_defined
from beholder.measure.detection_matching import IGNORED, RIGHT, Matches
from beholder.measure.intervals import FEWEST_GROUPS, REPEATS, cluster_numbers, interval, resamples

RECALLS = np.linspace(0.0, 1.0, 101)
"""Recalls at which precision is read off."""

CELLS = 1_000_000
"""Numbers that one step over several resamples holds at a time."""


@dataclass(frozen=True, eq=False)
class Precisions:
    """Average precision with intervals.

    headline: ap (mean over the overlaps and classes), ap50, ap75 → score, n: all pictures
    classes:  the same for each of K classes, n: pictures with a true box of it; NaN throughout where there is none
    """

    headline: Mapping[str, Score]
    classes: tuple[Mapping[str, Score], ...]


@dataclass(frozen=True, eq=False)
class _Curve:
    """Where on the curves of precision and recall, one an overlap and class, something happens.

    row, segment: int64 (H,), of each right box its row in `Matches` and its curve, overlap · K + class, in ascending order
    ignored: int64 (I,), the rows of ignored boxes, in the order of the curves
    passed, before: int64 (H,), ignored boxes up to a right one, and up to the begin of its curve
    """

    row: I64
    segment: I64
    ignored: I64
    passed: I64
    before: I64


def average_precision(matches: Matches, weights: Integer | None = None, *, size: str = "all") -> F64:
    """Return the average precision float64 (..., K, T) of each class at each overlap, in 0..1; NaN for classes without boxes.

    weights: int (..., N), how often each picture counts, None: once. size: of `AREAS`, of which objects.
    It is the mean over 101 recalls from 0 to 1 of the highest precision at such a recall or more.
    """
    w, shape = _weights(matches, weights)
    curve, real = _curve(matches, size), _real(matches, w, size)
    found = np.empty((len(w), matches.classes, len(matches.overlaps)))
    step = max(1, CELLS // max(len(curve.row), len(curve.ignored), len(matches.rows), 1))
    for low in range(0, len(w), step):
        part = slice(low, low + step)
        found[part] = _areas_under(matches, curve, w[part], real[part])
    return np.where(real[:, :, None] > 0, found, np.nan).reshape(*shape, *found.shape[1:])


def average_recall(matches: Matches, weights: Integer | None = None, *, size: str = "all", most: int | None = None) -> F64:
    """Return the share of true boxes found, float64 (..., K, T), of each class at each overlap; NaN of classes without boxes.

    most: found boxes of a picture and class that count, None: all that were matched; the rest as for `average_precision`.
    """
    w, shape = _weights(matches, weights)
    real, curve = _real(matches, w, size), _curve(matches, size)
    hits = w[:, matches.pictures[curve.row]]
    if most is not None:
        hits = hits * (matches.ranks[curve.row] < most)
    sums = _sums(hits, curve.segment, len(matches.overlaps) * matches.classes)
    found = sums.reshape(len(w), len(matches.overlaps), matches.classes).swapaxes(1, 2)
    shares: F64 = np.divide(found, real[:, :, None], out=np.full(found.shape, np.nan), where=real[:, :, None] > 0)
    return shares.reshape(*shape, *found.shape[1:])


def summary(matches: Matches) -> dict[str, float]:
    """Return the twelve figures of COCO, each the mean over the classes that are there, NaN where there is none.

    ap, ap50, ap75, ap_small, ap_medium, ap_large; ar1, ar10 and ar100 (recall with so many boxes a picture and class;
    the last is named for `matches.most`), ar_small, ar_medium, ar_large. `matches` is of all overlaps and sizes.
    """
    ap = average_precision(matches)
    found = {"ap": _mean(ap), "ap50": _mean(ap[:, [matches.at(0.5)]]), "ap75": _mean(ap[:, [matches.at(0.75)]])}
    sizes = matches.sizes[1:]
    found |= {f"ap_{size}": _mean(average_precision(matches, size=size)) for size in sizes}
    found |= {f"ar{most}": _mean(average_recall(matches, most=most)) for most in (1, 10, matches.most)}
    return found | {f"ar_{size}": _mean(average_recall(matches, size=size)) for size in sizes}


def intervals(
    matches: Matches, *, groups: npt.ArrayLike | None = None, seed: int = 0, repeats: int = REPEATS, level: float = 0.95
) -> Precisions:
    """Return average precision, over all and for each class, with intervals from a bootstrap over pictures.

    groups: int (N,), pictures that share a number are drawn together, -1 = none. `matches` is of the overlaps 0.5 and 0.75.
    An interval is Wilson's at the number of pictures at which a share has the variance of the redrawn figures, moved by the
    bias that they show; of fewer than `FEWEST_GROUPS` groups there is none (NaN). In simulation with 40 pictures, 88 % of the
    intervals of a poor detector hold the true value (76 % unmoved), of a fair one 92 %, of a good one 96 %.
    """
    draws = redrawn(matches, groups=groups, seed=seed, repeats=repeats)
    return _scored(matches, _figures(matches, average_precision(matches)), draws, groups, level)


def differences(
    first: Matches,
    second: Matches,
    *,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    repeats: int = REPEATS,
    level: float = 0.95,
) -> Precisions:
    """Return how much higher the average precision of the second model is, on the same pictures; arguments as for `intervals`.

    Both are redrawn together. The interval is made of theirs by squaring and adding, with their correlation (`apart`).
    """
    draws = [redrawn(of, groups=groups, seed=seed, repeats=repeats) for of in (first, second)]
    a, b = (
        _scored(of, _figures(of, average_precision(of)), drawn, groups, level)
        for of, drawn in zip((first, second), draws, strict=True)
    )
    means = [mean_of_defined(drawn.swapaxes(1, 2)) for drawn in draws]

    def gaps(one: Mapping[str, Score], other: Mapping[str, Score], x: F64, y: F64) -> dict[str, Score]:
        return {name: apart(one[name], other[name], _correlation(x[:, i], y[:, i])) for i, name in enumerate(one)}

    rows = (gaps(a.classes[c], b.classes[c], draws[0][:, c], draws[1][:, c]) for c in range(first.classes))
    return Precisions(gaps(a.headline, b.headline, *means), tuple(rows))


def redrawn(matches: Matches, *, groups: npt.ArrayLike | None = None, seed: int = 0, repeats: int = REPEATS) -> F64:
    """Return (ap, ap50, ap75) of each class in resamples of the pictures: float64 (R, K, 3); arguments as for `intervals`."""
    drawn = resamples(matches.n, clusters=groups, seed=seed, repeats=repeats)
    parts = [np.zeros((0, matches.classes, 3))]
    while weights := list(islice(drawn, 50)):  # some at a time to bound memory
        parts.append(_figures(matches, average_precision(matches, np.array(weights))))
    return np.concatenate(parts)


def _figures(matches: Matches, ap: F64) -> F64:
    """Return float64 (..., K, 3): ap, ap50, ap75 of average precisions (..., K, T)."""
    return np.stack([ap.mean(axis=-1), ap[..., matches.at(0.5)], ap[..., matches.at(0.75)]], axis=-1)


def _scored(matches: Matches, values: F64, draws: F64, groups: npt.ArrayLike | None, level: float) -> Precisions:
    """Return figures (K, 3) with intervals from those of resamples (R, K, 3)."""
    names = ("ap", "ap50", "ap75")
    units = cluster_numbers(matches.n, groups)
    pictures = _holding(matches, np.arange(matches.n))
    support = pictures if groups is None else _holding(matches, units)
    fewest = FEWEST_GROUPS if groups is not None else 0

    def score(value: float, drawn: F64, n: int, size: float, count: int) -> Score:
        found = _moved(value, drawn, n, units=size, level=level)
        return found if count >= min(fewest, n) else Score(found.value, math.nan, math.nan, n)

    rows = tuple(
        {
            name: score(float(values[c, i]), draws[:, c, i], int(pictures[c]), float(support[c]), int(support[c]))
            for i, name in enumerate(names)
        }
        for c in range(matches.classes)
    )
    means, drawn = mean_of_defined(values.T), mean_of_defined(draws.swapaxes(1, 2))
    size, count = effective(support.astype(np.float64)), int(units.max(initial=-1)) + 1
    headline = {name: score(float(means[i]), drawn[:, i], matches.n, size, count) for i, name in enumerate(names)}
    return Precisions(headline, rows)


def _moved(value: float, draws: F64, n: int, *, units: float, level: float) -> Score:
    """Return `value` with the interval of `draws`, moved by how far they lie above or below it on average.

    The highest precision at a recall or more is too high by chance: the more so, the fewer pictures and the poorer the scores.
    Source: B. Efron, R. Tibshirani, An Introduction to the Bootstrap (1993), chapter 10.
    """
    defined = draws[~np.isnan(draws)]
    if math.isnan(value) or not len(defined):
        return Score(value, math.nan, math.nan, n)
    centre = min(max(2 * value - float(defined.mean()), 0.0), 1.0)
    found = interval(centre, defined, n, units=units, level=level)
    return Score(value, min(value, found.low), max(value, found.high), n)


def _holding(matches: Matches, units: I64) -> I64:
    """Return in how many of the units (N,) of pictures each class has a true box: int64 (K,)."""
    of = matches.of[matches.counted[:, 0]]
    each = np.unique(np.stack([units[of[:, 0]], of[:, 1]], axis=1), axis=0)
    return np.bincount(each[:, 1], minlength=matches.classes).astype(np.int64)


def _correlation(x: F64, y: F64) -> float:
    defined = ~np.isnan(x + y)
    x, y = x[defined], y[defined]
    if len(x) < 2 or min(x.std(), y.std()) < 1e-12:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _weights(matches: Matches, weights: Integer | None) -> tuple[F64, tuple[int, ...]]:
    """Return the weights as float64 (R, N), and what their shape was before the last axis."""
    given = np.ones(matches.n) if weights is None else np.asarray(weights, np.float64)
    return given.reshape(-1, matches.n) if matches.n else np.ones((1, 0)), given.shape[:-1]


def _real(matches: Matches, weights: F64, size: str) -> F64:
    """Return how many true boxes count, float64 (R, K)."""
    of = matches.of[matches.counted[:, matches.size(size)]]
    order = np.argsort(of[:, 1], kind="stable")
    return _sums(weights[:, of[order, 0]], of[order, 1], matches.classes)


def _curve(matches: Matches, size: str) -> _Curve:
    states = matches.states[:, :, matches.size(size)].T
    count, k = len(matches.rows), matches.classes
    where = {state: np.nonzero(states == state) for state in (RIGHT, IGNORED)}
    (at, row), (over, skipped) = where[RIGHT], where[IGNORED]
    keys = over * count + skipped
    begins = _begins(matches)[matches.labels[row]]
    passed, before = np.searchsorted(keys, at * count + row), np.searchsorted(keys, at * count + begins)
    return _Curve(row, at * k + matches.labels[row], skipped, passed, before)


def _begins(matches: Matches) -> I64:
    """Return the row at which the found boxes of each class begin, int64 (K,)."""
    return np.searchsorted(matches.labels, np.arange(matches.classes)).astype(np.int64)


def _areas_under(matches: Matches, curve: _Curve, weights: F64, real: F64) -> F64:
    """Return average precision float64 (R, K, T), 0 where nothing is right, for weights (R, N) and true boxes (R, K).

    Recall rises at right boxes alone, and there precision is higher than at what follows up to the next one: only they matter.
    """
    t, k = len(matches.overlaps), matches.classes
    if not len(curve.row):
        return np.zeros((len(weights), k, t))
    opens = np.append(True, np.diff(curve.segment) != 0)
    start = np.flatnonzero(opens)[np.cumsum(opens) - 1]
    drawn = _running(weights[:, matches.pictures])
    begins = _begins(matches)[matches.labels[curve.row]]
    taken = drawn[:, curve.row + 1] - drawn[:, begins]
    if len(curve.ignored):
        skipped = _running(weights[:, matches.pictures[curve.ignored]])
        taken -= skipped[:, curve.passed] - skipped[:, curve.before]
    sums = _running(weights[:, matches.pictures[curve.row]])
    hits = sums[:, 1:] - sums[:, start]
    # Precision is at most 1, so curves that are lifted above those that follow do not take over their maxima.
    lift = 2.0 * (t * k - curve.segment)
    lifted = hits / (taken + np.spacing(1)) + lift
    highest = np.maximum.accumulate(lifted[:, ::-1], axis=1)[:, ::-1] - lift
    reached = np.searchsorted(RECALLS, hits / np.maximum(real, 1)[:, curve.segment % k], side="right")
    gained = np.diff(reached, axis=1, prepend=0)
    gained[:, opens] = reached[:, opens]
    areas = _sums(highest * gained, curve.segment, t * k) / len(RECALLS)
    return areas.reshape(len(weights), t, k).swapaxes(1, 2)


def _running(values: F64) -> F64:
    """Return the sums of the first 0, 1, … n values: float64 (R, n + 1) of (R, n)."""
    sums = np.zeros((len(values), values.shape[1] + 1))
    np.cumsum(values, axis=1, out=sums[:, 1:])
    return sums


def _sums(values: F64, segments: I64, count: int) -> F64:
    """Return the sums of values (R, n) over each of `count` segments, whose numbers (n,) ascend: float64 (R, count)."""
    found = np.zeros((len(values), count))
    if len(segments):
        starts = np.flatnonzero(np.append(True, np.diff(segments) != 0))
        found[:, segments[starts]] = np.add.reduceat(values, starts, axis=1)
    return found


def _mean(values: F64) -> float:
    return float(mean_of_defined(np.asarray(values.ravel())))
