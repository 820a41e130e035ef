"""A CSV or TSV with path,label[,split,group], beside its pictures or in the same folder or archive."""

from __future__ import annotations

import csv
import functools
import io
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.names import Names
from beholder.base.records import Pictures, Store
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import archive, folder
from beholder.data.sources.listing import Listing, assemble, ending, is_picture, part_of, some

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path",
             "image_name", "picture", "images", "files", "image_id", "id", "name"),
    "label": ("label", "labels", "class", "classes", "class_name", "category", "target", "tag", "tags", "y"),
    "split": ("split", "part", "subset", "partition", "set"),
    "group": ("group", "group_id", "patient", "patient_id", "person", "subject", "subject_id"),
}  # fmt: skip
"""What each column may be called, best first; case, spaces and hyphens do not matter."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. part: index into `PARTS` or -1; group: "" = none."""

    path: str
    labels: tuple[str, ...]
    part: int
    group: str


def from_file(path: Path, *, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures that a table on the disk names.

    A path is looked for from the table's folder on; then anywhere below it, where just one file ends in that path; then in an
    archive of the table's name beside it. Raises `DataError` (no-label-column, missing-files, …).
    """
    try:
        rows = parse(path.read_bytes(), path.name, where=str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", code="unreadable", hint="check the file") from error
    return from_rows(rows, path, limits=limits)


def from_rows(rows: Sequence[Row], path: Path, *, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures that the rows of the table at `path` name. Raises as `from_file` does."""
    store: Store = folder.FolderStore(path.parent, limits=limits)
    base = os.path.abspath(path.parent)  # noqa: PTH100 (links in the path stay as they are)
    keys: list[str | None] = [
        row.path if os.path.isfile(os.path.join(base, row.path)) else None  # noqa: PTH113, PTH118 (once per row)
        for row in rows
    ]
    if None in keys:
        below = folder.listing(path.parent, limits=limits)
        keys = _find(rows, keys, below.names)
    beside = archive.beside(path) if None in keys else None
    if beside is not None:
        packed = archive.listing(beside, limits=limits)
        inside = _find(rows, [None] * len(rows), packed.names)
        if inside.count(None) < keys.count(None):
            store, keys = packed.store, inside
    return _pictures(store, rows, keys, where=str(path))


def from_listing(listing: Listing, name: str) -> Pictures:
    """Return the pictures that the table `name` inside a folder or an archive names."""
    try:
        data = listing.store.read(name)
    except PictureError as error:
        raise DataError(error.message, code=error.code, hint=error.hint) from error
    assert isinstance(data, bytes)
    where = f"{listing.store.name}: {name}"
    rows = parse(data, name, where=where)
    above = name.rpartition("/")[0]
    from_table = [posixpath.normpath(posixpath.join(above, row.path)) for row in rows]
    known = set(listing.names)
    keys = _find(rows, [key if key in known else None for key in from_table], listing.names)
    return _pictures(listing.store, rows, keys, where=where, notes=listing.notes)


def parse(data: bytes, name: str, *, where: str) -> list[Row]:
    """Return the rows of a table; several labels in a cell are divided by ";".

    Raises `DataError` (bad-encoding, bad-table, no-path-column, no-label-column, bad-split).
    """
    return parsed(cells(data, name, where=where), where=where)


def cells(data: bytes, name: str, *, where: str) -> Iterator[list[str]]:
    """Yield the lines of a CSV or TSV as cells, empty lines left out. Raises `DataError` (bad-encoding, bad-table)."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    try:
        head = text.readline()
        text.seek(0)
        delimiter = "\t" if ending(name) == "tsv" or ("\t" in head and "," not in head) else ","
        yield from (line for line in csv.reader(text, delimiter=delimiter, strict=False) if any(line))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text: {error.reason}", code="bad-encoding", hint="save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{where} is not a table: {error}", code="bad-table", hint="see the line that it names") from error


def parsed(lines: Iterable[Sequence[str]], *, where: str) -> list[Row]:
    """Return the rows of a table that is divided into cells already, the columns' names first. Raises as `parse` does."""
    rest = iter(lines)
    columns = _columns(next(rest, []), where)
    return [_row(cells, columns, where) for cells in rest]


def _columns(header: Sequence[str], where: str) -> dict[str, int]:
    plain = [cell.strip().lower().replace(" ", "_").replace("-", "_") for cell in header]
    found: dict[str, int] = {}
    for column, words in COLUMNS.items():
        for word in words:
            if word in plain and plain.index(word) not in found.values():
                found[column] = plain.index(word)
                break
    for column in ("path", "label"):
        if column not in found:
            listed = ", ".join(cell.strip() for cell in header) or "none"
            raise DataError(
                f"{where} has no column '{column}'; its columns are: {listed}",
                code=f"no-{column}-column",
                hint=_divided_by(header) or "the first line names the columns: path,label and, if you like, split and group",
            )
    return found


def _divided_by(header: Sequence[str]) -> str:
    """Return a hint where the only cell of the first line looks like several, divided by something else than a comma; or ""."""
    mark = next((mark for mark in ";|\t" if len(header) == 1 and mark in header[0]), "")
    return f"its cells seem to be divided by '{mark}': save it with commas, or tabs, between them" if mark else ""


def _row(cells: Sequence[str], columns: dict[str, int], where: str) -> Row:
    def cell(column: str) -> str:
        at = columns.get(column, len(cells))
        return cells[at].strip() if at < len(cells) else ""

    split = cell("split")
    part = part_of(split) if split else -1
    if part is None:
        raise DataError(
            f"{where}: '{split}' in the split column is no part", code="bad-split", hint="the parts are train, valid and test"
        )
    path = cell("path").replace("\\", "/")
    return Row(posixpath.normpath(path) if path else "", _divided(cell("label")), part, cell("group"))


@functools.lru_cache(maxsize=4096)
def _divided(cell: str) -> tuple[str, ...]:
    """Return the labels of a cell; rows with the same ones share them."""
    return tuple(dict.fromkeys(label.strip() for label in cell.split(";") if label.strip()))


def _find(rows: Sequence[Row], keys: Sequence[str | None], names: Iterable[str]) -> list[str | None]:
    """Fill the keys that are None: the one name that ends in the row's path (its ending may be left out)."""
    ends: dict[str, list[str]] = {}
    for name in names:
        if is_picture(name):
            base = name.rpartition("/")[2]
            ends.setdefault(base, []).append(name)
            ends.setdefault(base.rpartition(".")[0], []).append(name)
    return [_one(row.path, ends) if key is None else key for row, key in zip(rows, keys, strict=True)]


def _one(path: str, ends: dict[str, list[str]]) -> str | None:
    tail = re.sub(r"^(\.\./)+|^/+", "", path)
    near = [
        name
        for name in ends.get(path.rpartition("/")[2], ())
        if f"/{name}".endswith(f"/{tail}") or _stem(name).endswith(f"/{tail}")
    ]
    return near[0] if len(near) == 1 else None


def _stem(name: str) -> str:
    return "/" + name.rpartition(".")[0]


def _pictures(
    store: Store, rows: Sequence[Row], keys: Sequence[str | None], *, where: str, notes: Sequence[str] = ()
) -> Pictures:
    said = list(notes)
    missing = [row.path or "(empty)" for row, key in zip(rows, keys, strict=True) if key is None]
    if missing:
        said.append(_missing(missing, len(rows), where))
    found = [_at(row, key) for row, key in zip(rows, keys, strict=True) if key is not None]
    # By hashes, for a set of the paths would take more memory; two paths of one hash only cost the longer way.
    unique = len(np.unique(np.fromiter((hash(row.path) for row in found), np.int64, len(found)))) == len(found)
    multi = any(len(row.labels) > 1 for row in found) or (not unique and _long(found))
    found, more = (found, []) if unique else _merged(found, multi, where)
    bare = sum(not row.labels for row in found)
    if bare and not multi:
        said.append(_bare(bare, len(found), where))
        found = [row for row in found if row.labels]
    elif bare:
        more.append(f"{bare:,} pictures carry no label and are taken as showing none of the classes")
    return assemble(
        store,
        Names.of(row.path for row in found),
        [row.labels for row in found],
        multi=multi,
        parts=np.fromiter((row.part for row in found), np.int8, len(found)),
        groups=[row.group for row in found] if any(row.group for row in found) else None,
        notes=[*said, *more],
        where=where,
    )


def _at(row: Row, key: str) -> Row:
    """Return the row with the key as its path."""
    return row if row.path == key else Row(key, row.labels, row.part, row.group)


def _missing(missing: Sequence[str], n: int, where: str) -> str:
    hint = "paths are looked for from the table's folder on, or anywhere below it where only one file ends in that path"
    if len(missing) == n:
        raise DataError(
            f"none of the {n:,} files that {where} names is there: {some(missing)}", code="missing-files", hint=hint
        )
    text = f"{len(missing):,} of the {n:,} files that {where} names are not there and were left out: {some(missing)}"
    events.warn(text, hint=hint, code="missing-files")
    return text


def _bare(bare: int, n: int, where: str) -> str:
    if bare == n:
        raise DataError(f"no row of {where} has a label", code="no-labels", hint="fill the label column")
    text = f"{bare:,} of the {n:,} rows of {where} have no label and were left out"
    events.warn(text, hint="fill the label column", code="no-labels")
    return text


def _long(found: Sequence[Row]) -> bool:
    """Return True for a table with a row for each label of a picture: most pictures come with two labels or more."""
    labels: dict[str, set[str]] = {}
    for row in found:
        labels.setdefault(row.path, set()).update(row.labels)
    return 2 * sum(len(several) > 1 for several in labels.values()) > len(labels)


def _merged(found: Sequence[Row], multi: bool, where: str) -> tuple[list[Row], list[str]]:
    """Join the rows of one file: labels are united where `multi`; elsewhere they must agree."""
    rows: dict[str, Row] = {}
    odd: dict[str, None] = {}
    for row in found:
        first = rows.setdefault(row.path, row)
        if first is row:
            continue
        united = tuple(dict.fromkeys(first.labels + row.labels))
        if (first.part, first.group) != (row.part, row.group) or (not multi and len(united) > 1):
            odd[row.path] = None
        rows[row.path] = Row(first.path, united, first.part, first.group)
    if odd:
        raise DataError(
            f"{where} says different things of the same file, {len(odd):,} times: {some(list(odd))}",
            code="contradictory-rows",
            hint="give each file one row; for several labels put ';' between them",
        )
    repeated = len(found) - len(rows)
    return list(rows.values()), [
        f"{repeated:,} rows name a file that an earlier row named; they were joined"
    ] if repeated else []
