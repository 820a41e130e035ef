"""Boxes beside what detectors found that had not learnt from the picture: missing ones, wrong classes, wrong places."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from beholder.base.arrays import F64, I64, Bools
from beholder.base.boxes import Drawn
from beholder.measure.detection_overlap import areas, overlaps
from beholder.measure.detections import Detected
from beholder.quality.checks import BoxMark, BoxMarks, Check, Evidence
from beholder.quality.named import NEW, Named, name_of

HERE = 0.5
"""Intersection over union from which on a found box says what a drawn one shows."""

FREE, INSIDE = 0.3, 0.6
"""Overlap with any drawn box, and share of its area inside one, up to which a found box stands for something not drawn."""

TOUCHES = 0.15
"""Least overlap of a found box with the drawn one whose place it corrects."""


class Sayings(NamedTuple):
    """What is said of the n drawn boxes of one picture: own, other: float64 (n,), the highest score of a found box there of its
    class, and of another; which: int64 (n,), the class of that other.
    """

    own: F64
    other: F64
    which: I64


def missing(evidence: Evidence) -> BoxMarks:
    """Score how sure a found box is that lies where none is drawn, of any class; of several at one place the surest counts."""
    pictures, marks, looked = evidence.pictures, [], 0
    for picture, drawn, found in _each(evidence):
        looked += len(found.scores)
        taken = np.zeros(len(found.scores), bool)
        if len(drawn.classes):
            table = overlaps(found.corners, drawn.corners, drawn.crowd)
            taken = (table.max(axis=1) > FREE) | (_inside(found, drawn).max(axis=1) > INSIDE) | _elsewhere(table, drawn, found)
        kept: list[int] = []
        for row in np.argsort(-found.scores, kind="stable").tolist():
            if taken[row] or (kept and overlaps(found.corners[[row]], found.corners[kept]).max() > FREE):
                continue
            kept.append(row)
            name = _found(found, row, pictures.classes)
            score = float(found.scores[row])
            says = f"{name.words}, is missing: a detector that never saw the picture finds it with p = {score:.2f}"
            marks.append(BoxMark(picture, str(name), score, says))
    return BoxMarks(tuple(marks), looked)


def wrong(evidence: Evidence) -> BoxMarks:
    """Score p of the likeliest other class at the place of a drawn box, times 1 - p of its own class there."""
    boxes, pictures = evidence.boxes, evidence.pictures
    assert boxes is not None
    marks = []
    for picture, drawn, found in _each(evidence):
        said, first = _said(drawn, found), int(boxes.starts[picture])
        scores = said.other * (1 - said.own)
        scores[drawn.crowd] = 0
        for row in np.flatnonzero(scores > 0.1).tolist():
            name, better = name_of(boxes, first + row, pictures.classes), pictures.classes[int(said.which[row])]
            told = f"there is {better} (p = {said.other[row]:.2f}), not {name.label} (p = {said.own[row]:.2f})"
            says = f"{name.words}: a detector that never saw the picture says that {told}"
            marks.append(BoxMark(picture, str(name), float(scores[row]), says))
    return BoxMarks(tuple(marks), int((~boxes.crowd).sum()))


def misplaced(evidence: Evidence) -> BoxMarks:
    """Score p · (1 - overlap) of the surest found box of its class that touches a drawn one, where none overlaps it well.

    Found boxes that overlap another drawn box better are that one's.
    """
    boxes, pictures = evidence.boxes, evidence.pictures
    assert boxes is not None
    marks = []
    for picture, drawn, found in _each(evidence):
        if not len(drawn.classes) or not len(found.scores):
            continue
        table, first = overlaps(found.corners, drawn.corners), int(boxes.starts[picture])
        table[found.classes[:, None] != drawn.classes] = 0
        nearest = table.argmax(axis=1)
        for row in np.flatnonzero(~drawn.crowd & (table.max(axis=0) < INSIDE)).tolist():
            mine = np.flatnonzero((nearest == row) & (table[:, row] >= TOUCHES))
            if not len(mine):
                continue
            best = int(mine[found.scores[mine].argmax()])
            name, share = name_of(boxes, first + row, pictures.classes), float(table[best, row])
            p = float(found.scores[best])
            says = f"{name.words}, lies elsewhere by a detector that never saw the picture: {_at(found, best)} (p = {p:.2f})"
            marks.append(BoxMark(picture, str(name), p * (1 - share), says))
    return BoxMarks(tuple(marks), int((~boxes.crowd).sum()))


def _each(evidence: Evidence) -> list[tuple[int, Drawn, Detected]]:
    """Return row, drawn boxes and found ones of each picture that could be read."""
    boxes, found = evidence.boxes, evidence.found
    assert boxes is not None
    assert found is not None
    return [(row, boxes[row], found[row]) for row in np.flatnonzero(evidence.readable).tolist()]


def _said(drawn: Drawn, found: Detected) -> Sayings:
    n = len(drawn.classes)
    own, other, which = np.zeros(n), np.zeros(n), np.zeros(n, np.int64)
    if n and len(found.scores):
        there = np.where(overlaps(found.corners, drawn.corners) >= HERE, found.scores[:, None], 0.0)
        alike = found.classes[:, None] == drawn.classes
        own, elsewhere = np.where(alike, there, 0).max(axis=0), np.where(alike, 0, there)
        other, which = elsewhere.max(axis=0), found.classes[elsewhere.argmax(axis=0)]
    return Sayings(own, other, which)


def _inside(found: Detected, drawn: Drawn) -> F64:
    """Return which share of each found box's area lies within each drawn one: float64 (n, m)."""
    inner = overlaps(found.corners, drawn.corners, np.ones(len(drawn.classes), bool))
    return np.asarray(np.where(areas(found.corners)[:, None] > 0, inner, 1.0))


def _elsewhere(table: F64, drawn: Drawn, found: Detected) -> Bools:
    """Return which found boxes touch a drawn one of their class that nothing else explains: bool (n,). See `misplaced`.

    table: float64 (n, m), how far each found box overlaps each drawn one
    """
    alike = np.where(found.classes[:, None] == drawn.classes, table, 0.0)
    alone = alike.max(axis=0) < HERE
    return np.asarray((alike[:, alone] >= TOUCHES).any(axis=1), np.bool_)


def _found(found: Detected, row: int, classes: tuple[str, ...]) -> Named:
    left, top, right, bottom = found.corners[row].tolist()
    return Named(NEW, (left, top, right, bottom), classes[int(found.classes[row])])


def _at(found: Detected, row: int) -> str:
    left, top, right, bottom = found.corners[row].round().astype(int).tolist()
    return f"at {left},{top}–{right},{bottom}"


BOX_MISSING = Check(
    missing,
    limit=0.6,
    sentence="a detector that never saw the picture is sure of a box where none is drawn",
    hint="draw it, if it is there: what is not drawn is learnt as background",
    group="boxes",
    suggestion="review",
    needs=("boxes", "found"),
)
BOX_CLASS = Check(
    wrong,
    limit=0.3,
    sentence="a detector that never saw the picture says that a box shows another class",
    hint="give it the right class",
    group="boxes",
    suggestion="review",
    needs=("boxes", "found"),
)
BOX_PLACE = Check(
    misplaced,
    limit=0.4,
    sentence="a detector that never saw the picture places a box elsewhere",
    hint="drop it and draw it anew",
    group="boxes",
    suggestion="review",
    needs=("boxes", "found"),
)
