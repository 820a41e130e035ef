"""Cells of the confusion matrix open: the pictures behind them, the most confident first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from beholder.reporting.context import Room

EACH, RIGHT, MOST = 8, 3, 120
"""Pictures of a cell, of one that is right, and of all: the file stays small however many were tested."""


@dataclass(frozen=True)
class Shown:
    """A picture of a cell: a data URI (None where it cannot be read any more), its key, the probability of the answer."""

    image: str | None
    key: str
    p: float


@dataclass(frozen=True)
class Cell:
    """A cell that opens: pictures of class `truth` of which `guess` was said, `count` of the `total` of that class."""

    name: str
    truth: str
    guess: str
    count: int
    total: int
    pictures: tuple[Shown, ...]


def cells(room: Room) -> dict[tuple[int, int], Cell]:
    """Return (row, column) → cell: wrong ones first, the larger before the smaller, as long as there is room for pictures."""
    table, evaluation, names = room.scores.confusion, room.evaluation, list(room.scores.classes)
    if table is None or not len(evaluation.probabilities):
        return {}
    p, targets = np.asarray(evaluation.probabilities, np.float64), np.asarray(evaluation.targets)
    family = room.bundle.task.family
    guesses, sure = family.foremost(p), family.certainty(p)
    places = [(int(row), int(column)) for row, column in np.argwhere(np.asarray(table) > 0)]
    places.sort(key=lambda place: (place[0] == place[1], -int(table[place])))
    found, left = {}, MOST
    for row, column in places:
        rows = np.flatnonzero((targets == row) & (guesses == column))
        rows = rows[np.argsort(-sure[rows], kind="stable")][: min(left, RIGHT if row == column else EACH)]
        shown = [Shown(room.picture(i, side=120), evaluation.keys[i], float(sure[i])) for i in rows.tolist()]
        left -= len(shown)
        if pictures := tuple(picture for picture in shown if picture.image):
            count, total = int(table[row, column]), int(table[row].sum())
            found[row, column] = Cell(f"cell-{row}-{column}", names[row], names[column], count, total, pictures)
    return found
