"""Boxes drawn twice, of odd size or shape for their class, over nearly all of a picture, and the same object in two parts."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools
from beholder.base.boxes import Boxes
from beholder.base.records import PARTS
from beholder.data.leaks import leaks
from beholder.duplicates.near import LIKE
from beholder.measure.detection_overlap import overlaps
from beholder.quality.checks import BoxMark, BoxMarks, Check, Evidence
from beholder.quality.named import name_of

TWICE = 0.9
"""Intersection over union from which on two boxes of a picture are one box drawn twice."""

FEWEST = 20
"""Boxes of a class without which nothing is usual in it."""

ODD = 6.0
"""Robust standard deviations that count as a score of one half."""

SPREAD = 0.08
"""Least robust standard deviation of log areas and log shapes: boxes of one class that a program drew are all of one size."""

TINY = 3.0
"""Pixels below which the shorter side of a box shows nothing."""

EDGE = 0.01
"""Share of a picture's side that a box may stay away from an edge and still lie on it."""


def twice(evidence: Evidence) -> BoxMarks:
    """Score the intersection over union of a box with an earlier one of its picture; of two classes they contradict each other.

    Only a copy to the hundredth of a pixel of a box of its own class may be dropped without a look.
    """
    boxes, classes = _boxes(evidence), evidence.pictures.classes
    marks = []
    for picture in np.flatnonzero(np.diff(boxes.starts) > 1).tolist():
        first, drawn = int(boxes.starts[picture]), boxes[picture]
        table = np.tril(overlaps(drawn.corners, drawn.corners), -1)
        table[drawn.crowd] = table[:, drawn.crowd] = 0
        for later in np.flatnonzero(table.max(axis=1) >= TWICE).tolist():
            earlier = int(table[later].argmax())
            name, other = (name_of(boxes, first + row, classes) for row in (later, earlier))
            alike = name.label == other.label
            exact = alike and bool(np.abs(drawn.corners[later] - drawn.corners[earlier]).max() < 0.005)
            says = f"is {other.words} once more" if alike else f"contradicts {other.words}: one place, two classes"
            how = "drop" if exact else "review"
            marks.append(BoxMark(picture, str(name), float(table[later, earlier]), f"{name.words}, {says}", how))
    return BoxMarks(tuple(marks), int((~boxes.crowd).sum()))


def size(evidence: Evidence) -> BoxMarks:
    """Score how many robust standard deviations z its log area or log shape is off its class: z / (z + ODD).

    A box at the edge of the picture is cut there: it is judged only where it is too large. Boxes of less than three pixels
    score 1.
    """
    boxes, classes = _boxes(evidence), evidence.pictures.classes
    sides = np.maximum(boxes.corners[:, 2:] - boxes.corners[:, :2], 1e-3)
    area, shape = np.log(sides.prod(axis=1)), np.log(sides[:, 0] / sides[:, 1])
    cut = np.asarray(_edges(evidence, boxes).any(axis=1))
    larger, odd = (_away(values, boxes, cut) for values in (area, shape))
    larger[cut & (larger < 0)], odd[cut] = 0.0, 0.0
    which = np.abs(larger) >= np.abs(odd)
    z = np.where(which, np.abs(larger), np.abs(odd))
    tiny = sides.min(axis=1) < TINY
    scores = np.where(tiny, 1.0, z / (z + ODD))
    scores[boxes.crowd] = np.nan
    pictures, marks = boxes.pictures, []
    for row in np.flatnonzero(np.nan_to_num(scores) > 0.25).tolist():
        name, (wide, tall) = name_of(boxes, row, classes), sides[row].tolist()
        what = ("larger" if larger[row] > 0 else "smaller") if which[row] else ("wider" if odd[row] > 0 else "narrower")
        says = f"is {wide:.0f} × {tall:.0f} pixels: far {what} than others of its class"
        if tiny[row]:
            says = f"is {wide:.3g} × {tall:.3g} pixels, in which nothing can be seen"
        marks.append(BoxMark(int(pictures[row]), str(name), float(scores[row]), f"{name.words}, {says}"))
    return BoxMarks(tuple(marks), int(np.count_nonzero(~np.isnan(scores))))


def edge(evidence: Evidence) -> BoxMarks:
    """Score 1 less the share of its class that reaches three edges of the picture too, for a box that does."""
    boxes, classes = _boxes(evidence), evidence.pictures.classes
    reaching = (_edges(evidence, boxes).sum(axis=1) >= 3) & ~boxes.crowd
    counts = boxes.counts(len(classes))
    rates = np.bincount(boxes.classes[reaching], minlength=len(classes)) / np.maximum(counts, 1)
    pictures, marks = boxes.pictures, []
    for row in np.flatnonzero(reaching & (counts[boxes.classes] >= FEWEST)).tolist():
        name = name_of(boxes, row, classes)
        says = f"{name.words}, reaches three edges of the picture or all, as hardly any of its class does"
        marks.append(BoxMark(int(pictures[row]), str(name), float(1 - rates[boxes.classes[row]]), says))
    return BoxMarks(tuple(marks), int(np.count_nonzero((counts[boxes.classes] >= FEWEST) & ~boxes.crowd)))


def leak(evidence: Evidence) -> BoxMarks:
    """Score how much two boxes in different given parts show the same, where their pictures do not (which is a `leak`)."""
    boxes, pictures = _boxes(evidence), evidence.pictures
    assert evidence.crops is not None
    whole = np.zeros(len(pictures)) if evidence.twins is None else leaks(pictures, evidence.twins)[0]
    of, best = boxes.pictures, dict[int, BoxMark]()
    for a, b, score in zip(*(column.tolist() for column in evidence.crops), strict=True):
        early, late = (a, b) if pictures.parts[of[a]] < pictures.parts[of[b]] else (b, a)
        here, there = int(of[early]), int(of[late])
        if whole[here] >= LIKE or (early in best and best[early].score >= score):
            continue
        name, other = name_of(boxes, early, pictures.classes), name_of(boxes, late, pictures.classes)
        parts = f"{PARTS[pictures.parts[there]]} part, this one in {PARTS[pictures.parts[here]]}"
        says = f"{name.words}, shows the same as {other.words} of a picture in the {parts}"
        best[early] = BoxMark(here, str(name), float(score), says, other=there)
    given = pictures.parts[of] >= 0
    return BoxMarks(tuple(best.values()), int(given.sum()))


def _boxes(evidence: Evidence) -> Boxes:
    assert evidence.boxes is not None
    return evidence.boxes


def _edges(evidence: Evidence, boxes: Boxes) -> npt.NDArray[np.bool_]:
    """Return on which edges (left, top, right, bottom) each box lies, bool (M, 4); none where no size is known."""
    sizes = frames(evidence, boxes)[boxes.pictures].astype(np.float64)
    near = EDGE * np.maximum(sizes, 1)
    low, high = boxes.corners[:, :2] <= near, boxes.corners[:, 2:] >= sizes - near
    return np.asarray(np.concatenate([low, high], axis=1) & (sizes > 0).all(axis=1, keepdims=True), np.bool_)


def frames(evidence: Evidence, boxes: Boxes) -> I64:
    """Return the (width, height) in which the boxes of each picture are drawn: int64 (N, 2), 0 where nothing says it."""
    measured = np.stack([evidence.facts["width"], evidence.facts["height"]], axis=1).astype(np.int64)
    return np.asarray(np.where((boxes.sizes > 0).all(axis=1, keepdims=True), boxes.sizes, measured))


def _away(values: F64, boxes: Boxes, cut: Bools) -> F64:
    """Return by how many robust standard deviations each value is off the median of its class; 0 in classes of too few."""
    found = np.zeros(len(values))
    for k in np.unique(boxes.classes).tolist():
        mine = (boxes.classes == k) & ~boxes.crowd
        usual = values[mine & ~cut]
        if len(usual) >= FEWEST:
            middle = np.median(usual)
            spread = max(1.4826 * float(np.median(np.abs(usual - middle))), SPREAD)
            found[mine] = (values[mine] - middle) / spread
    return found


BOX_TWICE = Check(
    twice,
    limit=TWICE,
    sentence="a box lies where another of its picture lies: drawn twice, or once for each of two classes",
    hint="drop one of them; of two classes, say which is right",
    group="boxes",
    suggestion="review",
    needs=("boxes",),
)
BOX_SIZE = Check(
    size,
    limit=0.5,
    sentence="a box has a size or shape that is odd for its class, or shows less than three pixels",
    hint="look whether its class is wrong, or it was drawn wrong",
    group="boxes",
    suggestion="review",
    needs=("boxes",),
)
BOX_EDGE = Check(
    edge,
    limit=0.9,
    sentence="a box reaches three edges of its picture or all, as hardly any of its class does",
    hint="draw it around the object",
    group="boxes",
    suggestion="review",
    needs=("boxes",),
)
BOX_LEAK = Check(
    leak,
    limit=LIKE,
    sentence="what a box shows is shown by a box in a later part: the test would measure memorisation",
    hint="keep pictures of one object or scene in one part: --set data.group_from, or a column group",
    group="boxes",
    suggestion="review",
    needs=("boxes", "crops"),
)
