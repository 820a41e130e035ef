"""The command `settle`."""

from __future__ import annotations

from typing import Annotated

import typer

from beholder.cli.options import AcceptRisk, AllowDownload, For, Json, Model, Sensitivity, Source, Trust
from beholder.cli.show import json_line, say


def settle(
    model: Model,
    source: Source,
    *,
    accept_risk: AcceptRisk = None,
    sensitivity: Sensitivity = None,
    positive: For = None,
    coverage: Annotated[
        float | None, typer.Option(help="How often a set of classes shall hold the right one; 0: no sets.", show_default=False)
    ] = None,
    per_class: Annotated[
        bool | None, typer.Option("--per-class/--overall", help="The promise of --coverage for each class.", show_default=False)
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="The level at which --accept-risk and --sensitivity hold.", show_default=False)
    ] = None,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    json: Json = False,
) -> None:
    """Calibrate a bundle and choose when it abstains, on validation."""
    from beholder.study.settle import settle

    asked = {
        "accept_risk": accept_risk,
        "sensitivity": sensitivity,
        "positive": positive,
        "coverage": coverage,
        "per_class": per_class,
        "confidence": confidence,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    settled = settle(model, source, trust=trust, allow_download=allow_download, **given)
    say(json_line(settled.json()) if json else settled)
