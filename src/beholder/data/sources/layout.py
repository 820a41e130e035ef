"""Labels from the names of folders: class folders, parts above them, a wrapping folder above those."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from beholder.base.errors import DataError
from beholder.base.names import Names
from beholder.base.records import PARTS, Pictures
from beholder.data.sources import table
from beholder.data.sources.listing import (
    Listing,
    is_picture,
    is_table,
    no_labels,
    no_pictures,
    part_of,
    readable,
    some,
    tabled,
)


def pictures_of(listing: Listing) -> Pictures:
    """Return the labelled pictures of a folder or an archive.

    The labels are the class folders' names (with parts above them, if there are), or else those of the one table at its root.
    Raises `DataError` (no-pictures, one-class, and what a table may raise).
    """
    names = chosen(listing.names, is_picture)
    if not len(names):
        raise no_pictures(listing.store.name, len(listing.names))
    prefix = descend(names)
    tables = [name for name in listing.names if is_table(name) and prefix.startswith(name[: name.rfind("/") + 1])]
    rows = _rows(names, prefix)
    if len(rows.labels) < 2 and tables:
        if len(tables) > 1:
            raise DataError(
                f"{listing.store.name} has no class folders but several tables: {some(tables)}",
                code="several-tables",
                hint="give the CSV itself as the source, or leave just one",
            )
        return table.from_listing(listing, tables[0])
    if not len(rows.keys):
        raise no_labels(listing.store.name, len(names))
    notes = rows.notes
    if tables:
        notes.append(f"not used, for the class folders give the labels: {some(tables)}")
    others = len(listing.names) - len(names) - len(tables)
    if others:
        notes.append(f"{others:,} files that are no pictures were ignored")
    return tabled(listing.store, rows.keys, rows.targets, rows.labels, parts=rows.parts, notes=[*listing.notes, *notes])


def chosen(names: Sequence[str], wanted: Callable[[str], bool]) -> Names:
    """Return the names that are wanted, in few bytes."""
    packed = Names.of(names)
    mask = np.fromiter((wanted(name) for name in packed), np.bool_, len(packed))
    return packed if mask.all() else packed.take(np.flatnonzero(mask))


def descend(names: Iterable[str]) -> str:
    """Return the folders, each the only one in the one above, that wrap the class folders or parts: "" or "a/b/".

    >>> descend(["set/cat/1.png", "set/dog/2.png"])
    'set/'
    """
    prefix = ""
    while True:
        heads: set[str] = set()
        n = deep = 0
        for name in names:
            if name.startswith(prefix):
                head, slash, rest = name[len(prefix) :].partition("/")
                n += 1
                deep += "/" in rest
                if slash:
                    heads.add(head)
        if len(heads) != 1 or 2 * deep <= n or part_of(next(iter(heads))) is not None:
            return prefix
        prefix += heads.pop() + "/"


@dataclass(frozen=True)
class _Rows:
    """The pictures that lie in a class folder. targets: int32 (N,) into labels; parts: int8 (N,), -1 = none."""

    keys: Names
    targets: npt.NDArray[np.int32]
    labels: list[str]
    parts: npt.NDArray[np.int8]
    notes: list[str]


@dataclass
class _Head:
    """What lies below one folder: n pictures, of them `deep` in a folder of its own; the names of those folders."""

    n: int = 0
    deep: int = 0
    folders: set[str] = field(default_factory=set)


def _rows(names: Names, prefix: str) -> _Rows:
    """Find label and part of each picture from its path alone; two passes over the names, and no list of them."""
    heads, loose = _heads(names, prefix)
    parted = _are_parts(heads)
    wraps = {head: _doubled(below) for head, below in heads.items() if part_of(head) is not None}
    labels: dict[str, int] = {}
    targets, parts = np.full(len(names), -1, np.int32), np.full(len(names), -1, np.int8)
    for i, name in enumerate(names):
        head, slash, tail = name[len(prefix) :].partition("/")
        if parted and slash:
            part, wrap = part_of(head), wraps.get(head, "")
            head, slash, _ = tail[len(wrap) :].partition("/")
            if part is None or not tail.startswith(wrap):
                continue
            parts[i] = part
        if slash:
            targets[i] = labels.setdefault(readable(head), len(labels))
    notes = [f"{loose:,} pictures beside the class folders were ignored, for they have no label"] if loose else []
    if parted:
        notes += _part_notes(heads, parts, targets)
    rows = np.flatnonzero(targets >= 0)
    keys = names if len(rows) == len(names) else names.take(rows)
    return _Rows(keys, targets[rows], list(labels), parts[rows], notes)


def _heads(names: Names, prefix: str) -> tuple[dict[str, _Head], int]:
    """Return what lies in each folder below `prefix`, and how many pictures lie in none."""
    heads: dict[str, _Head] = {}
    loose = 0
    for name in names:
        head, slash, tail = name[len(prefix) :].partition("/")
        if not slash:
            loose += 1
            continue
        found = heads.setdefault(head, _Head())
        found.n += 1
        if "/" in tail:
            found.deep += 1
            if part_of(head) is not None:
                found.folders.add(tail.partition("/")[0])
    return heads, loose


def _are_parts(heads: dict[str, _Head]) -> bool:
    """Tell train/cat/1.png from a class that happens to be called "train": parts have folders in them."""
    parts = [head for head in heads if part_of(head) is not None]
    deep = all(heads[head].deep * 2 > heads[head].n for head in parts)
    return bool(parts) and deep and (len(parts) == len(heads) or len({part_of(head) for head in parts}) >= 2)


def _part_notes(heads: dict[str, _Head], parts: npt.NDArray[np.int8], targets: npt.NDArray[np.int32]) -> list[str]:
    notes = []
    beside = [head for head in heads if part_of(head) is None]
    if beside:
        n = sum(heads[head].n for head in beside)
        notes.append(f"{n:,} pictures in folders beside the parts were ignored: {some(beside)}")
    for part, name in enumerate(PARTS):
        lost = sum(below.n for head, below in heads.items() if part_of(head) == part)
        lost -= int(np.count_nonzero((parts == part) & (targets >= 0)))
        if lost:
            notes.append(f"{lost:,} pictures of {name} lie in no class folder and were ignored")
    return notes


def _doubled(below: _Head) -> str:
    """Return "train/" for the inside of a folder train/train, which some programs make as they unpack, else ""."""
    head = next(iter(below.folders)) if len(below.folders) == 1 else ""
    return head + "/" if part_of(head) is not None else ""
