"""The scores of a detector: average precision, operating points, calibration, confusion with background, kinds of errors."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np

from beholder.base.arrays import F64, I64, Bools, Integer
from beholder.base.boxes import Boxes
from beholder.base.brief import within
from beholder.base.records import Score
from beholder.measure.counts import effective, mean_of_defined
from beholder.measure.detection_calibration import outcomes, reliability
from beholder.measure.detection_errors import ERRORS, Kinds, confusion, error_kinds
from beholder.measure.detection_matching import AREAS, Matches, matched
from beholder.measure.detection_points import Rates, rates
from beholder.measure.detection_precision import average_precision, average_recall, intervals
from beholder.measure.detections import Found
from beholder.measure.intervals import FEWEST_GROUPS, cluster_numbers, interval, resamples

SHOWN = 0.05
"""Calibrated score from which on a box counts for the calibration: a detector gives many boxes that nobody is ever shown."""

REPEATS = 300
"""Resamples behind the intervals of the figures by size and of the recall."""

HEADLINE = ("ap", "ap50", "ap75")
BACKGROUND = "background"
"""What the last row and column of the confusion are called."""


@dataclass(frozen=True)
class OfClass:
    """The scores of one class: average precision, and what its boxes are worth at its threshold; boxes: true ones."""

    ap: Score
    ap50: Score
    rates: Rates
    threshold: float
    boxes: int

    def json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        scores = {"ap": self.ap, "ap50": self.ap50} | {n: getattr(self.rates, n) for n in ("precision", "recall", "f1")}
        return {name: score.json() for name, score in scores.items()} | {
            "threshold": self.threshold if math.isfinite(self.threshold) else None,
            "boxes": self.boxes,
            **{name: getattr(self.rates, name) for name in ("right", "false", "missed")},
        }


@dataclass(frozen=True, eq=False)
class DetectionScores:
    """How good found boxes are on n pictures.

    headline: ap, ap50, ap75, ap_small, ap_medium, ap_large (COCO), ar (recall with 100 boxes a picture and class)
    classes:  name → its scores, NaN throughout where no true box is of it; overall: boxes of all classes at the thresholds
    ece, bins: error of the calibration and its diagram, of boxes with a score of `SHOWN` or more
    confusion: int64 (K + 1, K + 1), rows = truth, columns = told, the last of each is the background
    kinds: of the errors of the boxes that are told; told: bool (M,), of all found boxes those at or above the thresholds
    """

    headline: Mapping[str, Score]
    classes: Mapping[str, OfClass]
    overall: Rates
    ece: float
    bins: Sequence[Mapping[str, Any]]
    confusion: I64
    kinds: Kinds
    told: Bools
    n: int
    boxes: int
    crowds: int

    def __repr__(self) -> str:
        return within("DetectionScores", [f"{name} {score}" for name, score in list(self.headline.items())[:2]])

    @property
    def absent(self) -> list[str]:
        """Return the classes of which there is no true box."""
        return [name for name, of in self.classes.items() if not of.boxes]

    @property
    def wrong(self) -> dict[str, int]:
        """Return kind of error → how many."""
        return {kind: self.kinds.counts[kind] for kind in ERRORS}

    def json(self) -> dict[str, Any]:
        """Return plain JSON values; what is undefined (NaN) is None."""
        kinds = {kind: {"count": count, "gain": _defined(self.kinds.gains[kind])} for kind, count in self.wrong.items()}
        point = {name: getattr(self.overall, name).json() for name in ("precision", "recall", "f1")}
        counts = {name: getattr(self.overall, name) for name in ("right", "false", "missed")}
        return {
            "scores": {name: score.json() for name, score in self.headline.items()},
            "classes": {name: of.json() for name, of in self.classes.items()},
            "point": point | counts,
            "calibration": {"ece": _defined(self.ece), "least": SHOWN, "bins": [dict(row) for row in self.bins]},
            "confusion": {"classes": [*self.classes, BACKGROUND], "counts": self.confusion.tolist()},
            "errors": {"ap50": _defined(self.kinds.ap50), "kinds": kinds},
            "n": self.n,
            "boxes": {"true": self.boxes, "crowds": self.crowds, "told": int(self.told.sum()), "found": len(self.told)},
        }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def scored(
    truth: Boxes,
    found: Found,
    classes: Sequence[str],
    thresholds: Sequence[float],
    *,
    groups: I64 | None = None,
    seed: int = 0,
) -> DetectionScores:
    """Return the scores of boxes found, with calibrated scores, in the N pictures of which `truth` is known.

    thresholds: float (K,), from which score on a box of each class is told; groups: int64 (N,), pictures that vary together
    """
    k = len(classes)
    matches = matched(truth, found, k)
    ap = intervals(matches, groups=groups, seed=seed)
    overall, each = rates(matches, thresholds, groups=groups)
    scores, right = outcomes(matches)
    shown = scores >= SHOWN
    ece, bins = reliability(scores[shown], right[shown])
    told = found.above(thresholds)
    counts = truth.counts(k).tolist()
    rows = zip(ap.classes, each, thresholds, counts, strict=True)
    return DetectionScores(
        headline={name: ap.headline[name] for name in HEADLINE} | _beyond(matches, groups, seed),
        classes={
            name: OfClass(of["ap"], of["ap50"], point, float(least), boxes)
            for name, (of, point, least, boxes) in zip(classes, rows, strict=True)
        },
        overall=overall,
        ece=ece,
        bins=bins,
        confusion=confusion(truth, told, k),
        kinds=error_kinds(truth, told, k),
        told=found.scores >= np.asarray(thresholds, np.float64)[found.classes],
        n=len(truth),
        boxes=sum(counts),
        crowds=int(truth.crowd.sum()),
    )


def _beyond(matches: Matches, groups: I64 | None, seed: int) -> dict[str, Score]:
    """Return average precision by the size of the object, and the average recall, with intervals by the bootstrap."""
    figures: dict[str, tuple[Callable[..., F64], str]] = {
        f"ap_{size}": (partial(average_precision, size=size), size) for size in tuple(AREAS)[1:]
    }
    figures["ar"] = (average_recall, "all")
    units = cluster_numbers(matches.n, groups)
    draws: dict[str, list[F64]] = {name: [] for name in figures}
    drawn = resamples(matches.n, clusters=groups, seed=seed, repeats=REPEATS)
    while weights := list(islice(drawn, 50)):  # some at a time to bound memory
        for name, (measure, _) in figures.items():
            draws[name].append(_mean(measure(matches, np.array(weights))))
    return {
        name: _score(matches, float(_mean(measure(matches))), np.concatenate(draws[name]), units, size, groups is not None)
        for name, (measure, size) in figures.items()
    }


def _mean(values: F64) -> F64:
    """Return the mean over classes and overlaps, (..., K, T) → (...)."""
    return mean_of_defined(values.mean(axis=-1))


def _score(matches: Matches, value: float, draws: F64, units: I64, size: str, grouped: bool) -> Score:
    """Return a figure with its interval; n: pictures with an object of that size."""
    of = matches.of[matches.counted[:, matches.size(size)]]
    n = matches.n if size == "all" else len(np.unique(of[:, 0]))
    draws = draws[~np.isnan(draws)]
    if math.isnan(value) or not len(draws) or (grouped and len(np.unique(units[of[:, 0]])) < min(FEWEST_GROUPS, n)):
        return Score(value, math.nan, math.nan, n)
    each: Integer = np.unique(np.stack([units[of[:, 0]], of[:, 1]], axis=1), axis=0)[:, 1]
    support = np.bincount(each, minlength=matches.classes).astype(np.float64)
    return interval(value, draws, n, units=effective(support))
