"""What a detector found in pictures: boxes with classes and scores, as numbers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Integer
from beholder.base.brief import within


class Detected(NamedTuple):
    """What was found in one picture.

    corners: float64 (n, 4), left, top, right, bottom in pixels, as in `beholder.base.boxes.Drawn`
    classes: int64 (n,); scores: float64 (n,), the higher the surer, mostly in 0..1
    """

    corners: F64
    classes: I64
    scores: F64


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in N pictures, M boxes in all; those of picture k are the rows starts[k] to starts[k + 1] - 1.

    corners: float64 (M, 4); classes: int64 (M,); scores: float64 (M,): as in `Detected`; starts: int64 (N + 1,)
    """

    corners: F64
    classes: I64
    scores: F64
    starts: I64

    @classmethod
    def of(cls, rows: Iterable[Detected]) -> Found:
        """Return the boxes of pictures one after another.

        >>> Found.of([Detected(np.zeros((2, 4)), np.zeros(2, int), np.ones(2)), nothing_found()])
        Found(2 in 2 pictures)
        """
        found = list(rows)
        starts = np.concatenate([[0], np.cumsum([len(row.classes) for row in found])]).astype(np.int64)
        corners = np.concatenate([np.zeros((0, 4)), *(np.reshape(row.corners, (-1, 4)) for row in found)]).astype(np.float64)
        classes = np.concatenate([np.zeros(0, np.int64), *(row.classes for row in found)]).astype(np.int64)
        scores = np.concatenate([np.zeros(0), *(row.scores for row in found)]).astype(np.float64)
        return cls(corners, classes, scores, starts)

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __repr__(self) -> str:
        return within("Found", [f"{len(self.classes):,} in {len(self):,} pictures"])

    def __getitem__(self, picture: int) -> Detected:
        """Return what was found in one picture."""
        rows = slice(int(self.starts[picture]), int(self.starts[picture + 1]))
        return Detected(self.corners[rows], self.classes[rows], self.scores[rows])

    @property
    def pictures(self) -> I64:
        """Return of which picture each box is: int64 (M,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))

    def take(self, indices: Integer) -> Found:
        """Return what was found in the pictures at `indices` (int (P,)), in that order."""
        lengths = np.diff(self.starts)[indices]
        starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        rows = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths) + np.repeat(self.starts[indices], lengths)
        return Found(self.corners[rows], self.classes[rows], self.scores[rows], starts)

    def above(self, thresholds: npt.ArrayLike) -> Found:
        """Return the boxes whose score reaches the threshold of their class; thresholds: float (K,), or one for all."""
        least = np.asarray(thresholds, np.float64)
        keep = self.scores >= (least[self.classes] if least.ndim else least)
        starts = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)[self.starts]
        return Found(self.corners[keep], self.classes[keep], self.scores[keep], starts)


def nothing_found() -> Detected:
    """Return what was found in a picture where nothing was."""
    return Detected(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
