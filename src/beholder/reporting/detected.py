"""The report on a detector: one self-contained HTML file with scores, curves, errors, and pictures with their boxes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from beholder.base.bidi import isolating
from beholder.base.files import write_atomic
from beholder.bundle.detector import Detector
from beholder.evaluation import detected_summary
from beholder.evaluation.detected import DetectionEvaluation
from beholder.evaluation.words import Words
from beholder.measure.detection_errors import ERRORS
from beholder.reporting import detected_figures as figures
from beholder.reporting.detected_pictures import Drawer
from beholder.reporting.page import environment_of, read

BAD = 200
"""Unreadable pictures that are listed at most."""

SECTIONS = ("scores", "pictures", "errors", "classes", "curves", "confusion", "calibration", "training", "limits", "about")


def detected_report(detector: Detector, evaluation: DetectionEvaluation, path: str | Path, lang: str = "en") -> Path:
    """Write the report as one HTML file of at most about 3 MB that needs no network; return its path.

    lang: en | zh. Raises `MachineError` where it cannot be written, `UsageError` for an unknown language.
    """
    path = Path(path)
    write_atomic(path, render(detector, evaluation, lang).encode("utf-8", "replace"))
    return path


def render(detector: Detector, evaluation: DetectionEvaluation, lang: str = "en") -> str:
    """Return the report as HTML text. Every name in it is escaped: class and file names come from outside."""
    words, scores = Words(lang), evaluation.scores
    said = detected_summary.summary(scores, bad=len(evaluation.bad), words=words)
    environment = environment_of(words, isolating(scores.classes))
    shown = {
        **{"title": Path(evaluation.source).name or evaluation.source, "style": Markup(read("style.css"))},
        **{"classes": scores.classes, "scores": scores, "sections": SECTIONS},
        **{"said": said.findings, "weaknesses": said.weaknesses, "advice": said.advice},
        **{"notes": (), "remarks": [words.said(note) for note in (*evaluation.notes, *detector.config.notes)]},
        "limits": figures.limits(evaluation, words),
        **_pictures(detector, evaluation, words),
        **_figures(detector, evaluation, words),
        **_about(detector, evaluation, words),
    }
    return environment.get_template("detected.html").render(shown)


def _pictures(detector: Detector, evaluation: DetectionEvaluation, words: Words) -> Mapping[str, Any]:
    """Return {"worst", "typical", "errors"}: pictures, and each kind of error with its count, gain and examples."""
    drawer = Drawer.of(evaluation, detector.policy, words)
    worst, typical = drawer.gallery()
    kinds = evaluation.scores.kinds
    total = max(1, sum(evaluation.scores.wrong.values()))
    errors = [
        {
            "name": words(f"boxes.kind_{kind}"),
            "means": words(f"boxes.means_{kind}"),
            "count": kinds.counts[kind],
            "share": kinds.counts[kind] / total,
            "gain": kinds.gains[kind],
            "examples": drawer.examples(kind),
        }
        for kind in ERRORS
    ]
    return {"worst": worst, "typical": typical, "errors": errors, "ap50": kinds.ap50}


def _figures(detector: Detector, evaluation: DetectionEvaluation, words: Words) -> Mapping[str, Any]:
    """Return the tables and charts."""
    return {
        "rows": figures.classes(evaluation.scores),
        "curves": figures.curves(evaluation, words),
        "matrix": figures.confusion(evaluation.scores, words),
        "pairs": figures.pairs(evaluation.scores, words),
        "calibration": figures.calibration(evaluation.scores, words),
        "training": figures.training(detector.history, words),
        "tried": figures.candidates(detector.config.tried, words),
    }


def _about(detector: Detector, evaluation: DetectionEvaluation, words: Words) -> Mapping[str, Any]:
    """Return what was tested, with what, and which pictures could not be read."""
    config, n = detector.config, evaluation.scores.n
    size = {"width": config.pixels.width, "height": config.pixels.height}
    run = {"train": config.parts.get("train", 0), "seconds": f"{config.seconds:.0f}"}
    return {
        "tested": words("boxes.tested", source=evaluation.source, n=n, seconds=f"{evaluation.each:.3f}"),
        "model": words("boxes.model", backbone=config.net.backbone, parameters=config.parameters, **size, **run),
        "clock": config.clock,
        "bad": evaluation.bad[:BAD],
        "bad_hidden": max(0, len(evaluation.bad) - BAD),
    }
