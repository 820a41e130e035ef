"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.base.limits import MILLIONS, allow
from beholder.cli.detect import Draw, MaxBoxes, Threshold, check_read, each, few, finds, predict_boxes, unused
from beholder.cli.options import Cache, Engine, Model, Trust
from beholder.cli.show import on_terminal, print_csv, print_lines, print_table


def predict(
    model: Model,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Pictures, folders of pictures, or - for paths on stdin.", show_default=False),
    ],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print path,label,p,error,… as CSV instead of JSON lines.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines on a terminal too.")] = False,
    threshold: Threshold = None,
    max_boxes: MaxBoxes = None,
    draw: Draw = None,
    engine: Engine = "exact",
    pixels: Annotated[int, typer.Option(help="Millions of pixels of one picture, at most.", min=1, max=4000)] = MILLIONS,
    trust: Trust = False,
    cache: Cache = None,
) -> None:
    """Print a JSON line a picture; on a terminal, a table."""
    if pixels != MILLIONS:
        allow(pixels)
    if finds(model):
        predict_boxes(
            model, paths, as_csv=as_csv, json=json, threshold=threshold, most=max_boxes, draw=draw, engine=engine, trust=trust
        )
        return
    unused(threshold=threshold, max_boxes=max_boxes, draw=draw)
    told_labels(model, paths, as_csv=as_csv, json=json, engine=engine, trust=trust)


def told_labels(model: Path, paths: list[str], *, as_csv: bool, json: bool, engine: str, trust: bool) -> None:
    """Print what a model of labels says of pictures."""
    from beholder.base import events
    from beholder.evaluation.predict import predict
    from beholder.runtime.engines import fastest

    recogniser = fastest(model, engine=engine, trust=trust, probe=not few(paths))
    events.note(f"engine: {recogniser.engine}")
    lines = predict(recogniser, each(paths))
    plain = json or not on_terminal()
    check_read(*(print_csv(lines) if as_csv else print_lines(lines) if plain else print_table(lines)))
