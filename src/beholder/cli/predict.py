"""The command `predict`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.base.errors import UsageError
from beholder.base.limits import MILLIONS, allow
from beholder.cli.detect import Draw, MaxBoxes, Threshold, check_read, each, few, finds, predict_boxes, unused
from beholder.cli.options import AllowDownload, Cache, Engine, Model, PartsFolder, Ranges, Spread, Trust
from beholder.cli.show import json_line, on_terminal, print_csv, print_lines, print_table, say


def predict(
    model: Model,
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Pictures, folders, archives, or - for paths on stdin.", show_default=False),
    ],
    *,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print path,label,p,error,… as CSV instead of JSON lines.")] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print JSON lines on a terminal too; with --parts, one object of counts.")
    ] = False,
    parts: PartsFolder = None,
    launch: Spread = "",
    ranges: Ranges = 0,
    features: Annotated[bool, typer.Option("--features", help="With --parts: a column of the net's features too.")] = False,
    threshold: Threshold = None,
    max_boxes: MaxBoxes = None,
    draw: Draw = None,
    engine: Engine = "exact",
    pixels: Annotated[int, typer.Option(help="Millions of pixels of one picture, at most.", min=1, max=4000)] = MILLIONS,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
) -> None:
    """Print a JSON line a picture; on a terminal, a table."""
    if pixels != MILLIONS:
        allow(pixels)
    how: dict[str, Any] = {"json": json, "engine": engine, "trust": trust, "allow_download": allow_download}
    if parts is not None:
        unused_in_parts(as_csv=as_csv, draw=draw)
        how |= {"threshold": threshold, "most": max_boxes}
        told_parts(model, paths, parts, launch=launch, ranges=ranges, features=features, **how)
        return
    for_parts(launch=launch, ranges=ranges, features=features)
    if finds(model):
        predict_boxes(model, paths, as_csv=as_csv, threshold=threshold, most=max_boxes, draw=draw, **how)
        return
    unused(threshold=threshold, max_boxes=max_boxes, draw=draw)
    told_labels(model, paths, as_csv=as_csv, **how)


def told_labels(
    model: Path, paths: list[str], *, as_csv: bool, json: bool, engine: str, trust: bool, allow_download: bool
) -> None:
    """Print what a model of labels says of pictures."""
    from beholder.base import events
    from beholder.evaluation.predict import predict
    from beholder.runtime.engines import fastest

    recogniser = fastest(model, engine=engine, trust=trust, probe=not few(paths))
    events.note(f"engine: {recogniser.engine}")
    lines = predict(recogniser, each(paths), allow_download=allow_download)
    plain = json or not on_terminal()
    check_read(*(print_csv(lines) if as_csv else print_lines(lines) if plain else print_table(lines)))


def told_parts(model: Path, paths: list[str], parts: Path, *, json: bool, **how: Any) -> None:
    """Write Parquet parts of what a model says of pictures, and print how many there are."""
    from beholder.study.ranges import predict_parts

    source: Any = paths[0] if len(paths) == 1 and paths[0] != "-" else each(paths)
    found = predict_parts(model, source, parts, **how)
    say(json_line(found.json()) if json else found)
    check_read(found.answered, found.pictures - found.answered)


def for_parts(**options: object) -> None:
    """Raise `UsageError` (unused-option) for options of parts that were given without --parts."""
    given = [f"--{name}" for name, value in options.items() if value]
    if given:
        hint = "name the folder of the parts: --parts FOLDER"
        raise UsageError(f"{', '.join(given)} is for --parts", code="unused-option", hint=hint)


def unused_in_parts(*, as_csv: bool, draw: Path | None) -> None:
    """Raise `UsageError` (unused-option) for options that parts have no use for."""
    given = ["--csv"] * as_csv + ["--draw"] * (draw is not None)
    if given:
        raise UsageError(f"{', '.join(given)} cannot be with --parts", code="unused-option", hint="leave it out")
