"""The commands `generate` and `sample`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from beholder.cli import complete
from beholder.cli.options import (
    AllowDownload,
    Batch,
    Cache,
    DryRun,
    Epochs,
    GroupFrom,
    Json,
    Log,
    Rate,
    RecipeName,
    Seed,
    Set,
    Size,
)
from beholder.cli.show import json_line, say
from beholder.cli.train import recipe_of, target_of


class Kind(StrEnum):
    """What makes the pictures."""

    VAE = "vae"
    GAN = "gan"


Unlabelled = Annotated[
    str,
    typer.Argument(metavar="SOURCE", help="Pictures, with labels or without: as train takes them.", show_default=False),
]


def generate(
    context: typer.Context,
    source: Unlabelled,
    *,
    kind: Annotated[
        Kind | None, typer.Option(help="vae: has a likelihood; gan: sharper pictures. [default: vae]", show_default=False)
    ] = None,
    minutes: Annotated[float | None, typer.Option(help="Wall-clock budget of the whole run.", show_default=False)] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Where to write the bundle. Default: the source's name + .made.beholder.", show_default=False),
    ] = None,
    recipe: RecipeName = "quick",
    epochs: Epochs = None,
    batch: Batch = None,
    lr: Rate = None,
    size: Size = None,
    seed: Seed = None,
    set_: Set = None,
    group_from: GroupFrom = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run that --out left unfinished.")] = False,
    dry_run: DryRun = False,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Learn to make pictures like those of SOURCE, up to 64 pixels."""
    how = {"minutes": minutes, "epochs": epochs, "batch": batch, "lr": lr, "size": size, "seed": seed, "group_from": group_from}
    asked = recipe_of(recipe, set_, kind=None if kind is None else kind.value, **how)
    from beholder.study.generate import generate

    target = target_of(source, out, ending=".made.beholder")
    more: dict[str, Any] = {"resume": resume, "allow_download": allow_download, "dry_run": dry_run}
    outcome = generate(source, recipe=asked, out=target, began=context.obj, **more)
    say(json_line(outcome.json()) if json else outcome)


def sample(
    model: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A bundle of generate: NAME.beholder.",
            show_default=False,
            autocompletion=complete.models,
        ),
    ],
    *,
    n: Annotated[int, typer.Option("--n", help="How many pictures.", min=1)] = 64,
    label: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Of this class; else the classes in turn.", show_default=False)
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed makes the same pictures.", min=0)] = 0,
    out: Annotated[Path, typer.Option(help="NAME.png for a grid, or a new folder of class folders.")] = Path("grid.png"),
    json: Json = False,
) -> None:
    """Make pictures with a bundle of generate."""
    from beholder.study.sample import sample

    made = sample(model, n=n, label=label, seed=seed, out=out)
    say(json_line(made.json()) if json else made)


def worth_of(model: Path, source: str, *, allow_download: bool, json: bool) -> None:
    """Print what the pictures of a generator are worth: what `evaluate` says of one."""
    from beholder.study.worth import worth

    found = worth(model, source, allow_download=allow_download)
    say(json_line(found.json()) if json else found)
