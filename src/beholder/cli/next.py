"""The command `next`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.cli.options import AllowDownload, Cache, Json, Log, Model, Trust
from beholder.cli.show import json_line, say


def next(
    model: Model,
    source: Annotated[
        str,
        typer.Argument(
            metavar="SOURCE",
            help="Pictures without labels: a folder, a zip or tar, or a pattern such as new/*.jpg; labels are not looked at.",
            show_default=False,
        ),
    ],
    *,
    n: Annotated[int, typer.Option("--n", "-n", help="How many pictures to offer.")] = 100,
    out: Annotated[
        Path, typer.Option(metavar="NAME.csv", help="The table to write, with a column label to fill in.", show_default=False)
    ],
    seed: Annotated[int, typer.Option(help="Seed of what is drawn by chance.", min=0)] = 0,
    trust: Trust = False,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Say which pictures without labels to label next."""
    from beholder.study.next import next

    found = next(model, source, n=n, out=out, seed=seed, trust=trust, allow_download=allow_download)
    say(json_line(found.json()) if json else found)
