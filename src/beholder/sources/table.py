"""A CSV, TSV or JSONL with path,label[,split,group], beside its pictures or in the same folder or archive."""

from __future__ import annotations

import csv
import functools
import io
import itertools
import json
import os
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.arrays import I8
from beholder.base.cells import plain
from beholder.base.errors import DataError
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import Names
from beholder.base.records import Pictures, Store
from beholder.sources import apart, archive, folder, labels, masks, outside, parts
from beholder.sources.division import division
from beholder.sources.finding import found as find
from beholder.sources.listing import Listing, assemble, ending, is_picture, some

COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img", "img_path",
             "image_name", "picture", "images", "files", "filenames", "image_file", "image_filename", "img_name", "imagename",
             "fname", "photo", "image_index", "image_id", "id", "name"),
    "label": ("label", "labels", "class", "classes", "class_name", "label_name", "category", "category_name", "target", "tag",
              "tags", "finding_labels", "species", "breed", "diagnosis", "dx", "label_id", "class_id", "category_id",
              "attribute_ids", "y"),
    "split": ("split", "part", "subset", "partition", "set"),
    "group": ("group", "group_id", "patient", "patient_id", "person", "subject", "subject_id"),
}  # fmt: skip
"""What each column may be called, best first; case, spaces and hyphens do not matter."""

WAYS = "paths are looked for from the table's folder on, or anywhere below it where only one file ends in that path"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. part: index into `PARTS` or -1; group: "" = none."""

    path: str
    labels: tuple[str, ...]
    part: int
    group: str


def from_file(path: Path, *, limits: Limits = LIMITS, images: Listing | None = None) -> Pictures:
    """Return the pictures that a table on the disk names.

    A path is looked for from the table's folder on; where no row has its file there, in an archive of its name beside it;
    then anywhere below the folder, as `finding` says; then in the one archive beside it that holds them.
    images: where all of them are, and nowhere else. Raises `DataError` (no-label-column, missing-files, …).
    """
    try:
        read = parsed(cells(path.read_bytes(), path.name, where=str(path)), where=str(path))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", code="unreadable", hint="check the file") from error
    return from_rows(read, path, limits=limits, images=images)


def from_rows(read: Table, path: Path, *, limits: Limits = LIMITS, images: Listing | None = None) -> Pictures:
    """Return the pictures that the rows of the table at `path` name. Raises as `from_file` does."""
    store: Store = folder.FolderStore(path.parent, limits=limits)
    base = os.path.abspath(path.parent)  # noqa: PTH100 (links in the path stay as they are)
    rows, notes = read.rows, list(read.notes)
    if images is not None:
        return _packed(images, rows, [None] * len(rows), notes, str(path))
    keys: list[str | None] = [
        row.path if os.path.isfile(os.path.join(base, row.path)) else None  # noqa: PTH113, PTH118 (once per row)
        for row in rows
    ]
    notes += outside.notes(keys, base, where=str(path))
    if None not in keys:
        return of_rows(store, rows, keys, where=str(path), notes=notes)
    paths, beside = [row.path for row in rows], archive.beside(path) if not any(keys) else None
    if beside is not None:
        packed = archive.listing(beside, limits=limits)
        inside, more = find(paths, keys, packed.names, where=str(path))
        if any(inside):
            return of_rows(packed.store, rows, inside, where=str(path), notes=[*notes, *more])
    names = masks.left_out(folder.listing(path.parent, limits=limits)).names
    known, more = find(paths, keys, names, part=parts.in_part(path.name), where=str(path))
    if paths and not any(known):
        near, said = apart.beside(
            path, lambda other: sum(other.one(one) is not None for one in paths), len(paths), limits=limits
        )
        if near is not None:
            return _packed(near, rows, keys, [*notes, *said], str(path))
    return of_rows(store, rows, known, where=str(path), notes=[*notes, *more])


def _packed(images: Listing, rows: Sequence[Row], keys: Sequence[str | None], notes: Sequence[str], where: str) -> Pictures:
    """Return the pictures of a folder or an archive that the rows of a table elsewhere name."""
    found, more = find([row.path for row in rows], keys, images.names, where=where)
    return of_rows(images.store, rows, found, where=where, notes=[*images.notes, *notes, *more])


def parse(data: bytes, name: str, *, where: str) -> list[Row]:
    """Return the rows of a table, several labels in a cell divided as `division` says.

    Raises `DataError` (bad-encoding, bad-table, no-path-column, no-label-column, bad-split).
    """
    return _divided(parsed(cells(data, name, where=where), where=where).rows, where)[0]


def cells(data: bytes, name: str, *, where: str) -> Iterator[list[str]]:
    """Yield the lines of a CSV, TSV or JSONL as cells, empty lines left out. Raises `DataError` (bad-encoding, bad-table)."""
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    text = io.TextIOWrapper(io.BytesIO(data), encoding, newline="")
    try:
        if ending(name) == "jsonl":
            yield from _objects(text, where)
            return
        head = text.readline()
        text.seek(0)
        delimiter = "\t" if ending(name) == "tsv" else _delimiter(head)
        lines = csv.reader(text, delimiter=delimiter, strict=False, skipinitialspace=delimiter != "\t")
        yield from (line for line in lines if any(line) and not (lines.line_num == 1 and _NAMED.fullmatch(head.strip())))
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text: {error.reason}", code="bad-encoding", hint="save it as UTF-8") from error
    except csv.Error as error:
        raise DataError(f"{where} is not a table: {error}", code="bad-table", hint="see the line that it names") from error


_NAMED = re.compile(r"\"?sep=(.)\"?", re.IGNORECASE)
"""A first line by which spreadsheets are told what divides the cells."""


def _delimiter(head: str) -> str:
    """Return what divides the cells of a table with this first line: commas, or where it has none, tabs, ";" or "|"."""
    named = _NAMED.fullmatch(head.strip())
    return named[1] if named else next((mark for mark in ",\t;|" if mark in head), ",")


def _objects(lines: Iterable[str], where: str) -> Iterator[list[str]]:
    """Yield the objects of a JSONL as cells, the names of their fields first."""
    try:
        objects = [json.loads(line) for line in lines if line.strip()]
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where} is not JSON lines: {error}", code="bad-table", hint="write an object a line") from error
    if not all(isinstance(one, dict) for one in objects):
        raise DataError(f"{where} holds lines that are no objects", code="bad-table", hint="write an object a line")
    names = list(dict.fromkeys(name for one in objects for name in one))
    yield names
    yield from ([labels.cell(one.get(name)) for name in names] for one in objects)


@dataclass(frozen=True)
class Table:
    """A table as it was read. rows: their labels are whole cells yet; notes: which columns were taken, if in doubt."""

    rows: list[Row]
    notes: tuple[str, ...] = ()


def parsed(lines: Iterable[Sequence[str]], *, where: str) -> Table:
    """Return a table that is divided into cells already, the columns' names first. Raises as `parse` does."""
    rest = iter(lines)
    header, first = next(rest, []), next(rest, [])
    columns, notes = _columns(header, first, where)
    rows = [_row(line, columns, where) for line in itertools.chain([first] if first else [], rest)]
    if "only other" in columns and 2 * len({row.labels for row in rows}) > len(rows):
        raise _no_column("label", header, where)
    if "perhaps split" in columns:
        at = columns["perhaps split"]
        whole = all(row.part >= 0 for row in rows)
        rows = rows if whole else [replace(row, part=-1) for row in rows]
        notes += (f"parts are those of the column {header[at].strip()}",) if whole else ()
    if {cell.strip().lower() for cell in header} >= _OF_SIGNS:
        rows = [replace(row, labels=tuple(label.zfill(5) for label in row.labels)) for row in rows]
        notes += ("classes of traffic signs are written as their folders are: 00007 for 7",)
    return Table(rows, notes)


_OF_SIGNS = frozenset({"roi.x1", "roi.y1", "roi.x2", "roi.y2", "classid"})
"""Columns by which a table of the German traffic signs is known: it numbers the classes that folders of five digits hold."""


_PERHAPS_SPLIT = frozenset({"usage", "phase", "dataset", "data_set", "fold", "mode", "stage"})
"""Columns that give the parts where all their cells name one."""


def _columns(header: Sequence[str], first: Sequence[str], where: str) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return the place of each column that is used, and what was decided in doubt; first: the cells of the first row."""
    spaced = [re.sub(r"(?<=[a-z])(?=[A-Z])", "_", cell.strip()).lower() for cell in header]
    names = [re.sub(r"[ _-]+", "_", name) for name in spaced]
    cells = dict(enumerate(first))
    known: dict[str, list[int]] = {}
    for column, words in COLUMNS.items():
        taken = {places[0] for places in known.values()}
        places = [at for word in words for at, name in enumerate(names) if name == word and at not in taken]
        if column == "path":  # of an id and a file's name, the latter
            places.sort(key=lambda at: not is_picture(cells.get(at, "")))
        known |= {column: places} if places else {}
    notes = _only_other(known, header, where)
    first_label, *others = known["label"]
    if others:
        said = ", ".join(header[at].strip() for at in others)
        notes.append(f"labels are those of the column {header[first_label].strip()}; not used: {said}")
    hint = "to use another column, rename it to label and the present one to something else"
    for note in notes:
        events.warn(note, hint=hint, code="columns")
    columns = {column: places[0] for column, places in known.items()}
    if "split" not in columns:
        perhaps = [at for at, name in enumerate(names) if name in _PERHAPS_SPLIT]
        perhaps = [at for at in perhaps if parts.part_of(cells.get(at, "")) is not None]
        columns |= {"perhaps split": perhaps[0]} if perhaps else {}
    return columns, tuple(notes)


def _no_column(column: str, header: Sequence[str], where: str) -> DataError:
    listed = ", ".join(cell.strip() for cell in header) or "none"
    hint = "the first line names the columns: path,label and, if you like, split and group"
    return DataError(f"{where} has no column '{column}'; its columns are: {listed}", code=f"no-{column}-column", hint=hint)


_NAMING = re.compile(r"id|name|file|ima?ge?|path|code|pic|photo|scan|slide", re.IGNORECASE)
"""What a column of names of pictures has in its own name."""


def _only_other(known: dict[str, list[int]], header: Sequence[str], where: str) -> list[str]:
    """Fill in the column of paths or that of labels where only one is left that it can be; return what is to be said.

    Labels are only taken so where they repeat, which text and measures do not: "only other" asks for that.
    Raises `DataError` (no-path-column, no-label-column).
    """
    notes = []
    for column, what in (("path", "paths"), ("label", "labels")):
        if column in known:
            continue
        taken = {known[name][0] for name in ("path", "label", "split") if name in known}
        left = [at for at, name in enumerate(header) if name.strip() and at not in taken]
        if len(left) != 1 or not taken or (column == "path" and not _NAMING.search(header[left[0]])):
            raise _no_column(column, header, where)
        known[column] = left
        known |= {"only other": left} if column == "label" else {}
        if known.get("group", [-1])[0] == left[0]:
            del known["group"]
        notes.append(f"{what} are those of the column {header[left[0]].strip()}, the only one left in {where}")
    return notes


def _row(cells: Sequence[str], columns: dict[str, int], where: str) -> Row:
    def cell(column: str) -> str:
        at = columns.get(column, len(cells))
        return cells[at].strip() if at < len(cells) else ""

    split = cell("split")
    part = parts.part_of(split) if split else -1
    if "perhaps split" in columns:
        part = parts.part_of(cell("perhaps split"))
        part = -1 if part is None else part
    if part is None:
        raise DataError(
            f"{where}: '{split}' in the split column is no part", code="bad-split", hint="the parts are train, valid and test"
        )
    path = plain(cell("path")).replace("\\", "/")
    return Row(posixpath.normpath(path) if path else "", _whole(cell("label")), part, plain(cell("group")))


@functools.lru_cache(maxsize=4096)
def _whole(cell: str) -> tuple[str, ...]:
    """Return the whole cell as a label, if it has one; rows with the same one share it."""
    return (cell,) if cell else ()


def _divided(rows: Sequence[Row], where: str) -> tuple[list[Row], list[str]]:
    """Return the rows with their cells divided into labels, and how that was done, in sentences."""
    counts: dict[tuple[str, ...], int] = {}
    for row in rows:
        counts[row.labels] = counts.get(row.labels, 0) + 1
    made = division([whole[0] for whole in counts if whole], where=where)
    several = {whole: made.labels(whole[0]) if whole else () for whole in counts}
    divided = [row if several[row.labels] == row.labels else replace(row, labels=several[row.labels]) for row in rows]
    return divided, list(made.notes)


def of_rows(
    store: Store, rows: Sequence[Row], keys: Sequence[str | None], *, where: str, notes: Sequence[str] = ()
) -> Pictures:
    """Return the pictures of a store that the rows of a table give labels; keys: of each row, None = not there."""
    rows, more = _divided(rows, where)
    said = [*notes, *more]
    missing = [row.path or "(empty)" for row, key in zip(rows, keys, strict=True) if key is None]
    if missing:
        said.append(_missing(missing, len(rows), where))
    found = [_at(row, key) for row, key in zip(rows, keys, strict=True) if key is not None]
    # By hashes, for a set of the paths would take more memory; two paths of one hash only cost the longer way.
    unique = len(np.unique(np.fromiter((hash(row.path) for row in found), np.int64, len(found)))) == len(found)
    multi = any(len(row.labels) > 1 for row in found) or (not unique and _long(found))
    found, more = (found, []) if unique else _merged(found, multi, where)
    given = np.fromiter((row.part for row in found), np.int8, len(found))
    if (given < 0).all():
        given, told = _parts_of_folders([row.path for row in found])
        more = [*more, *told]
    return assemble(
        store,
        Names.of(row.path for row in found),
        [row.labels for row in found],
        multi=multi,
        parts=given,
        groups=[row.group for row in found] if any(row.group for row in found) else None,
        notes=[*said, *more],
        where=where,
    )


def _parts_of_folders(keys: Sequence[str]) -> tuple[I8, list[str]]:
    """Return the part that each picture's folder is named after, int8 (N,), where every one has one, and several are named."""
    found = np.fromiter((_part_of_folder(key.rpartition("/")[0]) for key in keys), np.int8, len(keys))
    if not len(keys) or found.min() < 0 or found.min() == found.max():
        return np.full(len(keys), -1, np.int8), []
    return found, ["the table gives no parts: they are those of the folders that the pictures lie in"]


@functools.lru_cache(maxsize=4096)
def _part_of_folder(folder: str) -> int:
    named = [part for name in folder.split("/") if (part := parts.part_of(name)) is not None]
    return named[-1] if named else -1


def _at(row: Row, key: str) -> Row:
    """Return the row with the key as its path."""
    return row if row.path == key else Row(key, row.labels, row.part, row.group)


def _missing(missing: Sequence[str], n: int, where: str) -> str:
    if len(missing) == n:
        raise DataError(
            f"none of the {n:,} files that {where} names is there: {some(missing)}", code="missing-files", hint=WAYS
        )
    text = f"{len(missing):,} of the {n:,} files that {where} names are not there and were left out: {some(missing)}"
    return events.warn(text, hint=WAYS, code="missing-files")


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
        text = f"{where} says different things of the same file, {len(odd):,} times: {some(list(odd))}"
        hint = "give each file one row; for several labels put ';' between them"
        raise DataError(text, code="contradictory-rows", hint=hint)
    repeated = len(found) - len(rows)
    return list(rows.values()), [
        f"{repeated:,} rows name a file that an earlier row named; they were joined"
    ] if repeated else []
