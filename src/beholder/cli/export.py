"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.cli.options import Json, Model, Trust
from beholder.cli.show import json_line, say


def export(
    model: Model,
    *,
    to: Annotated[str, typer.Option(help="onnx.")] = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(
            help="A file of your own. Default: in the bundle, from where predict and serve use it.", show_default=False
        ),
    ] = None,
    trust: Trust = False,
    json: Json = False,
) -> None:
    """Write a bundle as one graph that runs without Beholder."""
    from beholder.bundle.bundle import load
    from beholder.bundle.export import export

    written = export(load(model, trust=trust), out, to=to)
    say(json_line(written.json()) if json else written)
