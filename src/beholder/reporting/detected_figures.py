"""Tables and charts of a detector's report: classes, curves of precision and recall, confusion, calibration, training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beholder.evaluation.detected import DetectionEvaluation
from beholder.evaluation.detected_scores import SHOWN, DetectionScores, OfClass
from beholder.evaluation.detected_summary import FEW, SIZES
from beholder.evaluation.words import Words
from beholder.measure.detection_matching import IGNORED, RIGHT, Matches, matched
from beholder.reporting import charts
from beholder.reporting.context import TABLE_LIMIT
from beholder.reporting.tried import candidates as candidates

ROWS, CURVES, POINTS = 200, 12, 250
"""Classes in the table, charts of precision and recall, and points of each curve, at most."""

PAIRS = 8
"""Confusions that are listed."""

RARE = 20
"""Pictures with objects of a size below which nothing is claimed of that size."""


def classes(scores: DetectionScores) -> list[tuple[str, OfClass]]:
    """Return the classes in their order; where they are many, the weakest first and at most `ROWS`."""
    rows = list(scores.classes.items())
    return _weakest_first(rows)[:ROWS] if len(rows) > TABLE_LIMIT else rows


def _weakest_first(rows: Sequence[tuple[str, OfClass]]) -> list[tuple[str, OfClass]]:
    """Return classes by AP50, those without objects last."""
    return sorted(rows, key=lambda row: math.inf if math.isnan(row[1].ap50.value) else row[1].ap50.value)


def curves(evaluation: DetectionEvaluation, words: Words) -> list[dict[str, Any]]:
    """Return a chart of precision over recall for each class with objects, the weakest first where they are many."""
    scores = evaluation.scores
    matches = matched(evaluation.truth, evaluation.found, len(scores.classes), overlaps=(0.5,), sizes=("all",))
    rows = [row for row in scores.classes.items() if row[1].boxes]
    rows = _weakest_first(rows)[:CURVES] if len(rows) > CURVES else rows
    axes = (
        charts.Axis(words("boxes.recall"), 0, 1, percent=True),
        charts.Axis(words("boxes.precision"), 0, 1, percent=True),
    )
    made = []
    for name, of in rows:
        points = _curve(matches, evaluation.classes.index(name), of.boxes)
        drawn = [charts.Series(words("boxes.curve_name"), "first", points)]
        at = (of.rates.recall.value, of.rates.precision.value)
        if not any(map(math.isnan, at)):
            drawn.append(charts.Series(words("boxes.curve_point"), "second", [at, at], dots=True))
        share = words.percent(of.ap50.value)
        svg = charts.chart(words("boxes.curve_alt", label=name, share=share), drawn, *axes)
        title = words("boxes.curve_title", label=name, share=share)
        if svg is not None and len(points) > 1:
            made.append({"title": title, "curves": [], "svg": svg, "note": ""})
    return made


def _curve(matches: Matches, label: int, boxes: int) -> list[tuple[float, float]]:
    """Return (recall, precision) from the surest box of a class on, at most `POINTS`."""
    states = matches.states[matches.labels == label, 0, 0]
    right = states[states != IGNORED] == RIGHT
    hits = np.cumsum(right)
    points = np.stack([hits / boxes, hits / np.arange(1, len(hits) + 1)], 1)
    where = np.unique(np.linspace(0, len(points) - 1, min(len(points), POINTS)).astype(int))
    return [(float(a), float(b)) for a, b in points[where]]


Cell = tuple[int, float, bool]


def confusion(scores: DetectionScores, words: Words) -> list[tuple[str, list[Cell]]] | None:
    """Return per true class its name and cells: count, share of the row, whether right; None where the classes are many."""
    names = [*scores.classes, words("boxes.background")]
    if len(scores.classes) > TABLE_LIMIT:
        return None
    rows = []
    for row, (name, counts) in enumerate(zip(names, scores.confusion.tolist(), strict=True)):
        total = max(1, sum(counts))
        rows.append((name, [(n, n / total, column == row) for column, n in enumerate(counts)]))
    return rows


def pairs(scores: DetectionScores, words: Words) -> list[tuple[str, str, int]]:
    """Return the most frequent confusions: (true class, told class, how often), the background among them."""
    table, names = scores.confusion.copy(), [*scores.classes, words("boxes.background")]
    np.fill_diagonal(table, 0)
    cells = np.argsort(-table, axis=None, kind="stable")[:PAIRS].tolist()
    found = [(*divmod(cell, len(names)), int(table.flat[cell])) for cell in cells]
    return [(names[row], names[column], n) for row, column, n in found if n]


def calibration(scores: DetectionScores, words: Words) -> dict[str, Any] | None:
    """Return {"said", "chart"}: the reliability diagram of the scores; None where too few boxes were found."""
    points = [(float(row["certainty"]), float(row["right"]["value"])) for row in scores.bins]
    spans = [
        (float(row["certainty"]), float(row["right"]["low"]), float(row["right"]["high"]))
        for row in scores.bins
        if row["right"]["low"] is not None
    ]
    curve = charts.Series(words("boxes.calibration_title"), "first", points, spans)
    axes = (
        charts.Axis(words("boxes.calibration_score"), 0, 1, percent=True),
        charts.Axis(words("boxes.calibration_right"), 0, 1, percent=True),
    )
    svg = charts.chart(words("boxes.calibration_alt", n=len(points)), [curve], *axes, diagonal=True)
    if svg is None:
        return None
    note = words("calibration.diagonal")
    chart = {"title": words("calibration.diagram"), "curves": [], "svg": svg, "note": note}
    said = words("boxes.calibration_about", least=f"{SHOWN:g}", share=words.percent(scores.ece))
    return {"said": said, "chart": chart}


def training(history: Sequence[Mapping[str, Any]], words: Words) -> list[dict[str, Any]]:
    """Return charts of the loss and of the validation score over the steps of all phases together."""
    rows, before, last = [], 0.0, 0.0
    for row in history:
        step = float(row.get("step", 0))
        before += last if step < last else 0.0
        last = step
        rows.append({**row, "epoch": before + step})
    axis = charts.Axis(words("boxes.training_step"), whole=True)
    made: list[dict[str, Any]] = []
    for key, style in (("loss", "second"), ("valid_score", "first")):
        title = words("boxes.training_loss" if key == "loss" else "boxes.training_score")
        curve = charts.series(rows, key, title, style)
        if len(curve.points) > 1:
            ends = {"first": f"{curve.points[0][1]:.3g}", "last": f"{curve.points[-1][1]:.3g}"}
            svg = charts.chart(words("curves.alt", name=title, **ends), [curve], axis, charts.Axis(""))
            made.append({"title": title, "curves": [], "svg": svg, "note": ""})
    return made


def limits(evaluation: DetectionEvaluation, words: Words) -> list[str]:
    """Return what the detector must not be trusted for, in sentences."""
    scores = evaluation.scores
    names = _names(evaluation.classes, words)
    said = [words("boxes.limit_classes", names=names)]
    lost = 1 - scores.overall.recall.value
    if lost > 0:
        said.append(words("boxes.limit_all", share=words.percent(lost)))
        told = scores.overall.right + scores.overall.false
        said.append(words("boxes.limit_counting", told=told, true=scores.boxes))
    if not (np.diff(evaluation.truth.starts) == 0).any():
        said.append(words("boxes.limit_empty"))
    if sizes := [words(f"boxes.size_{size}") for size in SIZES if scores.headline[f"ap_{size}"].n < RARE]:
        said.append(words("boxes.limit_size", sizes=words("form.comma").join(sizes)))
    if few := [name for name, of in scores.classes.items() if of.boxes < FEW]:
        said.append(words("boxes.limit_few", names=_names(few, words), least=FEW))
    return [*said, words("boxes.limit_elsewhere")]


def _names(names: Sequence[str], words: Words) -> str:
    more = f" + {len(names) - 8}" if len(names) > 8 else ""
    return words("form.comma").join(names[:8]) + more
