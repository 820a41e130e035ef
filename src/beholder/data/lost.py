"""Classes without a single readable picture are removed: nothing can be learnt of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from beholder.base import events
from beholder.base.arrays import I64, Bools
from beholder.base.records import Bad, Pictures
from beholder.duplicates.near import Twins


def lost(pictures: Pictures, unreadable: Bools) -> tuple[I64, list[str]]:
    """Return the rows of the pictures of classes that have no readable picture, and what is said of each class; warn of it.

    unreadable: bool (N,). Of several labels a picture, those that can be read stay, without the class.
    """
    counts = pictures.counts()
    gone = (counts > 0) & (pictures.take(np.flatnonzero(~unreadable)).counts() == 0)
    if not gone.any() or unreadable.all():
        return np.zeros(0, np.int64), []
    said = []
    for k in np.flatnonzero(gone).tolist():
        name = pictures.classes[k]
        text = f"class '{name}' has nothing left and is left out: not one of its {counts[k]:,} pictures can be read"
        said.append(text)
        hint = "fetch them again, or leave the class out of the source; beholder audit says why they cannot be read"
        events.warn(text, hint=hint, code="lost-class")
    carried = pictures.targets[:, gone].any(axis=1) if pictures.multi else gone[pictures.targets]
    return np.flatnonzero(carried & unreadable), said


def without_classes(pictures: Pictures, gone: Bools) -> Pictures:
    """Return the pictures without the classes `gone`, bool (K,), which have none."""
    classes = tuple(name for name, out in zip(pictures.classes, gone, strict=True) if not out)
    targets = pictures.targets[:, ~gone] if pictures.multi else (np.cumsum(~gone) - 1)[pictures.targets]
    boxes = pictures.boxes
    if boxes is not None:  # of a class that is gone there is none
        boxes = replace(boxes, classes=(np.cumsum(~gone) - 1)[boxes.classes])
    return replace(pictures, targets=targets, classes=classes, boxes=boxes)


def with_readable_classes(pictures: Pictures, twins: Twins | None, unreadable: Bools) -> tuple[Pictures, Twins | None, Bools]:
    """Return the pictures without the classes of which none can be read."""
    rows, said = lost(pictures, unreadable)
    if not len(rows):
        return pictures, twins, unreadable
    rest = np.setdiff1d(np.arange(len(pictures)), rows)
    left = pictures.take(rest)
    gone = (left.counts() == 0) & (pictures.counts() > 0)
    left = without_classes(replace(left, notes=(*left.notes, *said)), gone)
    return left, None if twins is None else twins.among(rest), unreadable[rest]


def nothing_left(*parts: tuple[Pictures, Sequence[Bad]]) -> list[str]:
    """Return the classes whose every picture is among the bad ones; parts: pictures, and what was bad of them."""
    had, left = (np.zeros(len(parts[0][0].classes), np.int64) for _ in range(2))
    for pictures, bad in parts:
        keys = {one.key for one in bad}
        had += pictures.counts()
        left += pictures.take(np.array([row for row, key in enumerate(pictures.keys) if key not in keys], np.int64)).counts()
    return [parts[0][0].classes[k] for k in np.flatnonzero((had > 0) & (left == 0))]
