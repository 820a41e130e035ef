"""The command `explain`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.cli import complete
from beholder.cli.options import AllowDownload, Cache, Json, Model, Trust
from beholder.cli.show import json_line, say


def explain(
    model: Model,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="The picture.", show_default=False)],
    *,
    out: Annotated[Path, typer.Option(help="Where to write the heat map: .png, .jpg or .webp.")] = Path("heat.png"),
    label: Annotated[
        str | None, typer.Option("--class", help="What speaks for this class. Default: the most probable.", show_default=False)
    ] = None,
    method: Annotated[
        str, typer.Option(help="auto, gradcam, rollout, gradients or occlusion.", autocompletion=complete.methods)
    ] = "auto",
    box: Annotated[
        int | None, typer.Option(help="Detectors: what speaks for this box, 0 the surest.", min=0, show_default=False)
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(metavar="SOURCE", help="What it was trained on: show the nearest training pictures.", show_default=False),
    ] = None,
    trust: Trust = False,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Show where in a picture a bundle finds its answer."""
    from beholder.bundle.door import load
    from beholder.study.door import explain

    how: dict[str, Any] = {"label": label, "method": method, "like": like, "box": box, "allow_download": allow_download}
    explanation = explain(load(model, trust=trust), image, **how)
    path = explanation.save(out)
    say(json_line({"path": str(path), **explanation.json()}) if json else path)
