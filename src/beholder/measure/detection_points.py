"""From which score on a found box is taken for an object: thresholds chosen on validation, and what they are worth on test."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools
from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.measure.detection_matching import IGNORED, RIGHT, Matches
from beholder.measure.intervals import cluster_numbers, share_of
from beholder.measure.macro import f1_score

OVERLAP = 0.5
"""Intersection over union from which on a box is right at an operating point."""


@dataclass(frozen=True)
class Point:
    """The operating point of a class: a box counts where its score reaches the threshold.

    goal:      f1 | precision@P | recall@R, what it was chosen for
    threshold: halfway between the last score that counts and the next; None where no score meets the goal
    precision, recall, f1: on the pictures it was chosen on, which flatters them; NaN without a threshold
    n:         true boxes the choice rests on; reason: why there is no threshold, a sentence
    """

    goal: str
    threshold: float | None
    precision: float
    recall: float
    f1: float
    n: int
    reason: str = ""

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; what is undefined (NaN) is None."""
        return {name: (None if value != value else value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Rates:
    """What found boxes are worth at a threshold.

    precision: the share of found boxes that are right; recall: of true boxes that are found; f1: the harmonic mean of the two;
               n: pictures with such boxes. Boxes of one picture, or group, vary together in the intervals.
    right, false, missed: boxes
    """

    precision: Score
    recall: Score
    f1: Score
    right: int
    false: int
    missed: int


def operating_points(matches: Matches, goal: str = "f1", *, overlap: float = OVERLAP) -> tuple[Point, ...]:
    """Return the operating point of each of K classes.

    goal: f1: the highest F1; precision@P: the lowest threshold with a precision of P or more; recall@R: the highest threshold
    with a recall of R or more. Nothing is promised for other pictures. Raises `UsageError` for another goal.
    """
    kind, target = _goal(goal)
    states = matches.states[:, matches.at(overlap), 0]
    of = matches.of[matches.counted[:, 0], 1]
    points = []
    for c in range(matches.classes):
        rows = np.flatnonzero((matches.labels == c) & (states != IGNORED))
        point = _point(matches.scores[rows], states[rows] == RIGHT, int((of == c).sum()), kind, target)
        points.append(replace(point, goal=goal))
    return tuple(points)


def _goal(goal: str) -> tuple[str, float]:
    kind, _, text = goal.partition("@")
    try:
        target = float(text) if text else math.nan
    except ValueError:
        target = -1.0
    if not (goal == "f1" or (kind in ("precision", "recall") and 0 < target <= 1)):
        hint = "f1, precision@0.95 or recall@0.9, for example"
        raise UsageError(f"boxes have no operating point '{goal}'", code="bad-value", hint=hint)
    return kind, target


def _point(scores: F64, right: Bools, n: int, kind: str, target: float) -> Point:
    """Return the operating point of a class of n true boxes; scores, right: (D,), from the surest on."""
    none = Point(kind, None, math.nan, math.nan, math.nan, n)
    if not n or not len(scores):
        return replace(none, reason="no box was found" if n else "there is no true box")
    ends = np.flatnonzero(np.append(np.diff(scores) != 0, True))
    hits, taken = np.cumsum(right)[ends], ends + 1
    precision, recall, f1 = hits / taken, hits / n, 2 * hits / (taken + n)
    value = {"f1": f1, "precision": precision, "recall": recall}[kind]
    good = np.flatnonzero(value >= (value.max() if kind == "f1" else target))
    if not len(good) or not hits.any():
        return replace(none, reason=f"no threshold gives a {kind} of {target:g}" if hits.any() else "no found box is right")
    at = int(good[-1] if kind == "precision" else good[0])
    last, after = float(scores[ends[at]]), float(scores[ends[at] + 1]) if at + 1 < len(ends) else math.nan
    middle = (last + after) / 2
    threshold = middle if middle > after else last
    return Point(kind, threshold, float(precision[at]), float(recall[at]), float(f1[at]), n)


def rates(
    matches: Matches, thresholds: npt.ArrayLike, *, groups: npt.ArrayLike | None = None, overlap: float = OVERLAP
) -> tuple[Rates, tuple[Rates, ...]]:
    """Return what found boxes are worth at thresholds, float (K,), inf: none counts: of all classes together, and of each.

    groups: int (N,), pictures that share a number vary together, -1 = none. No interval (NaN) of fewer than `FEWEST_GROUPS`.
    """
    column = matches.at(overlap)
    least = np.asarray(thresholds, np.float64)
    states = matches.states[:, column, 0]
    kept = (matches.scores >= least[matches.labels]) & (states != IGNORED)
    right = kept & (states == RIGHT)
    missed = matches.counted[:, 0].copy()
    missed[matches.partners[right, column]] = False
    # One row for each found box, then one for each box missed.
    what = np.concatenate([np.where(right[kept], 0, 1), np.full(int(missed.sum()), 2)]).astype(np.int64)
    label = np.concatenate([matches.labels[kept], matches.of[missed, 1]])
    picture = np.concatenate([matches.pictures[kept], matches.of[missed, 0]])
    units = cluster_numbers(matches.n, groups)
    each = tuple(_rates(what[label == c], picture[label == c], units) for c in range(matches.classes))
    return _rates(what, picture, units), each


def _rates(what: I64, picture: I64, units: I64) -> Rates:
    """Return the rates of boxes: what: int64 (B,), 0 right, 1 false, 2 missed; picture: int64 (B,); units: int64 (N,)."""

    def share(rows: Bools) -> Score:
        found = share_of(what[rows] == 0, units[picture[rows]])
        return replace(found.score(), n=len(np.unique(picture[rows])))

    every = share_of(what == 0, units[picture])
    right, false, missed = np.bincount(what, minlength=3).tolist()
    f1 = f1_score(every, len(np.unique(picture)) if right + missed else 0)
    return Rates(share(what < 2), share(what != 1), f1, right, false, missed)
