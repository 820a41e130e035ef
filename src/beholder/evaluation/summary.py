"""The summary of a test: findings, weaknesses and next steps, from the scores and every section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beholder.base.brief import shown
from beholder.base.records import Score
from beholder.evaluation import verdict
from beholder.evaluation.remarks import remarks
from beholder.evaluation.words import Words
from beholder.measure.scores import Scores

ENGLISH = Words("en")


@dataclass(frozen=True)
class Summary:
    """Plain sentences, each list the most important first."""

    findings: list[str]
    weaknesses: list[str]
    advice: list[str]

    __repr__ = shown

    def json(self) -> dict[str, list[str]]:
        """Return {"findings", "weaknesses", "advice"}."""
        return {"findings": self.findings, "weaknesses": self.weaknesses, "advice": self.advice}


def summary(
    scores: Scores,
    sections: Mapping[str, Mapping[str, Any]],
    *,
    bad: int = 0,
    unleaked: Mapping[str, Score] | None = None,
    words: Words = ENGLISH,
) -> Summary:
    """Return what a test says to a reader in a hurry.

    bad: how many pictures could not be read; unleaked: the headline without pictures that have duplicates in other parts
    """
    foremost, *others = remarks(sections, words)  # what may make every score worthless comes before what follows from scores
    return Summary(
        [
            *verdict.findings(scores, words),
            *foremost.findings,
            *verdict.without_leaks(unleaked, words),
            *(sentence for one in others for sentence in one.findings),
        ],
        [
            *foremost.weaknesses,
            *verdict.weaknesses(scores, words),
            *(sentence for one in others for sentence in one.weaknesses),
        ],
        [
            *foremost.advice,
            *verdict.advice(scores, bad, words),
            *(sentence for one in others for sentence in one.advice),
            *verdict.last_advice(scores, words),
        ],
    )
