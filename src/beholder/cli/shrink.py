"""The command `shrink`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.cli.options import (
    AllowDownload,
    AuditPolicy,
    Cache,
    For,
    GroupFrom,
    Json,
    Log,
    Net,
    Positive,
    RecipeName,
    Seed,
    Set,
    Source,
    Task,
)
from beholder.cli.show import json_line, say, table
from beholder.cli.train import audit_fields, recipe_of

Keep = Annotated[
    float,
    typer.Option(
        metavar="F", help="Share of the training pictures that is kept, in 0 to 1; above 1: how many.", show_default=False
    ),
]
Out = Annotated[Path, typer.Option(metavar="NAME.csv", help="The table of what is kept, to be trained on.", show_default=False)]
By = Annotated[
    str,
    typer.Option(
        metavar="WAY",
        help="How they are chosen: random, hard (not learnt early), spread (centres of clusters), or mixed (evenly from "
        "easy to hard).",
    ),
]
Balanced = Annotated[
    bool, typer.Option("--balanced", help="Keep as many of each class, as far as there are, instead of its share.")
]
Curve = Annotated[
    bool, typer.Option("--curve", help="Draw the score against the share kept, beside random: NAME.html beside --out.")
]
Train = Annotated[
    bool, typer.Option("--train", help="With --curve: train a net for each subset, instead of a head on frozen features.")
]


def shrink(
    context: typer.Context,
    source: Source,
    *,
    keep: Keep,
    out: Out,
    by: By = "mixed",
    balanced: Balanced = False,
    curve: Curve = False,
    train: Train = False,
    minutes: Annotated[float, typer.Option(help="What all of it may take; 0: as long as it needs.", min=0)] = 10.0,
    recipe: RecipeName = "quick",
    task: Task = None,
    net: Net = None,
    seed: Seed = None,
    set_: Set = None,
    for_: For = None,
    positive: Positive = None,
    audit: AuditPolicy = None,
    group_from: GroupFrom = None,
    log: Log = None,
    allow_download: AllowDownload = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Choose the training pictures that are worth keeping."""
    fields = {"task": task, "net": net, "seed": seed, "objective": for_, "positive": positive, "group_from": group_from}
    asked = recipe_of(recipe, set_, **fields, **audit_fields(audit))
    from beholder.study.shrink import page_of, shrink

    how = {"curve": curve, "train": train, "minutes": minutes, "began": context.obj, "allow_download": allow_download}
    found = shrink(source, keep=keep, by=by, balanced=balanced, out=out, recipe=asked, **how)
    if found.curve is not None:
        found.curve.save(page_of(out))
    if json:
        say(json_line(found.json()))
        return
    table(found.rows)
    if found.curve is not None:
        table(found.curve.rows())
    say(found)
