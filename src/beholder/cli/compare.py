"""The command `compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.cli import complete
from beholder.cli.options import AllowDownload, Cache, Json, Part, Source, Trust
from beholder.cli.show import json_line, say, table


def compare(
    models: Annotated[
        list[Path],
        typer.Argument(
            metavar="MODEL...",
            help="Two bundles or more that know the same classes.",
            show_default=False,
            autocompletion=complete.models,
        ),
    ],
    source: Source,
    *,
    part: Annotated[
        Part, typer.Option(help="Which pictures of the source; those that a bundle learnt from are left out.")
    ] = Part.TEST,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Say which of several bundles is better on the same pictures."""
    from beholder.study.door import compare

    found = compare(models, source, part=part.value, allow_download=allow_download, trust=trust)
    if json:
        say(json_line(found.json()))
    else:
        table(found.rows())
        say(found)
