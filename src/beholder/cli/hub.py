"""The commands `push` and `pull`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.cli.options import Model
from beholder.cli.show import say

Name = Annotated[
    str, typer.Argument(metavar="OWNER/NAME", help="A model repository of the Hugging Face Hub.", show_default=False)
]


def push(
    model: Model,
    name: Name,
    *,
    public: Annotated[bool, typer.Option("--public", help="A new repository may be read by everybody.")] = False,
) -> None:
    """Send a bundle to the Hugging Face Hub, all but its report."""
    from beholder.bundle.hub import push

    say(push(model, name, public=public))


def pull(
    name: Name,
    *,
    out: Annotated[
        Path | None, typer.Option(help="The folder to write. Default: NAME.beholder in the current folder.", show_default=False)
    ] = None,
    revision: Annotated[str | None, typer.Option(help="A branch, tag or commit.", show_default=False)] = None,
) -> None:
    """Fetch a bundle from the Hugging Face Hub and verify it."""
    from beholder.bundle.hub import pull

    say(pull(name, out, revision=revision))
