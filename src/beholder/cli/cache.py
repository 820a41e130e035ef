"""The command `cache`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from beholder.base.errors import UsageError
from beholder.cli.options import Cache, Json
from beholder.cli.show import json_line, say, table

if TYPE_CHECKING:
    from beholder.machine.kept import Kept

_MIB = 2**20


def cache(
    *,
    prune: Annotated[bool, typer.Option("--prune", help="Delete what was not used for 30 days, or as below.")] = False,
    older: Annotated[
        float | None,
        typer.Option(metavar="DAYS", help="With --prune: not used for so many days.", min=0, show_default=False),
    ] = None,
    to: Annotated[
        float | None,
        typer.Option(
            metavar="GIB", help="With --prune: the least recently used, until GIB are left.", min=0, show_default=False
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="With --prune: everything.")] = False,
    cache: Cache = None,
    json: Json = False,
) -> None:
    """Show what is cached, where, and its size; --prune deletes it."""
    from beholder.machine import kept
    from beholder.machine.folders import cache_folder

    if not prune and (older is not None or to is not None or everything):
        raise UsageError("nothing is deleted without --prune", code="bad-usage", hint="add --prune")
    gone = kept.prune(older=older, to=to, everything=everything) if prune else []
    rows = kept.kept()
    held = {"folder": str(cache_folder()), "bytes": sum(row.bytes for row in rows)}
    if json:
        deleted = {"deleted": {"n": len(gone), "bytes": sum(gone)}} if prune else {}
        say(json_line({**held, **deleted, "kinds": [row.json() for row in rows]}))
        return
    if prune:
        say(f"deleted: {len(gone):,} files and folders, {sum(gone) / _MIB:,.1f} MiB")
    say(f"{sum(row.bytes for row in rows) / _MIB:,.1f} MiB in {cache_folder()}")
    table([_row(row) for row in rows])


def _row(row: Kept) -> dict[str, object]:
    used = time.strftime("%Y-%m-%d %H:%M", time.localtime(row.used))
    return {"folder": row.kind, "what": row.what, "files": row.n, "MiB": f"{row.bytes / _MIB:,.1f}", "last used": used}
