"""The report: one self-contained HTML file that says what was found, shows the mistakes, and tells how to do it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import BeholderError
from beholder.base.files import write_atomic
from beholder.base.records import Score
from beholder.data.audit import Findings
from beholder.measure.scores import Scores
from beholder.use import audited, plots, verdict

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.use.evaluate import Evaluation

TABLE_LIMIT = 40
"""A confusion matrix is a table up to this many classes, a heat map and a list above."""
MISTAKES = 24
ROWS = 1000
"""Classes in the per-class table and bad pictures listed, at most: the file stays small whatever the source."""

ARRAYS = "arrays"
"""What a source in memory is called: it has no name of its own and cannot stand in a command."""

ABOUT = {
    "accuracy": ("Accuracy", "pictures named correctly"),
    "top5": ("Top 5", "the right class is among the five most probable"),
    "macro_f1": ("Macro F1", "balance of finding and not confusing, every class counting the same"),
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' recall, every class counting the same"),
    "map": ("Mean average precision", "how well pictures with a class are ranked before those without"),
    "micro_f1": ("Micro F1", "balance of finding and not confusing, every decision counting the same"),
    "recall": ("Recall", "found, of the pictures of the class (sensitivity)"),
    "specificity": ("Specificity", "left alone, of the pictures not of the class"),
    "precision": ("Precision", "right, of the guesses of the class"),
    "f1": ("F1", "harmonic mean of recall and precision"),
    "average_precision": ("Average precision", "how well pictures with the class are ranked before those without"),
}


@dataclass(frozen=True)
class Mistake:
    """One wrongly recognised picture: a data URI (None where it cannot be read any more), its key and what happened."""

    image: str | None
    key: str
    truth: str
    guess: str
    p: float


def report(bundle: Bundle, evaluation: Evaluation, path: str | Path, *, findings: Findings | None = None) -> Path:
    """Write the report as one HTML file of at most a few MB that needs no network; return its path.

    findings: what the audit found, to be shown with its pictures. Raises `MachineError` where it cannot be written.
    """
    path = Path(path)
    # A file name that is not Unicode must not cost the report: such characters become question marks.
    write_atomic(path, render(bundle, evaluation, findings).encode("utf-8", "replace"))
    return path


def render(bundle: Bundle, evaluation: Evaluation, findings: Findings | None = None) -> str:
    """Return the report as HTML text. Every name in it is escaped: class and file names come from strangers."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=verdict.percent, between=verdict.between, cut=_cut)
    template = environment.from_string(files("beholder.use").joinpath("report.html").read_text("utf-8"))
    scores, config = evaluation.scores, bundle.config
    return template.render(
        title=_title(bundle, evaluation.source),
        source=evaluation.source,
        scores=scores,
        about=ABOUT,
        findings=verdict.findings(scores),
        advice=verdict.advice(scores, len(evaluation.bad)),
        charts=_charts(bundle.history),
        matrix=_matrix(scores) if len(scores.classes) <= TABLE_LIMIT else None,
        heat=plots.heat_map(scores.confusion) if scores.confusion is not None and len(scores.classes) > TABLE_LIMIT else None,
        confusions=verdict.confusions(scores, 20),
        columns=_columns(scores),
        rows=_rows(scores),
        hidden=max(0, len(scores.classes) - ROWS),
        mistakes=_mistakes(evaluation, list(scores.classes), config),
        bad=evaluation.bad[:ROWS],
        bad_hidden=max(0, len(evaluation.bad) - ROWS),
        seconds=evaluation.seconds,
        parts=config.get("parts", {}),
        notes=[*evaluation.notes, *scores.notes, *config.get("notes", [])],
        audit=audited.section(findings, config.get("audit")),
        profile=config.get("profile"),
        facts=_facts(config),
        recipe=bundle.recipe.toml(),
        commands=_commands(bundle, evaluation.source),
    )


def _title(bundle: Bundle, source: str) -> str:
    if source == ARRAYS:
        return bundle.path.stem if bundle.path else "Pictures"
    return Path(source).name or source


def _charts(history: Sequence[Mapping[str, Any]]) -> list[tuple[str, list[plots.Series], object]]:
    """Return (title, curves, SVG) of each figure that has something to show."""
    wanted = [
        (
            "Loss",
            [plots.series(history, "loss", "training", "second"), plots.series(history, "valid_loss", "validation", "first")],
        ),
        ("Score on the validation part", [plots.series(history, "valid_score", "validation", "first")]),
    ]
    drawn = [(title, [c for c in curves if len(c.points) > 1], plots.chart(title, curves)) for title, curves in wanted]
    return [figure for figure in drawn if figure[2] is not None]


def _matrix(scores: Scores) -> list[tuple[str, list[tuple[int, float, bool]]]] | None:
    """Return per true class its name and its cells: count, share of the row, whether it is the right one."""
    if scores.confusion is None:
        return None
    rows = []
    for index, (label, counts) in enumerate(zip(scores.classes, scores.confusion.tolist(), strict=True)):
        total = max(1, sum(counts))
        rows.append((label, [(count, count / total, column == index) for column, count in enumerate(counts)]))
    return rows


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


def _mistakes(evaluation: Evaluation, classes: Sequence[str], config: Mapping[str, Any]) -> list[Mistake]:
    p, targets = np.asarray(evaluation.probabilities, np.float64), np.asarray(evaluation.targets)
    if targets.ndim == 2:
        return _mistakes_multi(evaluation, p, targets, classes, config)
    guesses = p.argmax(axis=1) if len(p) else np.zeros(0, np.int64)
    wrong = np.flatnonzero(guesses != targets)
    worst = wrong[np.argsort(p[wrong, targets[wrong]], kind="stable")][:MISTAKES]
    return [
        Mistake(_picture(evaluation, i), evaluation.keys[i], classes[targets[i]], classes[guesses[i]], float(p[i, guesses[i]]))
        for i in worst.tolist()
    ]


def _mistakes_multi(
    evaluation: Evaluation,
    p: npt.NDArray[np.float64],
    targets: npt.NDArray[np.generic],
    classes: Sequence[str],
    config: Mapping[str, Any],
) -> list[Mistake]:
    """Return the pictures with the most confidently wrong decision; `p` is then the probability of that class."""
    truth = targets != 0
    wrong = (p >= np.asarray(config.get("thresholds", 0.5), np.float64)) != truth
    badness = np.where(wrong, np.abs(p - truth), -1.0)
    order = np.argsort(-badness.max(axis=1, initial=-1.0), kind="stable")
    found = []
    for i in [i for i in order[:MISTAKES].tolist() if wrong[i].any()]:
        k = int(badness[i].argmax())
        has = "; ".join(label for label, yes in zip(classes, truth[i], strict=True) if yes) or "none of the classes"
        saw = f"“{classes[k]}” {'missed' if truth[i, k] else 'seen'}"
        found.append(Mistake(_picture(evaluation, i), evaluation.keys[i], has, saw, float(p[i, k])))
    return found


def _picture(evaluation: Evaluation, index: int) -> str | None:
    try:
        return plots.thumbnail(evaluation.thumbnail(index))
    except BeholderError:
        return None


def _facts(config: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return (heading, [(name, value)]) of what the bundle records of pixels, net and machine."""
    tables = [("Pixels", config.get("pixels", {})), ("Net", config.get("net", {})), ("Machine", config.get("machine", {}))]
    tables[2] = ("Machine", {"beholder": config.get("version", "?"), **tables[2][1]})
    return [(heading, list(_flat(values))) for heading, values in tables]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += _flat(value, f"{prefix}{name}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)
            rows.append((f"{prefix}{name}", text))
    return rows


def _commands(bundle: Bundle, source: str) -> list[str]:
    name = shlex.quote(bundle.path.name if bundle.path else "MODEL.beholder")
    where = "SOURCE" if source == ARRAYS else shlex.quote(source)
    return [
        f"beholder train {where} --recipe {name}/recipe.toml --out AGAIN.beholder",
        f"beholder evaluate {name} {where} --report report.html",
    ]


def _cut(text: str, most: int = 60) -> str:
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-most // 2 + 1 :]}"
