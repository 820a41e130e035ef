"""The report in a hurry: what was found, what it is bad at, what to do next; from the scores and from every section."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beholder.base.records import Score
from beholder.measure.scores import Scores
from beholder.use import verdict
from beholder.use.remarks import remarks
from beholder.use.words import Words

ENGLISH = Words("en")


@dataclass(frozen=True)
class Summary:
    """Plain sentences, each list the most important first."""

    findings: list[str]
    weaknesses: list[str]
    advice: list[str]

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

    bad: how many pictures could not be read; unleaked: the headline without pictures that have twins in other parts
    """
    said = remarks(sections, words)
    return Summary(
        [*verdict.findings(scores, words), *verdict.without_leaks(unleaked, words), *(s for r in said for s in r.findings)],
        [*verdict.weaknesses(scores, words), *(s for r in said for s in r.weaknesses)],
        [*verdict.advice(scores, bad, words), *(s for r in said for s in r.advice), *verdict.last_advice(scores, words)],
    )
