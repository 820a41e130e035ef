"""The page of `shrink --curve`: accuracy against the share of the pictures that is kept, beside chance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from beholder.base.bidi import isolating
from beholder.base.files import write_atomic
from beholder.evaluation.remarks import score
from beholder.evaluation.words import Words
from beholder.reporting import charts as plots
from beholder.reporting.page import environment_of, read


def kept_page(path: Path, found: Mapping[str, Any], *, by: str, said: Sequence[str]) -> Path:
    """Write the curve as one HTML page that needs no network; return its path.

    found: as `study.kept.Kept.json` returns it; by: how the pictures were chosen; said: it in sentences
    Raises `MachineError` where it cannot be written.
    """
    rows = [{**row, **{name: score(row[name]) for name in ("score", "random", "gain")}} for row in found["points"]]
    html = (
        environment_of(Words("en"), isolating([]))
        .get_template("kept.html")
        .render(
            style=Markup(read("style.css")),
            said=said,
            notes=found["notes"],
            plot=_plot(found, rows, by),
            found=found,
            rows=rows,
            by=by,
            whole=score(found["whole"]["score"]),
        )
    )
    write_atomic(path, html.encode("utf-8", "replace"))
    return path


def _plot(found: Mapping[str, Any], rows: Sequence[Mapping[str, Any]], by: str) -> dict[str, Any] | None:
    """Return {"title", "curves", "svg", "note"}: the score against the share."""
    whole = score(found["whole"]["score"])

    def line(name: str, key: str, style: str) -> plots.Series:
        at = [(float(row["share"]), row[key]) for row in rows] + [(1.0, whole)]
        return plots.Series(name, style, [(x, s.value) for x, s in at], [(x, s.low, s.high) for x, s in at])

    shown = [line(by, "score", "first")] + [line("random", "random", "second")] * (by != "random")
    alt = "; ".join(f"{row['share']:.0%}: {by} {row['score'].short()}, random {row['random'].short()}" for row in rows)
    axis = plots.Axis("share of the pictures that is kept", low=0.0, high=1.0, percent=True)
    svg = plots.chart(f"{found['measure']}: {alt}", shown, axis, plots.Axis(found["measure"]))
    return None if svg is None else {"title": "Share kept", "curves": shown, "svg": svg, "note": ""}
