"""The command `calibrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from beholder.cli.options import AllowDownload, Cache, Json, Model, Positive, Sensitivity, Source, TargetRisk, Trust
from beholder.cli.show import json_line, say


def calibrate(
    model: Model,
    source: Source,
    *,
    target_risk: TargetRisk = None,
    sensitivity: Sensitivity = None,
    positive: Positive = None,
    coverage: Annotated[
        float | None,
        typer.Option(help="Coverage of the prediction sets; 0: none.", show_default=False),
    ] = None,
    per_class: Annotated[
        bool | None, typer.Option("--per-class/--overall", help="The promise of --coverage for each class.", show_default=False)
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(help="The level at which --target-risk and --sensitivity hold.", show_default=False)
    ] = None,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Calibrate a bundle and choose when it abstains, on validation."""
    from beholder.study.calibrate import calibrate

    asked = {
        "target_risk": target_risk,
        "sensitivity": sensitivity,
        "positive": positive,
        "coverage": coverage,
        "per_class": per_class,
        "confidence": confidence,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    calibrated = calibrate(model, source, trust=trust, allow_download=allow_download, **given)
    say(json_line(calibrated.json()) if json else calibrated)
