"""The model card, written from recorded facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from beholder.base.bidi import isolating
from beholder.base.recipe import Recipe
from beholder.bundle.config import Config
from beholder.bundle.metadata import front
from beholder.nets.spec import Initial
from beholder.tasks import named

FEW = 30
"""A class of fewer test pictures is named."""


def text(config: Config, scores: Mapping[str, Any], recipe: Recipe) -> str:
    """Return the bundle's README.md: the model, its evaluation, calibration, limits, training and usage.

    scores: what scores.json holds (docs/SCORES.md); every figure and every sentence on quality comes from there.
    """
    classes, task = config.classes, named(config.task)
    shown = ", ".join(map(_quoted, classes[:30])) + (f" and {len(classes) - 30} more" if len(classes) > 30 else "")
    several = " (a picture may have several)" if task.several else ""
    lines = [
        "# Image classifier",
        "",
        f"A model trained with Beholder for {len(classes)} classes{several}: {shown}.",
        "",
        "## Evaluation",
        "",
        *_sentences(scores, "findings", ""),
        *_scores(scores),
        "",
        *_listed("## Calibration", _calibration(scores)),
        *_listed("## Weaknesses", _sentences(scores, "weaknesses", "- ")),
        *_listed("## Intended use and limitations", _use(config, scores)),
        *_listed("## Training", _training(config, recipe)),
        "## Usage",
        "",
        "```python",
        "import beholder",
        "",
        'print(beholder.load("THIS-FOLDER")("picture.jpg"))',
        "```",
    ]
    name, tags, n = config.net.name, (config.task, config.net.name), len(classes)
    head = front("image-classification", name, scores, tags=tags, initial=config.initial_weights, classes=n)
    return "\n".join([*head, *map(isolating(classes), lines)]) + "\n"


def _quoted(name: str) -> str:
    """Return a class as code, or as text where it could end the code."""
    return _plain(name) if "`" in name or "\n" in name else f"`{name}`"


def _training(config: Config, recipe: Recipe) -> list[str]:
    """Return what the model was trained from: pictures, pixels, net, initial weights, recipe."""
    pixels = config.pixels
    return [
        *(f"- {name}: {n:,} pictures" for name, n in config.parts.items()),
        f"- input: {pixels.width}×{pixels.height} pixels, {pixels.channels} channel(s), fit by {pixels.fit}",
        f"- network: {config.net.name}, {config.parameters:,} parameters",
        *_initial(config.initial_weights),
        f"- recipe: {recipe.name}, seed {recipe.seed} (recipe.toml)",
        *(f"- {note}" for note in config.notes),
    ]


def _initial(found: Initial | None) -> list[str]:
    """Return which pretrained weights training began with, and their licence: it may bind those who redistribute the model."""
    if found is None:
        return []
    licence = f"licence {_plain(found.licence)}" if found.licence else "licence not stated"
    return [f"- initial weights: {_plain(found.source)}, {licence}, SHA-256 `{found.sha256}`"]


def _sentences(scores: Mapping[str, Any], kind: str, mark: str) -> list[str]:
    """Return the sentences that scores.json holds of a kind, each as a line (a list where `mark` is "- ")."""
    said = [f"{mark}{_plain(sentence)}" for sentence in scores.get("summary", {}).get(kind, [])]
    return said if mark or not said else [" ".join(said), ""]


def _plain(sentence: str) -> str:
    """Return a sentence in which no name of a class can act as Markdown or HTML."""
    return re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", " ".join(sentence.split()))


def _listed(heading: str, rows: list[str]) -> list[str]:
    return [heading, "", *rows, ""] if rows else []


def _calibration(scores: Mapping[str, Any]) -> list[str]:
    """Return a table of what calibration did, where the test looked into it."""
    found = scores.get("sections", {}).get("calibration", {})
    rows = []
    for name in ("ece", "brier", "nll"):
        before, after = (found.get(side, {}).get(name, {}) for side in ("before", "after"))
        if before.get("value") is not None and after.get("value") is not None:
            rows.append(f"| {name} | {before['value']:.4f} | {after['value']:.4f} | {_between(after, 4)} |")
    head = ["| error on the test part | before calibration | after | 95 % interval of after |", "|---|---|---|---|"]
    return [*head, *rows] if rows else []


def _use(config: Config, scores: Mapping[str, Any]) -> list[str]:
    """Return what it is meant for and where that ends, from what was tested."""
    tested = scores.get("n", 0)
    few = [name for name, of in scores.get("classes", {}).items() if of.get("recall", {}).get("n", FEW) < FEW]
    rows = ["- For pictures like those it was trained and tested on; these figures say nothing about others."]
    if not named(config.task).several and config.ood is None:
        rows.append(f"- Without out-of-distribution detection: every picture gets one of the {len(config.classes)} classes.")
    rows.append(f"- Tested on {tested:,} pictures." if tested else "- Not tested: do not rely on it.")
    if few and tested:
        names = ", ".join(map(_plain, few[:10])) + (" and others" if len(few) > 10 else "")
        rows.append(f"- Fewer than {FEW} test pictures each: {names}.")
    return rows + _sentences(scores, "advice", "- ")


def _scores(scores: Mapping[str, Any]) -> list[str]:
    rows = scores.get("scores", {})
    if not rows:
        return ["Not tested."]
    table = ["| score on the test part | value | 95 % interval | n |", "|---|---|---|---|"]
    for name, score in rows.items():
        if score["value"] is not None:
            table.append(f"| {name} | {score['value']:.3f} | {_between(score, 3)} | {score['n']} |")
    return table


def _between(score: Mapping[str, Any], digits: int) -> str:
    """Return the interval of a score as text; of too few groups there is none."""
    if score["low"] is None or score["high"] is None:
        return "not estimable"
    return f"{score['low']:.{digits}f} to {score['high']:.{digits}f}"
