"""The command `label`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.cli.options import AllowDownload, Cache, Json, Log
from beholder.cli.show import json_line, say
from beholder.machine.browser import opener


def label(
    folder: Annotated[
        str,
        typer.Argument(
            metavar="FOLDER",
            help="Pictures without labels: a folder, at any depth, or a zip or tar. It is only read.",
            show_default=False,
        ),
    ],
    *,
    classes: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="The classes, with commas between; a name with a comma in double quotes. Not needed to go on with labels.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path, typer.Option(help="The table to write, NAME.csv, or a new folder to copy into; it goes on with earlier labels.")
    ] = Path("labels.csv"),
    minutes: Annotated[
        float, typer.Option(help="What the features of the pictures may take; 0: as long as they need.", min=0)
    ] = 10.0,
    seed: Annotated[int, typer.Option(help="Seed of the random sample and of the clusters.", min=0)] = 0,
    port: Annotated[int, typer.Option(help="The port on this machine; 0: any that is free.", min=0, max=65535)] = 0,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Label pictures on a page in the browser, presorted by a head."""
    from beholder.study.label import label

    how: dict[str, Any] = {"minutes": minutes, "seed": seed, "port": port, "allow_download": allow_download}
    labelled = label(folder, classes=classes or (), out=out, ready=opener(browser), **how)
    say(json_line(labelled.json()) if json else labelled)
