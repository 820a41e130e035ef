"""Several labels in one cell of a table: how they are divided is found from the whole column."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from beholder.base import events
from beholder.base.arrays import Integer
from beholder.base.cells import plain
from beholder.sources.listing import some

_SURE = (";", "|", "；", "｜", "\n", "\t")
_LISTING = (",", "，", "、")
_PERHAPS = (*_LISTING, "/", "+", "&", "#", ":", "~", "^", "\\", " ", "_", "-")
_IN_NAMES = ("_", "-")
"""Signs that names have inside more often than between them: they are asked about, and never divide."""

_LIST = re.compile(r"(?:\w+\()?[\[({](.*)[\])}](?:, *dtype=\w+)?\)?", re.DOTALL)
_QUOTED = re.compile(r"'([^']*)'|\"([^\"]*)\"")


@dataclass(frozen=True)
class Division:
    """How the cells of a column become labels. marks: what divides them, "" = nothing, "[]" = they are written lists."""

    marks: str = ""
    notes: tuple[str, ...] = ()

    def labels(self, cell: str) -> tuple[str, ...]:
        """Return the labels of one cell, each once."""
        if self.marks == "[]":
            pieces: Iterable[str] = _listed(cell)
        else:
            pieces = re.split(f"[{re.escape(self.marks)}]", cell) if self.marks else (cell,)
        return tuple(dict.fromkeys(plain(piece.strip()) for piece in pieces if piece.strip()))


def division(cells: Collection[str], *, where: str) -> Division:
    """Return how the distinct cells of a column of labels are divided, and say so.

    ";", "|" and ends of lines always divide, and so do lists as Python, JSON or numpy write them; a comma, a blank, "/", "+",
    "&" and the like where the pieces are labels themselves, alone in other cells or in many combinations. Where that is less
    than sure, the cells stay whole and a warning says so.
    """
    filled = [cell for cell in cells if cell]
    if filled and all(_LIST.fullmatch(cell) for cell in filled):
        return _told("[]", filled, where)
    sure = "".join(mark for mark in _SURE if any(len(_pieces(cell, mark)) > 1 for cell in filled))
    if sure:
        return _told(sure, filled, where)
    for mark in _PERHAPS:
        several = [cell for cell in filled if len(_pieces(cell, mark)) > 1]
        if several:
            certain = _certain(several, set(filled), mark)
            if certain is not None:
                return _told(mark, filled, where) if certain else _doubted(mark, several, where)
    return Division()


def spread(targets: Integer, labels: Sequence[str], *, where: str) -> tuple[Integer, list[str], list[str]]:
    """Return targets, labels and what is to be said, where each label is a cell that may hold several.

    targets: (N,) index into `labels`, -1 = none. They stay as they are where no cell is divided; else they become multi-hot.
    """
    made = division(labels, where=where)
    if not made.marks:
        return targets, list(labels), list(made.notes)
    rows = [made.labels(label) for label in labels]
    names = list(dict.fromkeys(name for row in rows for name in row))
    hot = np.zeros((len(labels) + 1, len(names)), np.uint8)  # the last row is that of no label
    for k, row in enumerate(rows):
        hot[k, [names.index(name) for name in row]] = 1
    found: Integer = hot[targets]
    return found, names, list(made.notes)


def _pieces(cell: str, mark: str) -> list[str]:
    return [piece.strip() for piece in cell.split(mark) if piece.strip()]


def _certain(several: Sequence[str], cells: set[str], mark: str) -> bool | None:
    """Return True where the cells are surely combinations of labels, False where they may be, None where they are not."""
    pieces = {piece for cell in several for piece in _pieces(cell, mark)}
    alone = pieces & cells
    labels = pieces | (cells - set(several))
    fewer = len(labels) < len(cells)
    known = bool(alone) or mark in _LISTING
    if fewer and known and 2 * len(labels) <= len(cells) and len(several) >= 6:
        return mark not in _IN_NAMES
    if fewer and 2 * len(alone) >= len(pieces):
        return mark in _LISTING or (mark not in _IN_NAMES and all(piece.isdecimal() for piece in pieces))
    return None


def _told(marks: str, cells: Sequence[str], where: str) -> Division:
    made = Division(marks)
    several = [cell for cell in cells if len(made.labels(cell)) > 1]
    if not several and marks != "[]":
        return made
    by = "are written as lists" if marks == "[]" else f"are divided by {' and '.join(repr(mark) for mark in marks)}"
    text = f"labels in one cell of {where} {by}, such as {some(several[:1] or list(cells[:1]))}"
    if marks[0] in _PERHAPS:
        events.warn(text, hint="if a cell is one label, write it without that sign", code="divided-labels")
    return Division(marks, (text,))


def _doubted(mark: str, several: Sequence[str], where: str) -> Division:
    text = f"labels of {where} look like several divided by {mark!r}, and are taken for one each: {some(several)}"
    return Division("", (events.warn(text, hint="put ';' between the labels of one picture", code="several-labels"),))


def _listed(cell: str) -> list[str]:
    match = _LIST.fullmatch(cell)
    inner = match[1] if match else cell
    quoted = [a or b for a, b in _QUOTED.findall(inner)]
    return quoted or re.split(r"[,\s]+", inner.strip())
