"""The model card of a detector."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from beholder.base.brief import listed
from beholder.bundle.finder import Config
from beholder.bundle.metadata import front


def card(config: Config, scores: Mapping[str, Any]) -> str:
    """Return README.md of a detector: what it finds, how well, and where it must not be trusted."""
    pixels, n = config.pixels, config.parts.get("train", 0)
    figures = [f"- {said}" for said in scores.get("said", ())]
    licence = config.initial_weights.licence if config.initial_weights else ""
    lines = [
        *front(
            "object-detection",
            config.net.backbone,
            scores,
            tags=(config.net.backbone,),
            initial=config.initial_weights,
            classes=len(config.classes),
        ),
        "# Object detector",
        "",
        f"Finds {listed(config.classes)} with boxes. Trained with Beholder on {n:,} pictures, which it sees at "
        f"{pixels.width} × {pixels.height} pixels.",
        "",
        "## Scores on the test part",
        "",
        *(figures or ["Nothing was measured."]),
        "",
        "## Limits",
        "",
        "Boxes that nobody drew in the training pictures are not found, or found and counted as wrong. A score is the share of "
        "such boxes that were right on validation pictures: on pictures of another kind it promises nothing.",
        "",
        f"Backbone: {config.net.backbone}{f', pretrained, licence {licence}' if licence else ''}.",
        "",
        "## Usage",
        "",
        "```python",
        "import beholder",
        "",
        'found = beholder.load("THIS-FOLDER")("picture.jpg")',
        "```",
    ]
    return "\n".join(lines) + "\n"
