"""The model card, written from recorded facts."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from beholder.base.recipe import Recipe

FEW = 30
"""Below this many test pictures a class is called hardly tested."""


def text(config: Mapping[str, Any], scores: Mapping[str, Any], recipe: Recipe) -> str:
    """Return the bundle's README.md: what it recognises, how well, what it is bad at, for what it is meant, how to use it.

    scores: what scores.json holds (docs/SCORES.md); every figure and every sentence on quality comes from there.
    """
    classes = config["classes"]
    shown = ", ".join(f"`{name}`" for name in classes[:30]) + (f" and {len(classes) - 30} more" if len(classes) > 30 else "")
    pixels, parts = config["pixels"], config.get("parts", {})
    several = " (a picture may carry several)" if config["task"] == "multi" else ""
    lines = [
        "---",
        "library_name: beholder",
        "pipeline_tag: image-classification",
        "---",
        "# An image recogniser made with Beholder",
        "",
        f"It tells {len(classes)} classes apart{several}: {shown}.",
        "",
        "## How well",
        "",
        *_sentences(scores, "findings", ""),
        *_scores(scores),
        "",
        *_calibration(scores),
        *_listed("## What it is bad at", _sentences(scores, "weaknesses", "- ")),
        *_use(config, scores),
        "## From what",
        "",
        *(f"- {name}: {n} pictures" for name, n in parts.items()),
        f"- pixels: {pixels['width']}×{pixels['height']}, {pixels['channels']} channel(s), fit by {pixels['fit']}",
        f"- net: {config['net']['name']}, {config.get('parameters', 0):,} parameters",
        f"- recipe: {recipe.name}, seed {recipe.seed} (recipe.toml)",
        *(f"- {note}" for note in config.get("notes", [])),
        "",
        "## How to use it",
        "",
        "```python",
        "import beholder",
        'print(beholder.load("THIS-FOLDER")("picture.jpg"))',
        "```",
    ]
    return "\n".join(lines) + "\n"


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
            rows.append(
                f"| {name} | {before['value']:.4f} | {after['value']:.4f} | {after['low']:.4f} to {after['high']:.4f} |"
            )
    head = ["| calibration on the test part | before | after | 95 % interval of after |", "|---|---|---|---|"]
    return [*head, *rows, ""] if rows else []


def _use(config: Mapping[str, Any], scores: Mapping[str, Any]) -> list[str]:
    """Return what it is meant for and where that ends, from what was tested."""
    tested, kinds = scores.get("n", 0), len(config["classes"])
    few = [name for name, of in scores.get("classes", {}).items() if of.get("recall", {}).get("n", FEW) < FEW]
    rows = ["- Meant for pictures like those it was trained and tested on; of others these figures say nothing."]
    if config["task"] == "single" and "strangers" not in config:
        rows.append(f"- It always answers with one of its {kinds} classes.")
    rows.append(f"- Tested on {tested:,} pictures." if tested else "- Not tested: do not rely on it.")
    if few and tested:
        names = ", ".join(map(_plain, few[:10])) + (" and others" if len(few) > 10 else "")
        rows.append(f"- Hardly tested on {names}: fewer than {FEW} pictures each.")
    rows += _sentences(scores, "advice", "- ")
    return _listed("## Intended use and limits", rows)


def _scores(scores: Mapping[str, Any]) -> list[str]:
    rows = scores.get("scores", {})
    if not rows:
        return ["It has not been tested."]
    table = ["| score on the test part | value | 95 % interval | n |", "|---|---|---|---|"]
    for name, score in rows.items():
        if score["value"] is not None:
            table.append(f"| {name} | {score['value']:.3f} | {score['low']:.3f} to {score['high']:.3f} | {score['n']} |")
    return table
