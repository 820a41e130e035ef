"""The command `curve`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from beholder.base.files import check_writable
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
from beholder.cli.show import csv_rows, json_line, say, table
from beholder.cli.train import audit_fields, recipe_of


def curve(
    context: typer.Context,
    source: Source,
    *,
    train: Annotated[
        bool, typer.Option("--train", help="Train a net for each subset, instead of a linear head on frozen features.")
    ] = False,
    minutes: Annotated[float, typer.Option(help="What all of it may take; 0: as long as it needs.", min=0)] = 5.0,
    out: Annotated[Path | None, typer.Option(help="Write a page with the plot here: NAME.html.", show_default=False)] = None,
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
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the sizes and the classes as CSV.")] = False,
    json: Json = False,
) -> None:
    """Say what more pictures would give, and of which class."""
    fields = {"task": task, "net": net, "seed": seed, "objective": for_, "positive": positive, "group_from": group_from}
    asked = recipe_of(recipe, set_, **fields, **audit_fields(audit))
    if out is not None:
        check_writable(out, option="--out", file=True)
    from beholder.study.curve import curve

    how = {"train": train, "minutes": minutes, "began": context.obj, "allow_download": allow_download}
    found = curve(source, recipe=asked, **how)
    if out is not None:
        found.save(out)
    if json or as_csv:
        say(json_line(found.json())) if json else csv_rows(found.csv_rows())
        return
    table(found.rows())
    table(found.class_rows())
    say(found)
