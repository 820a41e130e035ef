"""What every part of the report is made from, and the limits that keep the file small."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beholder.base.errors import BeholderError
from beholder.data.audit import Findings
from beholder.measure.scores import Scores
from beholder.use import plots
from beholder.use.words import Words

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.use.evaluate import Evaluation

TABLE_LIMIT = 40
"""A confusion matrix is a table up to this many classes, a heat map and a list above."""

ROWS = 1000
"""Classes in the per-class table and bad pictures listed, at most: the file stays small whatever the source."""


@dataclass(frozen=True, eq=False)
class Room:
    """A bundle, what its test found, what the audit found (None where it is not at hand), and the words to say it in."""

    bundle: Bundle
    evaluation: Evaluation
    findings: Findings | None
    words: Words

    @property
    def scores(self) -> Scores:
        """Return the scores of the test."""
        return self.evaluation.scores

    @property
    def config(self) -> Mapping[str, Any]:
        """Return what the bundle records."""
        return self.bundle.config

    def section(self, name: str) -> Mapping[str, Any] | None:
        """Return what a section of `use.sections` found, if it was run."""
        found = self.evaluation.sections.get(name)
        return found or None

    def picture(self, index: int) -> str | None:
        """Return picture `index` of the test as a data URI, None where it cannot be read any more."""
        try:
            return plots.thumbnail(self.evaluation.thumbnail(index))
        except BeholderError:
            return None
