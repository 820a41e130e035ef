"""The report's section on what a run with a budget tried: score against time, and what a test was to find of the best."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beholder.bundle.config import Tried
from beholder.evaluation.words import Words
from beholder.reporting import charts
from beholder.reporting.context import Room

STYLES = {"floor": "third", "head": "second", "short run": "second", "slice": "second", "training": "first", "seeds": "first"}


def tried(room: Room) -> dict[str, Any] | None:
    """Return the candidates as rows and as a figure, and a sentence on what the test was to find; None without a budget."""
    found = candidates(room.config.tried, room.words)
    return None if found is None else {**found, "expected": _expected(room)}


def candidates(rows: Sequence[Tried], words: Words) -> dict[str, Any] | None:
    """Return {"rows", "chart"} of what was tried; None where nothing was."""
    if not rows:
        return None
    lines = [(row, _points(row)) for row in rows]
    shown = [charts.Series(row.what, STYLES.get(row.rung, "first"), points) for row, points in lines if points]
    alt = words("form.semicolon").join(f"{line.name}: {line.points[-1][1]:.3f}" for line in shown)
    svg = charts.chart(alt, shown, charts.Axis(words("tried.seconds"), low=0.0), charts.Axis(words("tried.score")))
    chart = None if svg is None else {"title": words("tried.figure"), "curves": shown, "svg": svg, "note": ""}
    return {"rows": rows, "chart": chart}


def _points(row: Tried) -> list[tuple[float, float]]:
    """Return a candidate's scores over the seconds of the run: one that has a single score had it when it ended."""
    if len(row.curve) > 1 or row.score is None:
        return list(row.curve)
    ended = row.began + max(1.0, row.seconds)
    return [(row.began, row.score), (ended, row.score)]


def _expected(room: Room) -> str:
    found, words = room.config.expected, room.words
    if found is None:
        return ""
    scores = {name: f"{getattr(found, name):.3f}" for name in ("score", "value", "low", "high")}
    kind = "expected" if found.candidates > 1 else "expected_one"
    return words(f"tried.{kind}", n=found.n, tested=found.tested, candidates=found.candidates, **scores)
