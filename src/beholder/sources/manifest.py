"""A table of pictures that stay where they are: path,label[,split,group], written so that `scan` finds each of them again."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from beholder.base import cells
from beholder.base.errors import DataError, UsageError
from beholder.base.files import check_writable, write_atomic
from beholder.base.names import readable
from beholder.base.records import PARTS, Pictures
from beholder.sources import table
from beholder.sources.folder import FolderStore
from beholder.sources.listing import some
from beholder.sources.tars import TarStore
from beholder.sources.zips import ZipStore

COPY = "or a folder: --out CLEANED"
"""The other way out of `beholder clean`, which copies pictures too."""


def write(pictures: Pictures, out: Path, *, otherwise: str = COPY) -> None:
    """Write the table of the pictures to `out`, whole or not at all.

    otherwise: what else can be done with pictures that are no files of their own
    Raises `UsageError` (no-files), `DataError` (bad-names), `MachineError`.
    """
    write_atomic(out, data_of(pictures, out, otherwise=otherwise))


def data_of(pictures: Pictures, out: Path, *, otherwise: str = COPY) -> bytes:
    """Return what `write` writes, and raise what it raises but `MachineError`."""
    named = paths(pictures, out, otherwise=otherwise)
    way = "write a folder with --out, or " if otherwise == COPY else ""
    return text([row(pictures, place, path) for place, path in enumerate(named)], out.name, otherwise=way)


def check_place(out: Path, source: object) -> None:
    """Refuse a place to write to that lies inside the folder of the source, is taken, or cannot be written.

    source: what `scan` takes. Raises `UsageError` (inside-source, exists), `MachineError` (cannot-write).
    """
    where = Path(source).expanduser() if isinstance(source, (str, Path)) else None
    if where is not None and not where.is_dir() and ":" in str(where)[2:]:  # boxes:FOLDER and the like, but no drive
        where = Path(str(where).partition(":")[2])
    if where is not None and where.is_dir() and where.resolve() in (out.resolve(), *out.resolve().parents):
        raise UsageError(
            f"{out} would lie inside the source {where}", code="inside-source", hint="choose a place outside of it"
        )
    if out.is_dir() and not out.is_symlink() and not any(out.iterdir()) and out.suffix.lower() != ".csv":
        return
    if out.exists() or out.is_symlink():
        raise UsageError(
            f"{out} is there already", code="exists", hint="choose a new name, or move it away: nothing is overwritten"
        )
    check_writable(out)


def paths(pictures: Pictures, out: Path, *, otherwise: str = COPY) -> Sequence[str]:
    """Return what a table at `out` calls each picture, so that `scan` finds it again. Raises `UsageError` (no-files).

    Files are named by their path from the table on, or from the root where they do not lie below it; members of an archive as
    they are called there, where the table lies beside it and has its name: `scan` looks for them there.
    """
    store = pictures.store
    if isinstance(store, FolderStore):
        base, root = os.path.abspath(out.parent), os.path.abspath(store.name)  # noqa: PTH100 (links stay as they are)
        below = os.path.relpath(root, base) if os.path.splitdrive(base)[0] == os.path.splitdrive(root)[0] else root
        start = root if Path(below).parts[:1] == (os.pardir,) else below
        return [Path(start, key).as_posix() for key in pictures.keys]
    beside = Path(store.name)
    archived = isinstance(store, (ZipStore, TarStore))
    if archived and beside.stem == out.stem and beside.parent == out.absolute().parent:
        return pictures.keys
    way = f"write it to {beside.with_name(beside.stem + '.csv')}" if archived else "give a folder of this machine"
    what = f"a table cannot name the pictures of {store.name}, which are no files of their own"
    raise UsageError(what, code="no-files", hint=f"{way}, {otherwise}")


def row(pictures: Pictures, place: int, path: str) -> table.Row:
    """Return the row of one picture, which the table calls `path`."""
    group = int(pictures.groups[place])
    return table.Row(path, pictures.labels(place), int(pictures.parts[place]), str(group) if group >= 0 else "")


def text(rows: Sequence[table.Row], name: str, *, otherwise: str = "write a folder with --out, or ") -> bytes:
    """Return path,label[,split,group] as UTF-8. Raises `DataError` (bad-names) where it would be read as something else."""
    wide = 4 if any(row.group for row in rows) else 3 if any(row.part >= 0 for row in rows) else 2
    odd = [row for row in rows if not _is_text("".join((row.path, *row.labels)))]
    data = b""
    if not odd:
        lines = [cells.line(["path", "label", "split", "group"][:wide])]
        for row in rows:
            part = PARTS[row.part] if row.part >= 0 else ""
            lines.append(cells.line([row.path, row.labels, part, row.group][:wide]))
        data = "".join(lines).encode()
        again = table.parse(data, name, where=name)
        odd = [row for row, other in zip(rows, again, strict=False) if row != other] or list(rows[len(again) :])
    if odd:
        said = f"a table cannot hold these names or labels: {some([' '.join((row.path, *row.labels)) for row in odd])}"
        hint = f"{otherwise}rename them"
        raise DataError(said, code="bad-names", hint=hint)
    return data


def _is_text(name: str) -> bool:
    return readable(name) == name and "\r" not in name and "\n" not in name
