"""Which found box is right: matching of found and true boxes as COCO does it, once for all figures and resamples.

Source: T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV (2014); the rules in detail are those of pycocotools.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I8, I64, Bools
from beholder.base.boxes import Boxes
from beholder.base.brief import within
from beholder.base.errors import UsageError
from beholder.measure.detection_overlap import Pairs, areas, pairs
from beholder.measure.detections import Found

OVERLAPS = tuple(np.linspace(0.5, 0.95, 10).tolist())
"""Intersections over union from which on a box is right, of COCO's AP."""

AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, 1e10)}
"""Sizes of objects by COCO: least and largest area of a box in square pixels, both included."""

MOST = 100
"""Found boxes of a picture and class that count, the surest, by COCO's rule."""

RIGHT, FALSE, IGNORED = 1, 0, -1


@dataclass(frozen=True, eq=False)
class Matches:
    """Which found box is right, of D found and G true boxes in `n` pictures with `classes` classes.

    Found boxes stand class by class, from the surest on; equals by picture.
    rows:       int64 (D,) in `Found`; at most `most` of each picture and class
    pictures, labels, ranks: int64 (D,): its picture, its class, and its place among those of that picture and class
    scores:     float64 (D,)
    states:     int8 (D, T, A): `RIGHT`, `FALSE` or `IGNORED` (in a crowd, or of another size) at each overlap and for each size
    partners:   int64 (D, T), the true box (row in `Boxes`) it was matched with where sizes are all one, crowds too; -1: none
    of:         int64 (G, 2), picture and class of each true box; counted: bool (G, A): no crowd, and of that size
    overlaps:   float64 (T,); sizes: the A names of `AREAS`
    """

    n: int
    classes: int
    most: int
    rows: I64
    pictures: I64
    labels: I64
    ranks: I64
    scores: F64
    states: I8
    partners: I64
    of: I64
    counted: Bools
    overlaps: F64
    sizes: tuple[str, ...]

    def __repr__(self) -> str:
        return within("Matches", [f"{len(self.rows):,} found", f"{len(self.of):,} true", f"{self.n:,} pictures"])

    def at(self, overlap: float) -> int:
        """Return the place of an overlap among those that were looked at. Raises `UsageError` where it is none of them."""
        place = np.flatnonzero(np.isclose(self.overlaps, overlap))
        if not len(place):
            known = ", ".join(f"{value:g}" for value in self.overlaps)
            raise UsageError(f"boxes were not matched at an overlap of {overlap:g}", code="bad-value", hint=f"one of {known}")
        return int(place[0])

    def size(self, name: str) -> int:
        """Return the place of a size. Raises `UsageError` where it is none of those looked at."""
        if name not in self.sizes:
            raise UsageError(f"boxes were not matched for the size '{name}'", code="bad-value", hint=", ".join(self.sizes))
        return self.sizes.index(name)


def matched(
    truth: Boxes,
    found: Found,
    classes: int,
    *,
    overlaps: npt.ArrayLike = OVERLAPS,
    sizes: tuple[str, ...] = tuple(AREAS),
    most: int = MOST,
) -> Matches:
    """Return which of the found boxes are right.

    In each picture and class the surest found box takes the true box that it overlaps most, if by at least so much, and so on;
    a true box is taken once. Found boxes that only a crowd is left for are ignored, and so are those of another size.
    overlaps: float (T,) in 0..1; sizes: names of `AREAS`, "all" first.
    Raises `UsageError` where the two are not of the same pictures, a class is not among `classes`, or a score is not a number.
    """
    _fitting(truth, found, classes)
    least = np.asarray(overlaps, np.float64)
    rows, ranks = _surest(found, most)
    near = pairs(truth, found, least=min(float(least.min()), 1 - 1e-10), rows=_marked(rows, len(found.classes)))
    limits = np.array([AREAS[size] for size in sizes])
    own, true = areas(found.corners)[rows, None], areas(truth.corners)[:, None]
    outside = (own < limits[:, 0]) | (own > limits[:, 1])
    ignored = (true < limits[:, 0]) | (true > limits[:, 1]) | truth.crowd[:, None]
    states = np.repeat(np.where(outside, IGNORED, FALSE).astype(np.int8)[:, None], len(least), axis=1)
    partners = np.full((len(rows), len(least)), -1, np.int64)
    place = np.empty(len(found.classes), np.int64)
    place[rows] = np.arange(len(rows))
    _match(Pairs(place[near.found], near.truth, near.overlap), states, partners, truth.crowd, ignored, least, ranks == 0)
    order = np.lexsort((-found.scores[rows], found.classes[rows]))
    rows = rows[order]
    of = np.stack([truth.pictures, truth.classes], axis=1)
    columns = (found.pictures[rows], found.classes[rows], ranks[order], found.scores[rows], states[order], partners[order])
    return Matches(len(found), classes, most, rows, *columns, of, ~ignored, least, tuple(sizes))


def _match(near: Pairs, states: I8, partners: I64, crowd: Bools, ignored: Bools, least: F64, first: Bools) -> None:
    """Fill in states (D, T, A) and partners (D, T); near.found: places 0..D-1; first: bool (D,), a new picture or class.

    The first boxes of all pictures and classes are matched at once, then all the second ones, and so on.
    """
    if not len(near.found):
        return
    order = np.lexsort((near.truth, near.overlap, near.found))
    box, true, overlap = (column[order] for column in near)
    starts = np.flatnonzero(np.append(True, np.diff(box) != 0))
    # Of the pairs of a box the later one is preferred: the larger overlap, of equals the later true box, as COCO does.
    worth = np.arange(len(box)) + len(box) * ~ignored.T[:, true]
    turn = _turns(np.cumsum(first, dtype=np.int64)[box[starts]])
    lengths = np.diff(np.append(starts, len(box)))
    by_turn = np.argsort(np.repeat(turn, lengths), kind="stable")
    box, true, overlap, worth = box[by_turn], true[by_turn], overlap[by_turn], worth.T[by_turn]
    reached = overlap[:, None] >= np.minimum(least, 1 - 1e-10)
    taken = np.zeros((len(ignored), len(least), ignored.shape[1]), bool)
    ends = np.searchsorted(np.repeat(turn, lengths)[by_turn], np.arange(turn.max() + 2))
    for low, high in zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True):
        mine, theirs = box[low:high], true[low:high]
        can = reached[low:high, :, None] & (~taken[theirs] | crowd[theirs, None, None])
        value = np.where(can, worth[low:high, None], -1)
        opens = np.append(True, np.diff(mine) != 0)
        best = np.maximum.reduceat(value, np.flatnonzero(opens), axis=0)[np.cumsum(opens) - 1]
        won = can & (value == best)
        taken[theirs] |= won
        p, t, a = np.nonzero(won)
        states[mine[p], t, a] = np.where(ignored[theirs[p], a], IGNORED, RIGHT)
        p, t = np.nonzero(won[:, :, 0])
        partners[mine[p], t] = theirs[p]


def _turns(units: I64) -> I64:
    """Return the place of each row among those of its unit, int64 (n,), of units in ascending order."""
    starts = np.flatnonzero(np.append(True, np.diff(units) != 0)) if len(units) else np.zeros(0, np.int64)
    return np.asarray(np.arange(len(units)) - np.repeat(starts, np.diff(np.append(starts, len(units)))), np.int64)


def _surest(found: Found, most: int) -> tuple[I64, I64]:
    """Return (rows, ranks), int64 (D,) each: the `most` surest boxes of each picture and class, one after another."""
    rows = np.lexsort((-found.scores, found.classes, found.pictures))
    unit = found.pictures[rows] * (int(found.classes.max(initial=0)) + 1) + found.classes[rows]
    ranks = _turns(unit)
    return rows[ranks < most], ranks[ranks < most]


def _marked(rows: I64, n: int) -> Bools:
    marks = np.zeros(n, bool)
    marks[rows] = True
    return marks


def _fitting(truth: Boxes, found: Found, classes: int) -> None:
    if len(truth) != len(found):
        hint = "give both for the same pictures, in the same order"
        raise UsageError(f"boxes are true in {len(truth)} and found in {len(found)} pictures", code="bad-shape", hint=hint)
    every = np.concatenate([truth.classes, found.classes])
    if len(every) and not 0 <= every.min() <= every.max() < classes:
        raise UsageError(f"a box has the class {every.max()}", code="bad-targets", hint=f"classes are 0 to {classes - 1}")
    if np.isnan(found.scores).any():
        raise UsageError("the score of a found box is not a number", code="bad-value", hint="give each box a score, in 0..1")
