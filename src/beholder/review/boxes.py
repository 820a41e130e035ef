"""The boxes of a picture on the review page: those of the source, those that findings name, and those that a person drew."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from beholder import image
from beholder.base.errors import DataError, PictureError
from beholder.base.names import readable
from beholder.base.records import Pictures
from beholder.quality.boxes import Decided
from beholder.quality.named import NEW, Named, name_of, named

LONGEST = 200
"""Letters of the class of a drawn box at most."""


def drawn(pictures: Pictures, picture: int, names: Iterable[str], decided: Mapping[str, str]) -> dict[str, Any]:
    """Return {"width", "height", "boxes"}: the frame in which boxes are drawn, and a row for each of them.

    names: of boxes that findings are about; decided: name → what a person decided
    A row: {"name", "label", "corners", "decided", "new"}; new: it is not in the source
    """
    boxes = pictures.boxes
    if boxes is None:
        return {"width": 0, "height": 0, "boxes": []}
    start, stop = int(boxes.starts[picture]), int(boxes.starts[picture + 1])
    every = {str(found): found for found in (name_of(boxes, row, pictures.classes) for row in range(start, stop))}
    every |= {text: named(text) for text in (*names, *decided) if text not in every}
    width, height = _frame(pictures, picture)
    rows = [_row(text, found, decided.get(text, "")) for text, found in every.items()]
    return {"width": width, "height": height, "boxes": rows}


def is_there(pictures: Pictures, picture: int, text: str) -> bool:
    """Return whether a name is that of a box of the source, or of a new one with a place in the picture and a fit class."""
    boxes = pictures.boxes
    try:
        found = named(text)
    except DataError:
        return False
    if boxes is None or not 0 <= picture < len(boxes):
        return False
    if found.number != NEW:
        there = boxes[picture].corners
        return found.number < len(there) and bool(np.abs(there[found.number] - found.corners).max() <= 0.01)
    label = found.label
    fit = label in pictures.classes or (len(label) <= LONGEST and label.isprintable() and label == label.strip())
    width, height = _frame(pictures, picture)
    left, top, right, bottom = found.corners
    return fit and left >= 0 and top >= 0 and right <= (width or right) and bottom <= (height or bottom)


def counted(decided: Decided) -> dict[str, int]:
    """Return {"kept", "dropped", "relabelled", "drawn"}: boxes that a person decided about; those that are new are drawn."""
    found = {"kept": 0, "dropped": 0, "relabelled": 0, "drawn": 0}
    for of in decided.values():
        for text, what in of.items():
            kind = {"keep": "kept", "drop": "dropped"}.get(what, "relabelled")
            found["drawn" if text.startswith("new ") and what != "drop" else kind] += 1
    return found


def _row(text: str, found: Named, decided: str) -> dict[str, Any]:
    return {
        "name": text,
        "label": readable(found.label),
        "corners": list(found.corners),
        "decided": decided,
        "new": found.number == NEW,
    }


def _frame(pictures: Pictures, picture: int) -> tuple[int, int]:
    """Return the (width, height) in which the boxes of a picture are drawn; zeros where it cannot be read."""
    boxes = pictures.boxes
    assert boxes is not None
    width, height = boxes.sizes[picture].tolist()
    if width and height:
        return int(width), int(height)
    try:
        head = image.header(pictures.store.read(pictures.keys[picture]))
    except PictureError:
        return 0, 0
    return head.width, head.height
