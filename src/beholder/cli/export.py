"""The command `export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.base.errors import UsageError
from beholder.base.files import check_writable
from beholder.cli import complete
from beholder.cli.options import AllowDownload, Cache, Json, Model, Trust
from beholder.cli.show import json_line, say

To = Annotated[
    str,
    typer.Option(
        metavar="onnx|openvino|torch",
        help="A graph of ONNX or OpenVINO, or a program of torch.export.",
        autocompletion=complete.exports,
    ),
]


def export(
    model: Model,
    *,
    to: To = "onnx",
    out: Annotated[
        Path | None,
        typer.Option(help="A file of your own. Default: in the bundle, where predict finds it.", show_default=False),
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(
            metavar="SOURCE",
            help="What it was trained on: the export is tried on its validation pictures. Default: pieces of two photographs.",
            show_default=False,
        ),
    ] = None,
    int8: Annotated[bool, typer.Option("--int8", help="8 bits, calibrated on training pictures of --like.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Half precision: half the size.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Write it even where too few pictures keep their label.")] = False,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Write a bundle in a form that runs without Beholder."""
    if int8 and fp16:
        raise UsageError("--int8 and --fp16 exclude each other", code="bad-value", hint="choose one of them")
    if out is not None:
        check_writable(out)
    from beholder.base.events import note
    from beholder.bundle.door import load
    from beholder.runtime.export import export

    precision = "int8" if int8 else "fp16" if fp16 else "fp32"
    how: dict[str, Any] = {"to": to, "precision": precision, "like": like, "force": force, "allow_download": allow_download}
    written = export(load(model, trust=trust), out, **how)
    say(json_line(written.json()) if json else written)
    if out is None and to == "onnx":
        note(f"the fastest engine here in float32: {_fastest(model, trust=trust)}")


def _fastest(model: Path, *, trust: bool) -> str:
    """Return what a bundle runs on fastest here."""
    from beholder.bundle.format import finds_boxes
    from beholder.runtime.engines import fastest
    from beholder.runtime.finders import fastest_finder

    return (fastest_finder if finds_boxes(model) else fastest)(model, trust=trust).engine
