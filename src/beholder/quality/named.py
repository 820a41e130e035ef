"""How a finding names one box of a picture, and what a person may decide about it.

NUMBER left,top,right,bottom LABEL    a box of the source, counted from 0 in its picture, such as "3 10,20,30,40 RBC"
new left,top,right,bottom LABEL       one that is not in the source: found by a detector, or drawn by a person

Corners are in the pixels in which the source has its boxes. keep: the box stays, or is to be there; drop: it goes, or is not to
be there; relabel:CLASS: it is one of that class.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from beholder.base.boxes import Boxes
from beholder.base.errors import DataError

NEW = -1
"""The number of a box that is not in the source."""

FAR = 2.0**31
"""Pixels beyond which a corner is no place in a picture."""


class Named(NamedTuple):
    """One box: its number in its picture (`NEW`: not in the source), its corners (left, top, right, bottom), and its class."""

    number: int
    corners: tuple[float, float, float, float]
    label: str

    def __str__(self) -> str:
        first = "new" if self.number == NEW else str(self.number)
        return f"{first} {','.join(format(round(v, 2), '.12g') for v in self.corners)} {self.label}"

    @property
    def words(self) -> str:
        """Return it as a sentence names it: "box 3, RBC at 10,20–30,40"."""
        left, top, right, bottom = (format(round(v), "d") for v in self.corners)
        first = "a box" if self.number == NEW else f"box {self.number}"
        return f"{first}, {self.label} at {left},{top}–{right},{bottom}"

    @property
    def placed(self) -> bool:
        """Return False where it has no area, or a corner is no place in a picture."""
        left, top, right, bottom = self.corners
        return all(math.isfinite(v) and abs(v) < FAR for v in self.corners) and left < right and top < bottom


def named(text: str) -> Named:
    """Return the box that a finding names. Raises `DataError` (bad-audit) for what names none.

    >>> named("3 10,20,30,40 RBC")
    Named(number=3, corners=(10.0, 20.0, 30.0, 40.0), label='RBC')
    """
    first, _, rest = text.partition(" ")
    places, _, label = rest.partition(" ")
    try:
        left, top, right, bottom = map(float, places.split(","))
        found = Named(NEW if first == "new" else int(first), (left, top, right, bottom), label)
    except ValueError:
        found = Named(NEW, (0.0, 0.0, 0.0, 0.0), "")
    if not found.placed or found.number < NEW or not found.label:
        hint = "it is NUMBER left,top,right,bottom LABEL, or new left,top,right,bottom LABEL"
        raise DataError(f"'{text[:200]}' names no box", code="bad-audit", hint=hint)
    return found


def name_of(boxes: Boxes, row: int, classes: tuple[str, ...]) -> Named:
    """Return the name of a box of the source. row: among all boxes, as in `Boxes.corners`."""
    picture = int(boxes.starts.searchsorted(row, "right")) - 1
    left, top, right, bottom = boxes.corners[row].tolist()
    return Named(row - int(boxes.starts[picture]), (left, top, right, bottom), classes[int(boxes.classes[row])])
