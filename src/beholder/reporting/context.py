"""What every part of the report is made from, and the limits that keep the file small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from beholder.base.arrays import U8
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import BeholderError
from beholder.bundle.config import Config
from beholder.evaluation.words import Words
from beholder.measure.scores import Scores
from beholder.quality.audit import Findings
from beholder.reporting import charts

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.evaluation.evaluate import Evaluation

TABLE_LIMIT = 40
"""A confusion matrix is a table up to this many classes, a heat map and a list above."""

ROWS = 1000
"""Classes in the per-class table and bad pictures listed, at most: the file stays small whatever the source."""


@dataclass(frozen=True, eq=False)
class Room:
    """A bundle, what its test found, what the audit found (None where it is not at hand), the words to say it in, and when
    heat maps should be over.
    """

    bundle: Bundle
    evaluation: Evaluation
    findings: Findings | None
    words: Words
    until: Deadline = NEVER

    @property
    def scores(self) -> Scores:
        """Return the scores of the test."""
        return self.evaluation.scores

    @property
    def config(self) -> Config:
        """Return what the bundle records."""
        return self.bundle.config

    def section(self, name: str) -> Mapping[str, Any] | None:
        """Return what a section of `evaluation.sections` found, if it was run."""
        found = self.evaluation.sections.get(name)
        return found or None

    def picture(self, index: int, *, side: int = 160) -> str | None:
        """Return picture `index` of the test as a data URI, None where it cannot be read any more."""
        try:
            pixels = self.evaluation.thumbnail(index)
        except BeholderError:
            return None
        rows, columns = self.inside(pixels)
        return charts.thumbnail(pixels[:, rows, columns], side=side)

    def inside(self, pixels: U8) -> tuple[slice, slice]:
        """Return the rows and columns of uint8 (C, H, W) in which a picture lies that was padded to its size; else all."""
        policy = self.config.pixels
        if policy.fit != "pad":
            return slice(None), slice(None)
        empty = np.asarray(policy.background, np.uint8)[: len(pixels), None, None]
        filled = (pixels != empty).any(axis=0)
        rows, columns = np.flatnonzero(filled.any(axis=1)), np.flatnonzero(filled.any(axis=0))
        if not len(rows):
            return slice(None), slice(None)
        return slice(int(rows[0]), int(rows[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
