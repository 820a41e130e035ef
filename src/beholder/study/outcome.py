"""What one run of the six steps made, or a search: its bundle, what the test found, and what is said of both in a hurry."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from beholder.base.brief import within
from beholder.base.display import html
from beholder.base.recipe import Recipe
from beholder.base.sentences import sentence
from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation
from beholder.evaluation.summary import summary
from beholder.evaluation.verdict import sampled, unbeaten
from beholder.machine.folders import command


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one run made: the bundle (saved at `path` unless None), its evaluation on the test part, the seconds it took.

    example: what a person might give `predict` next; profile: where the time went, where that was asked for
    """

    bundle: Bundle
    evaluation: Evaluation
    path: Path | None
    seconds: float
    example: str = "PICTURE…"
    profile: dict[str, Any] | None = None

    def __repr__(self) -> str:
        return within("Outcome", [repr(self.bundle), repr(self.evaluation), f"{self.seconds:.0f} s"])

    _repr_html_ = html

    @property
    def clock(self) -> str:
        """Return what the clock did to the run, in a sentence; "" where it cut nothing."""
        return self.bundle.config.clock

    @property
    def floor(self) -> str:
        """Return by what the net is beaten that anybody has for little, in a sentence; "" where by nothing."""
        return unbeaten(self.bundle.config)

    @property
    def card(self) -> dict[str, str]:
        """Return the run in a hurry, those there are of: verdict to next."""
        tested = self.evaluation
        said = summary(tested.scores, tested.sections, bad=len(tested.bad), unleaked=tested.unleaked)
        rows = {
            "verdict": " ".join(said.findings),
            "weakest": " ".join(said.weaknesses[:2]),
            "floor": self.floor,
            "clock": self.clock,
            "test": sampled(len(tested.targets), tested.whole),
            "advice": said.advice[0] if said.advice else "",
        }
        if (expected := self.bundle.config.expected) is not None:
            rows["expected"] = sentence("expected", asdict(expected))
        if self.path is not None:
            rows["report"] = str(self.path / "report.html")
            rows["next"] = f"{command()} predict {shlex.quote(str(self.path))} {self.example}"
        return {heading: words for heading, words in rows.items() if words}

    def tried(self) -> list[dict[str, object]]:
        """Return what a run with a budget tried, as a table."""
        names = ("what", "score", "n", "seconds", "outcome")
        return [{name: getattr(row, name) for name in names} for row in self.bundle.config.tried]

    def json(self) -> dict[str, Any]:
        """Return {"bundle", "net", "seconds", "parts", "scores", "notes"} and, if any, "clock" with "minutes_needed", "floor",
        "tried", "expected" and "profile".
        """
        config = self.bundle.config
        return {
            **({"profile": self.profile} if self.profile else {}),
            **({"clock": self.clock, "minutes_needed": self.bundle.config.minutes_needed} if self.clock else {}),
            **({"floor": self.floor} if self.floor else {}),
            **({"tried": [asdict(row) for row in config.tried]} if config.tried else {}),
            **({"expected": asdict(config.expected)} if config.expected else {}),
            "bundle": str(self.path) if self.path is not None else None,
            "net": self.bundle.config.net.name,
            "seconds": round(self.seconds, 2),
            "parts": dict(self.bundle.config.parts),
            "scores": self.evaluation.json()["scores"],
            "notes": [*self.bundle.config.notes, *self.evaluation.notes],
        }

    def __str__(self) -> str:
        net = f"net {self.bundle.config.net.name}, {self.seconds:.0f} s in all"
        bundle = [f"bundle {self.path}"] if self.path is not None else []
        rows = self.card
        last = [f"report {rows.pop('report')}", "", f"next: {rows.pop('next')}"] if self.path is not None else []
        words = [f"{heading}: {text}" for heading, text in rows.items()]
        return "\n".join(["test part:", str(self.evaluation), "", *words, "", net, *bundle, *last])


@dataclass(frozen=True, eq=False)
class Tuning:
    """What a search found: one row per candidate, the winner's recipe, and the outcome of finishing it.

    journal: the file of the study, None where nothing was kept; importance: field → how much it matters, in 0..1
    """

    trials: list[dict[str, Any]]
    recipe: Recipe
    outcome: Outcome
    journal: Path | None
    importance: Mapping[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return within("Tuning", [f"{len(self.trials):,} trials", repr(self.recipe), repr(self.outcome)])

    def rows(self) -> list[dict[str, Any]]:
        """Return the trials as a table to read, the best first: what each changes of the recipe, or why it has no score."""
        shown = ("trial", "valid_score", "seconds", "latency_ms", "megabytes")
        return [{**{name: row[name] for name in shown}, "change": row["reason"] or row["change"]} for row in self.trials]

    def json(self) -> dict[str, Any]:
        """Return what `train` returns, "trials" and "importance"."""
        return {**self.outcome.json(), "trials": self.trials, "importance": dict(self.importance)}

    def __str__(self) -> str:
        return f"\nthe winner, which went on from its checkpoint:\n{self.outcome}"
