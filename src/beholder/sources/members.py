"""What zips and tars share: which members are taken, and under which name."""

from __future__ import annotations

import itertools
from array import array
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.arrays import I64
from beholder.base.errors import DataError, PictureError
from beholder.base.limits import Limits
from beholder.base.names import Names
from beholder.base.records import Store
from beholder.sources.folder import STRIDE, too_many_members
from beholder.sources.listing import Listing, case_notes, is_junk

ZIP = (".zip",)
TAR = (".tar",)
PACKED = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")

_LONG = 4096
"""Characters in a member's name; no system has longer paths."""


class Members:
    """The members of one archive as they are found. `columns`: how many whole numbers are kept of each."""

    def __init__(self, path: Path, columns: int, limits: Limits) -> None:
        self.path = path
        self._limits = limits
        self._seen = 0
        self._names: list[str] = []
        self._columns = [array("q") for _ in range(columns)]

    def count(self) -> None:
        """Count an entry of any kind. Raises `DataError` (too-many-members)."""
        self._seen += 1
        if self._seen > self._limits.members:
            raise too_many_members(str(self.path), self._limits.members)
        if self._seen % STRIDE == 0:
            events.progress("scanning", self._seen, 0)

    def add(self, name: str, *numbers: int) -> None:
        """Take a file, if it is none that systems leave behind. Raises `DataError` (nested-archive)."""
        if any(is_junk(part) for part in name.split("/")):
            return
        if name.lower().endswith(ZIP + TAR + PACKED):
            text = f"{self.path} holds another archive, {name!r}; archives in archives are not read"
            hint = "unpack the outer one to a folder; then give the inner one, or the folder once all are unpacked"
            raise DataError(text, code="nested-archive", hint=hint)
        self._names.append(name)
        for column, number in zip(self._columns, numbers, strict=True):
            column.append(number)

    def table(self) -> tuple[Names, I64, int]:
        """Return names in order, int64 (N, columns), and how many names came again: of those the last one counts."""
        names = self._names
        order: I64 = np.arange(len(names))
        if any(a > b for a, b in itertools.pairwise(names)):
            order = np.fromiter(sorted(range(len(names)), key=names.__getitem__), np.int64, len(names))
        ordered = Names.of(names[i] for i in order.tolist())
        self._names = names = []
        columns = np.empty((len(order), len(self._columns)), np.int64)
        for k in range(len(self._columns)):
            columns[:, k] = np.frombuffer(self._columns[k], np.int64)[order]
            self._columns[k] = array("q")  # what is copied makes room
        again = np.fromiter((a == b for a, b in itertools.pairwise(ordered)), np.bool_)
        if not again.any():
            return ordered, columns, 0
        last = np.flatnonzero(~np.append(again, False))
        return ordered.take(last), columns[last], int(again.sum())


def listed(store: Store, names: Names, twice: int) -> Listing:
    """Return the listing of an archive; `twice`: names that came again."""
    notes = [f"{twice:,} members have the name of an earlier one, which they replace"] if twice else []
    return Listing(store, names, (*notes, *case_notes(names)))


def safe(name: str, path: Path) -> str:
    """Return a member's name as a posix path below the archive's root. Raises `DataError` (unsafe-archive) if it leads out."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or (len(plain) > 1 and plain[1] == ":"):
        raise unsafe(path, name, "leads out of the archive")
    if "\0" in plain:
        raise unsafe(path, name, "has a zero byte in its name")
    if not parts:
        raise unsafe(path, name, "has no name")
    if len(plain) > _LONG:
        raise unsafe(path, name[:40] + "…", f"has a name of {len(plain):,} characters")
    return "/".join(parts)


def unsafe(path: Path, name: str, why: str) -> DataError:
    """Return the error for an archive with a member that could do harm."""
    hint = "pack the pictures again as plain files in plain folders"
    return DataError(f"{path} is refused: its member {name!r} {why}", code="unsafe-archive", hint=hint)


def unreadable(key: str, where: str, why: str) -> PictureError:
    """Return the error for a member that cannot be read."""
    return PictureError(
        f"cannot read {key} in {where}: {why}", code="unreadable", hint="the archive is damaged: fetch it again"
    )
