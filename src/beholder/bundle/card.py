"""The model card, written from recorded facts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.base.recipe import Recipe


def text(config: Mapping[str, Any], scores: Mapping[str, Any], recipe: Recipe) -> str:
    """Return the bundle's README.md: what it recognises, how well, from which pictures, how to use it."""
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
        *_scores(scores),
        "",
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
        "",
        "It has been tested on pictures like those it was trained on; of others these figures say nothing.",
    ]
    return "\n".join(lines) + "\n"


def _scores(scores: Mapping[str, Any]) -> list[str]:
    rows = scores.get("scores", {})
    if not rows:
        return ["It has not been tested."]
    table = ["| score on the test part | value | 95 % interval | n |", "|---|---|---|---|"]
    for name, score in rows.items():
        if score["value"] is not None:
            table.append(f"| {name} | {score['value']:.3f} | {score['low']:.3f} to {score['high']:.3f} | {score['n']} |")
    return table
