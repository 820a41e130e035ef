"""The page of a learning curve: what it says, its plot, and its tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from beholder.base.bidi import isolating
from beholder.base.files import write_atomic
from beholder.base.records import Score
from beholder.evaluation.words import Words
from beholder.reporting import charts as plots
from beholder.reporting.page import environment_of, read

Band = Sequence[tuple[float, float, float, float]]


def growth(path: Path, found: Mapping[str, Any], *, said: Sequence[str], band: Band) -> Path:
    """Write a learning curve as one HTML page that needs no network; return its path.

    found: as `Curve.json` returns it; said: it in sentences; band: (pictures, value, low, high) along the fitted law
    Raises `MachineError` where it cannot be written.
    """
    environment = environment_of(Words("en"), isolating([row["class"] for row in found["classes"]]))
    tables = {name: [_scores(row) for row in found[name]] for name in ("points", "expected", "classes")}
    html = environment.get_template("growth.html").render(
        style=Markup(read("style.css")), said=said, plot=_plot(found, band), found=found, notes=found["notes"], **tables
    )
    write_atomic(path, html.encode("utf-8", "replace"))
    return path


def _scores(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row with its scores as `Score`."""
    return {key: _score(value) if isinstance(value, Mapping) else value for key, value in row.items()}


def _score(found: Mapping[str, Any]) -> Score:
    value, low, high = (np.nan if found[name] is None else float(found[name]) for name in ("value", "low", "high"))
    return Score(value, low, high, int(found["n"]))


def _plot(found: Mapping[str, Any], band: Band) -> dict[str, Any] | None:
    """Return {"title", "curves", "svg", "note"}: the score against doublings of the pictures."""
    rows = [(row["pictures"], _score(row["score"])) for row in (*found["points"], *found["expected"])]
    count = len(found["points"])
    last = rows[count - 1][0]

    def dots(name: str, style: str, some: Sequence[tuple[int, Score]]) -> plots.Series:
        at = [(float(np.log2(n / last)), score) for n, score in some]
        return plots.Series(name, style, [(x, s.value) for x, s in at], [(x, s.low, s.high) for x, s in at], dots=True)

    line = [(float(np.log2(n / last)), value, low, high) for n, value, low, high in band]
    law = plots.Series(
        "fitted power law", "third", [(x, v) for x, v, _, _ in line], [(x, a, b) for x, _, a, b in line], band=True
    )
    shown = [law, dots("measured", "first", rows[:count]), dots("expected", "second", rows[count:])]
    alt = "; ".join(f"{n:,} pictures: {score.short()}" for n, score in rows)
    axis = plots.Axis("pictures to learn from", whole=True, doubled=last)
    svg = plots.chart(f"{found['measure']}: {alt}", shown, axis, plots.Axis(found["measure"]))
    return None if svg is None else {"title": "Learning curve", "curves": shown, "svg": svg, "note": ""}
