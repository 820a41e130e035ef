"""Tables with a row for each box: file, label, xmin, ymin, xmax, ymax, and if they like width, height, split and group."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from beholder.base.arrays import F64
from beholder.base.errors import DataError
from beholder.sources import table, voc
from beholder.sources.annotated import CORNERS, Annotated, bad, number, size_of
from beholder.sources.crops import Box
from beholder.sources.listing import Listing, ending, is_picture, some
from beholder.sources.parts import in_part

_NAMES = (CORNERS, ("x1", "y1", "x2", "y2"))
_OF_SIGNS = ("roix1", "roiy1", "roix2", "roiy2")
"""The corners of traffic signs in their own tables, which are read as boxes only where boxes are asked for."""

_TABLES = 64
"""Tables of a folder or an archive that are looked into, the first by name."""


def named(listing: Listing, *, boxes: bool) -> list[str]:
    """Return the tables of boxes in a folder or an archive; without `boxes`, class folders come first."""
    names = [name for name in listing.names if ending(name) in ("csv", "tsv")]
    if not names or (not boxes and voc.in_class_folders([name for name in listing.names if is_picture(name)])):
        return []
    return [name for name in names[:_TABLES] if has_boxes(listing.bytes_of(name), name, name, boxes=boxes)]


def has_boxes(data: bytes, name: str, where: str, *, boxes: bool) -> bool:
    """Return True where the first line of a table names the corners of boxes; boxes: of traffic signs too."""
    try:
        header = next(table.cells(data, name, where=where), [])
    except DataError:
        return False
    return _corners(header, signs=boxes) is not None


def parse(data: bytes, name: str, where: str) -> list[Annotated]:
    """Return the pictures of a table with a row for each box, each once, with all its boxes.

    A row without label and corners is of a picture that shows nothing; one with a label alone says that the thing is there.
    Raises `DataError` (bad-annotations, contradictory-rows, and what `table.parsed` raises).
    """
    lines = list(table.cells(data, name, where=where))
    corners = _corners(lines[0], signs=True) if lines else None
    if corners is None:
        raise bad(where, "it has no corners", "its columns are file, label, xmin, ymin, xmax, ymax")
    read = table.parsed(lines, where=where).rows
    header, body = [_plain(cell) for cell in lines[0]], lines[1:]
    del lines
    values, said = _numbers(body, corners)
    measured = [header.index(side) for side in ("width", "height")] if {"width", "height"} <= set(header) else []
    pictures: dict[str, list[int]] = {}
    for i, row in enumerate(read):
        pictures.setdefault(row.path, []).append(i)
        if not row.labels and said[i]:
            raise bad(where, f"a box of {row.path} has no label, in row {i + 2}", "give each box a label")
    _agree(read, pictures, where)
    part, found = in_part(name), []
    for path, places in pictures.items():
        first = read[places[0]]
        boxes = tuple(Box(read[i].labels[0], *values[i].tolist()) for i in places if said[i])
        unboxed = tuple(read[i].labels[0] for i in places if not said[i] and read[i].labels)
        size = size_of(*(_cell(body[places[0]], at) for at in measured)) if measured else (0, 0)
        given = first.part if first.part >= 0 else part
        found.append(Annotated(path, name, boxes, given, size, unboxed, group=first.group))
    return found


def _agree(read: Sequence[table.Row], pictures: dict[str, list[int]], where: str) -> None:
    """Raise `DataError` (contradictory-rows) where rows of one picture put it into several parts or groups."""
    odd = [path for path, places in pictures.items() if len({(read[i].part, read[i].group) for i in places}) > 1]
    if odd:
        text = f"{where} says different parts or groups of the same picture, {len(odd):,} times: {some(odd)}"
        raise DataError(text, code="contradictory-rows", hint="a picture is in one part and one group")


def _plain(cell: str) -> str:
    return re.sub(r"[\s_.-]+", "", cell.lower())


def _corners(header: Sequence[str], *, signs: bool) -> list[int] | None:
    """Return the places of the columns of left, top, right and bottom, None where there are none."""
    names = [_plain(cell) for cell in header]
    known = next((four for four in (*_NAMES, *([_OF_SIGNS] if signs else [])) if set(four) <= set(names)), None)
    return None if known is None else [names.index(corner) for corner in known]


def _cell(line: Sequence[str], at: int) -> str:
    return line[at] if at < len(line) else ""


def _numbers(body: Sequence[Sequence[str]], corners: Sequence[int]) -> tuple[F64, list[bool]]:
    """Return the corners of each row, float64 (N, 4), NaN for what is no number, and whether it says any."""
    values = np.full((len(body), 4), math.nan)
    said = np.zeros(len(body), np.bool_)
    for column, at in enumerate(corners):
        cells = [_cell(line, at).strip() for line in body]
        said |= np.fromiter(map(bool, cells), np.bool_, len(cells))
        try:
            values[:, column] = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            values[:, column] = [number(cell) for cell in cells]
    return values, said.tolist()
