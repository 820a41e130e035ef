"""The report's section on a search: its history, score against cost, and which fields mattered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from beholder.reporting import charts
from beholder.reporting.context import Room

SHOWN = 50
"""Candidates that the table has a row for, the best first."""

TOLD = 0.005
"""Share from which on a field is told of."""


def search(room: Room) -> dict[str, Any] | None:
    """Return the candidates of a search, the best first, their figures, and the importance of fields; None without one.

    The rows are those of `study.tune`: trial, change, valid_score, screened, seconds, latency_ms, megabytes, reason.
    """
    found = room.config.search
    if not found:
        return None
    trials: Sequence[Mapping[str, Any]] = found["trials"]
    scored = sorted((row for row in trials if row["screened"] is not None), key=lambda row: row["trial"])
    importance = sorted(
        ((name, share) for name, share in found["importance"].items() if share >= TOLD), key=lambda row: -row[1]
    )
    return {
        "rows": trials[:SHOWN],
        "hidden": max(0, len(trials) - SHOWN),
        "total": len(trials),
        "failed": sum(bool(row["reason"]) for row in trials),
        "charts": [chart for chart in (_history(room, scored), _cost(room, scored)) if chart is not None],
        "importance": importance,
        "most": max((value for _, value in importance), default=1.0) or 1.0,
    }


def _history(room: Room, scored: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the scores of the screening by the number of the candidate, and the best so far."""
    words = room.words
    points = [(float(row["trial"]), float(row["screened"])) for row in scored]
    best = list(accumulate((value for _, value in points), max))
    curves = [
        charts.Series(words("search.best"), "first", [(at, value) for (at, _), value in zip(points, best, strict=True)]),
        charts.Series(words("search.each"), "second", points, dots=True),
    ]
    ends = words("search.history_alt", n=len(points), best=f"{max(best, default=0.0):.3f}")
    axes = charts.Axis(words("search.number"), whole=True), charts.Axis(words("tried.score"))
    return _figure(words("search.history"), charts.chart(ends, curves, *axes), curves)


def _cost(room: Room, scored: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Return the score of each candidate by the seconds that it took: after the screening, and of those that went on."""
    words = room.words
    went = [row for row in scored if row["valid_score"] is not None and row["went_on"]]
    rest = [row for row in scored if row["valid_score"] is not None and not row["went_on"]]
    curves = [
        charts.Series(words(f"search.{name}"), style, _points(rows), dots=True)
        for name, style, rows in (("went_on", "first", went), ("stopped", "second", rest))
    ]
    curves = [curve for curve in curves if curve.points]
    dearest = max((row["seconds"] for row in scored), default=0.0)
    alt = words("search.cost_alt", n=len(scored), seconds=f"{dearest:.0f}")
    axes = charts.Axis(words("search.seconds"), low=0.0), charts.Axis(words("tried.score"))
    return _figure(words("search.cost"), charts.chart(alt, curves, *axes), curves)


def _points(rows: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    return [(float(row["seconds"]), float(row["valid_score"])) for row in rows]


def _figure(title: str, svg: Any, curves: Sequence[charts.Series]) -> dict[str, Any] | None:
    return None if svg is None else {"title": title, "curves": curves, "svg": svg, "note": ""}
