"""What an annotation file says of one picture, whatever its form."""

from __future__ import annotations

import math
from dataclasses import dataclass

from beholder.base.errors import DataError
from beholder.sources.crops import FAR, Box

CORNERS = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class Annotated:
    """One picture and what it shows.

    path, place: of the picture as the file says it, and of that file; part: -1 = none; group: "" = none
    boxes:    of objects
    size:     (width, height) at which the boxes were drawn; (0, 0) = unknown
    unboxed:  labels of what it shows without a box
    crowds:   boxes that stand for several objects, which are not cut out
    measured: whether the size is the picture's own, not what the file says it is
    """

    path: str
    place: str
    boxes: tuple[Box, ...]
    part: int = -1
    size: tuple[int, int] = (0, 0)
    unboxed: tuple[str, ...] = ()
    crowds: tuple[Box, ...] = ()
    group: str = ""
    measured: bool = False


def size_of(width: object, height: object) -> tuple[int, int]:
    """Return a size as a file says it, (0, 0) where it says none that a picture can have.

    >>> size_of("640", 480.0), size_of(None, 480), size_of(1e308, 1), size_of(-3, 4)
    ((640, 480), (0, 0), (0, 0), (0, 0))
    """
    sides = (number(width), number(height))
    if not all(1 <= side <= FAR for side in sides):
        return 0, 0
    return int(sides[0]), int(sides[1])


def number(said: object) -> float:
    """Return a number as a file says it, NaN for what is none: of presence a box without a place tells all the same."""
    try:
        return float(said.strip().replace(",", ".")) if isinstance(said, str) else float(said)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        return math.nan


def bad(name: str, error: Exception | str, hint: str) -> DataError:
    """Return the error for annotations that cannot be read."""
    why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return DataError(f"the annotations in {name} cannot be read: {why}", code="bad-annotations", hint=hint)
