"""What a detector confuses and how it errs: a confusion matrix with background, and the kinds of error of TIDE.

Both look at all boxes they are given: leave out those below the operating point first (`Found.above`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from beholder.base.arrays import F64, I8, I64, Bools
from beholder.base.boxes import Boxes
from beholder.base.brief import within
from beholder.measure.counts import mean_of_defined
from beholder.measure.detection_matching import FALSE, IGNORED, MOST, RIGHT, Matches, matched
from beholder.measure.detection_overlap import Pairs, pairs
from beholder.measure.detection_precision import average_precision
from beholder.measure.detections import Found

OVERLAP, BACKGROUND = 0.5, 0.1
"""Intersections over union from which on a box is right, and below which it shows nothing but background."""

KINDS = ("right", "localisation", "class", "both", "duplicate", "background", "missed", "ignored")
"""localisation: the right class, but an overlap below `OVERLAP`; class: placed well on an object of another class;
both: neither the place nor the class; duplicate: of an object that a surer box has; background: no object is near;
missed: a true box that no found one has or would have if its place or class were right;
ignored: in or of a crowd, or of too many boxes."""

ERRORS = KINDS[1:7]


@dataclass(frozen=True, eq=False)
class Kinds:
    """How a detector errs.

    found: int8 (M,), the kind of each found box, an index into `KINDS`; about: int64 (M,), the true box it is about, -1: none
    truth: int8 (G,), the kind of each true box: right, missed, ignored, or localisation or class where a found box of that
           kind would have it
    counts: kind → found boxes, for "missed" true ones; ap50: the average precision at 0.5, mean over the classes
    gains:  kind of error → how much higher ap50 would be without errors of that kind alone
    """

    found: I8
    about: I64
    truth: I8
    counts: Mapping[str, int]
    ap50: float
    gains: Mapping[str, float]

    def __repr__(self) -> str:
        return within("Kinds", [f"{kind}={count:,}" for kind, count in self.counts.items()])


def confusion(truth: Boxes, found: Found, classes: int, *, overlap: float = OVERLAP) -> I64:
    """Return the confusion matrix int64 (K + 1, K + 1), rows = truth, columns = found; K is the background.

    In each picture the two boxes that overlap most, of whatever classes, are a pair, then the next two of those left, down to
    `overlap`; among equals those of one class go first, then the surer ones. Last row: found boxes without a true one; last
    column: true boxes without a found one. Crowds do not count, nor do boxes of their class in them.
    """
    near = pairs(truth, found, least=overlap, alike=False)
    crowd = truth.crowd[near.truth]
    alike = found.classes[near.found] == truth.classes[near.truth]
    partner = _greedy(near, np.lexsort((-found.scores[near.found], ~alike, -near.overlap, crowd))[: int((~crowd).sum())], found)
    lost = ~truth.crowd
    lost[partner[partner >= 0]] = False
    spare = partner < 0
    spare[near.found[crowd & alike]] = False
    paired = np.flatnonzero(partner >= 0)
    rows = np.concatenate([truth.classes[partner[paired]], np.full(int(spare.sum()), classes), truth.classes[lost]])
    columns = np.concatenate([found.classes[paired], found.classes[spare], np.full(int(lost.sum()), classes)])
    size = classes + 1
    return np.bincount(rows * size + columns, minlength=size * size).reshape(size, size).astype(np.int64)


def _greedy(near: Pairs, order: I64, found: Found) -> I64:
    """Return the true box of each found one, int64 (M,), -1: none, taking pairs in that order, each box once."""
    partner = np.full(len(found.classes), -1, np.int64)
    mine: set[int] = set()
    theirs: set[int] = set()
    for i, j in zip(near.found[order].tolist(), near.truth[order].tolist(), strict=True):
        if i not in mine and j not in theirs:
            mine.add(i)
            theirs.add(j)
            partner[i] = j
    return partner


def error_kinds(truth: Boxes, found: Found, classes: int, *, most: int = MOST) -> Kinds:
    """Return the kind of each error, how many there are of each, and what each kind costs.

    Boxes are matched as COCO does it at an overlap of 0.5. A false box is of the first kind that fits: localisation, class,
    duplicate, background, both. Without localisation or class errors the surest box about a true one that is not found
    would be right and the others would not be there; without missed boxes there would be fewer true ones.
    Source: D. Bolya et al., TIDE: a general toolbox for identifying object detection errors, ECCV (2020).
    """
    matches = matched(truth, found, classes, overlaps=(OVERLAP,), sizes=("all",), most=most)
    kinds, about = _of_found(truth, found, matches)
    used = np.zeros(len(truth.classes), bool)
    used[about[kinds == KINDS.index("right")]] = True
    fixed = _fixed(found, matches, kinds, about, used)
    of_truth = np.where(used, KINDS.index("right"), KINDS.index("missed")).astype(np.int8)
    of_truth[about[fixed]] = kinds[fixed]
    of_truth[truth.crowd] = KINDS.index("ignored")
    counts = dict(zip(KINDS, np.bincount(kinds, minlength=len(KINDS)).tolist(), strict=True))
    counts["missed"] = int((of_truth == KINDS.index("missed")).sum())
    base = _ap(matches)
    better = {kind: _without(kind, matches, truth, kinds, about, of_truth, fixed) for kind in ERRORS}
    return Kinds(kinds, about, of_truth, counts, base, {kind: _ap(without) - base for kind, without in better.items()})


def _of_found(truth: Boxes, found: Found, matches: Matches) -> tuple[I8, I64]:
    """Return the kind of each found box, int8 (M,), and the true box it is about, int64 (M,), -1: none."""
    count = len(found.classes)
    states, partner = np.full(count, IGNORED, np.int8), np.full(count, -1, np.int64)
    states[matches.rows], partner[matches.rows] = matches.states[:, 0, 0], matches.partners[:, 0]
    used = np.zeros(len(truth.classes), bool)
    used[partner[states == RIGHT]] = True
    near = pairs(truth, found, least=BACKGROUND, rows=states == FALSE, alike=False)
    near = _some(near, ~truth.crowd[near.truth])
    alike = found.classes[near.found] == truth.classes[near.truth]
    own, own_box = _nearest(_some(near, alike), count)
    other, other_box = _nearest(_some(near, ~alike), count)
    taken, taken_box = _nearest(_some(near, alike & used[near.truth]), count)
    rules = {
        "localisation": ((own >= BACKGROUND) & (own < OVERLAP), own_box),
        "class": (other >= OVERLAP, other_box),
        "duplicate": (taken >= OVERLAP, taken_box),
        "background": (np.maximum(own, other) < BACKGROUND, np.full(count, -1)),
    }
    conditions = [states == IGNORED, states == RIGHT, *(holds for holds, _ in rules.values())]
    names = ["ignored", "right", *rules]
    kinds = np.select(conditions, [np.int8(KINDS.index(name)) for name in names], np.int8(KINDS.index("both")))
    about = np.select(conditions, [np.full(count, -1), partner, *(box for _, box in rules.values())], other_box)
    return kinds.astype(np.int8), about.astype(np.int64)


def _some(near: Pairs, rows: Bools) -> Pairs:
    return Pairs(near.found[rows], near.truth[rows], near.overlap[rows])


def _nearest(near: Pairs, count: int) -> tuple[F64, I64]:
    """Return of each of `count` found boxes the largest overlap, 0: none, and the true box it is with, -1: none."""
    overlap, box = np.zeros(count), np.full(count, -1, np.int64)
    order = np.argsort(near.overlap, kind="stable")
    overlap[near.found[order]], box[near.found[order]] = near.overlap[order], near.truth[order]
    return overlap, box


def _fixed(found: Found, matches: Matches, kinds: I8, about: I64, used: Bools) -> I64:
    """Return the rows of found boxes that would have a true box if their place or class were right, the surest of each."""
    rows = matches.rows[np.argsort(-found.scores[matches.rows], kind="stable")]
    rows = rows[np.isin(kinds[rows], [KINDS.index("localisation"), KINDS.index("class")])]
    rows = rows[~used[about[rows]]]
    return rows[np.unique(about[rows], return_index=True)[1]]


def _without(kind: str, matches: Matches, truth: Boxes, kinds: I8, about: I64, of_truth: I8, fixed: I64) -> Matches:
    """Return the matches as they would be without errors of a kind."""
    code = KINDS.index(kind)
    if kind == "missed":
        return replace(matches, counted=matches.counted & (of_truth != code)[:, None])
    wrong = kinds[matches.rows] == code
    right = wrong & np.isin(matches.rows, fixed)
    states = np.where(right[:, None, None], np.int8(RIGHT), matches.states)
    labels = matches.labels.copy()
    labels[right] = truth.classes[about[matches.rows[right]]]
    kept = np.flatnonzero(right | ~wrong)
    order = kept[np.lexsort((-matches.scores[kept], labels[kept]))]
    columns = {name: getattr(matches, name)[order] for name in ("rows", "pictures", "ranks", "scores", "partners")}
    return replace(matches, labels=labels[order], states=states[order], **columns)


def _ap(matches: Matches) -> float:
    return float(mean_of_defined(average_precision(matches)[:, 0]))
