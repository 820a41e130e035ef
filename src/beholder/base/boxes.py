"""The boxes of a set's pictures: what is where, as numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from beholder.base.arrays import F64, I64, Bools, Integer
from beholder.base.brief import within

NONE, BOX, CROWD = 0, 1, 2
"""Kinds of rows in the targets of a detector: no box; a box; a region of which nothing is learnt, be it a box or none."""


class Drawn(NamedTuple):
    """The boxes of one picture.

    corners: float64 (n, 4), left, top, right, bottom in pixels of the upright picture; right and bottom are the first outside
    classes: int64 (n,) index into the classes of the set
    crowd:   bool (n,) where a box stands for several objects, or for one that is too hard to count
    """

    corners: F64
    classes: I64
    crowd: Bools


@dataclass(frozen=True, eq=False)
class Boxes:
    """The boxes of N pictures, M in all; those of picture k are the rows starts[k] to starts[k + 1] - 1.

    corners: float64 (M, 4); classes: int64 (M,); crowd: bool (M,): as in `Drawn`
    starts:  int64 (N + 1,)
    sizes:   int64 (N, 2), width and height at which the boxes of each picture were drawn; 0 where that is not known
    """

    corners: F64
    classes: I64
    crowd: Bools
    starts: I64
    sizes: I64

    @classmethod
    def of(cls, rows: Iterable[Drawn], sizes: Sequence[tuple[int, int]] | I64 | None = None) -> Boxes:
        """Return the boxes of pictures one after another.

        >>> Boxes.of([Drawn(np.zeros((2, 4)), np.zeros(2, int), np.zeros(2, bool)), nothing()])
        Boxes(2 in 2 pictures)
        """
        found = list(rows)
        starts = np.concatenate([[0], np.cumsum([len(row.classes) for row in found])]).astype(np.int64)
        corners = np.concatenate([np.zeros((0, 4)), *(row.corners.reshape(-1, 4) for row in found)]).astype(np.float64)
        classes = np.concatenate([np.zeros(0), *(row.classes for row in found)]).astype(np.int64)
        crowd = np.concatenate([np.zeros(0, bool), *(row.crowd for row in found)]).astype(bool)
        drawn = np.zeros((len(found), 2), np.int64) if sizes is None else np.asarray(sizes, np.int64).reshape(-1, 2)
        return cls(corners, classes, crowd, starts, drawn)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        return within("Boxes", [f"{len(self.classes):,} in {len(self):,} pictures"])

    def __getitem__(self, picture: int) -> Drawn:
        """Return the boxes of one picture."""
        rows = slice(int(self.starts[picture]), int(self.starts[picture + 1]))
        return Drawn(self.corners[rows], self.classes[rows], self.crowd[rows])

    @property
    def pictures(self) -> I64:
        """Return of which picture each box is: int64 (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, indices: Integer) -> Boxes:
        """Return the boxes of the pictures at `indices` (int (P,)), in that order."""
        lengths = np.diff(self.starts)[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(self.starts[indices], lengths)
        return Boxes(self.corners[rows], self.classes[rows], self.crowd[rows], starts, self.sizes[indices])

    def counts(self, classes: int) -> I64:
        """Return how many boxes each class has, int64 (K,); those of crowds are not counted."""
        return np.bincount(self.classes[~self.crowd], minlength=classes).astype(np.int64)


def nothing() -> Drawn:
    """Return the boxes of a picture without any."""
    return Drawn(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0, bool))
