"""The command `look`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.base.files import page
from beholder.cli.options import AllowDownload, Cache, Json, Model, Trust
from beholder.cli.show import json_line, say
from beholder.machine.browser import opener


def look(
    model: Model,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option(help="Where to write the page: NAME.html.")] = Path("look.html"),
    label: Annotated[
        str | None,
        typer.Option(
            "--label",
            "--class",
            metavar="CLASS",
            help="The true class, from which a plain net learns in one step; of several labels with ; between. "
            "Default: the prediction.",
            show_default=False,
        ),
    ] = None,
    browser: Annotated[bool, typer.Option("--open/--no-open", help="Open the page in the browser.")] = True,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Show on one page how a picture goes through a net."""
    from beholder.bundle.door import load
    from beholder.explanation.look import look

    page(out)
    found = look(load(model, trust=trust), image, label=label, out=out, allow_download=allow_download)
    say(json_line({"path": str(out), **found.json()}) if json else out)
    if (show := opener(browser and not json)) is not None:
        show(out.resolve().as_uri())
