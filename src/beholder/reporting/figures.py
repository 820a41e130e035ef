"""The report's sections on the scores: headline, learning curves, confusion matrix, per-class scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from beholder.base.bidi import isolated
from beholder.base.records import Score
from beholder.evaluation import verdict
from beholder.evaluation.words import Words
from beholder.measure.scores import Scores
from beholder.reporting import charts as plots
from beholder.reporting.cells import cells as cells_of
from beholder.reporting.context import ROWS, TABLE_LIMIT, Room

MOST_CELLS = 60_000
"""Cells of a large confusion matrix that can be read off one by one, the largest first: about a MB."""


def headline(room: Room) -> dict[str, Any]:
    """Return the scores over all pictures."""
    return {"headline": room.scores.headline, "ranges": room.scores.ranges}


def curves(room: Room) -> dict[str, Any] | None:
    """Return {"charts"}: title, curves, SVG of each figure that has something to show."""
    words, history = room.words, room.bundle.history
    loss = [
        plots.series(history, "loss", words("curves.training"), "second"),
        plots.series(history, "valid_loss", words("curves.validation"), "first"),
    ]
    score = [plots.series(history, "valid_score", words("curves.validation"), "first")]
    objective = room.config.objective
    title = words("curves.score") + (f": {words.named('score', objective)}" if objective else "")
    charts = [_curve(words("curves.loss"), loss, words), _curve(title, score, words)]
    drawn = [chart for chart in charts if chart is not None]
    return {"charts": drawn} if drawn else None


def _curve(title: str, given: Sequence[plots.Series], words: Words) -> dict[str, Any] | None:
    shown = [curve for curve in given if len(curve.points) > 1]
    ends = [(c.name, f"{c.points[0][1]:.3g}", f"{c.points[-1][1]:.3g}") for c in shown]
    told = words("form.semicolon").join(words("curves.alt", name=name, first=a, last=b) for name, a, b in ends)
    svg = plots.chart(f"{title}: {told}", shown, plots.Axis(words("curves.epoch"), whole=True), plots.Axis(""))
    return {"title": title, "curves": shown, "svg": svg, "note": ""} if svg is not None else None


def confusion(room: Room) -> dict[str, Any] | None:
    """Return {"matrix"} for a table, or {"heat", "names", "cells", "totals"} where the classes are many; and the pairs.

    {"pairs"}: the most frequent confusions, each with the name of its cell; {"opened"}: (row, column) → cell that opens
    """
    scores = room.scores
    if scores.confusion is None:
        return None
    opened, place = cells_of(room), {name: at for at, name in enumerate(scores.classes)}
    found = verdict.confusions(scores, 20)
    pairs = [(pair, opened.get((place[pair.truth], place[pair.guess]))) for pair in found]
    if len(scores.classes) <= TABLE_LIMIT:
        return {"matrix": _matrix(scores), "pairs": pairs, "heat": None, "opened": opened}
    table = scores.confusion
    rows, columns = np.nonzero(table)
    order = np.argsort(-table[rows, columns], kind="stable")[:MOST_CELLS]
    cells = np.stack([rows[order], columns[order], table[rows[order], columns[order]]], axis=1).tolist()
    return {
        "matrix": None,
        "heat": plots.heat_map(table),
        "names": [isolated(name) for name in scores.classes],
        "cells": cells,
        "totals": table.sum(axis=1).tolist(),
        "pairs": pairs,
        "opened": opened,
    }


def _matrix(scores: Scores) -> list[tuple[str, list[tuple[int, float, bool]]]]:
    """Return per true class its name and its cells: count, share of the row, whether it is the right one."""
    rows = []
    for index, (label, counts) in enumerate(zip(scores.classes, np.asarray(scores.confusion).tolist(), strict=True)):
        total = max(1, sum(counts))
        rows.append((label, [(count, count / total, column == index) for column, count in enumerate(counts)]))
    return rows


def classes(room: Room) -> dict[str, Any]:
    """Return the table of classes, and what each is most often taken for."""
    scores = room.scores
    return {
        "columns": _columns(scores),
        "rows": _rows(scores),
        "total": len(scores.classes),
        "hidden": max(0, len(scores.classes) - ROWS),
        "many": len(scores.classes) > TABLE_LIMIT,
        "taken": _taken(scores),
    }


def _columns(scores: Scores) -> list[str]:
    if scores.confusion is None:
        return ["average_precision", "recall", "specificity", "precision", "f1"]
    return ["recall", *(["specificity"] if len(scores.classes) == 2 else []), "precision", "f1"]


def _rows(scores: Scores) -> list[tuple[str, Mapping[str, Score]]]:
    """Return the classes for the table in their order; where they are many, the weakest first and at most `ROWS`."""
    rows = list(scores.classes.items())
    if len(rows) > TABLE_LIMIT:
        rows.sort(key=lambda row: (row[1]["recall"].value != row[1]["recall"].value, row[1]["recall"].value))
    return rows[:ROWS]


def _taken(scores: Scores) -> dict[str, list[tuple[str, int]]] | None:
    """Return class → the two classes it is most often taken for, with counts; None where the matrix says it plainly."""
    if scores.confusion is None or len(scores.classes) <= 5:
        return None
    wrong, names = scores.confusion.copy(), list(scores.classes)
    np.fill_diagonal(wrong, 0)
    found = {}
    for label, counts in zip(names, wrong, strict=True):
        best = np.argsort(-counts, kind="stable")[:2]
        found[label] = [(names[c], int(counts[c])) for c in best.tolist() if counts[c]]
    return found
