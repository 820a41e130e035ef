"""Tars, packed or not, read where they lie."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from beholder.base import events
from beholder.base.arrays import I64
from beholder.base.limits import Limits
from beholder.base.names import Names
from beholder.sources import inflate
from beholder.sources.folder import too_many_bytes
from beholder.sources.listing import Listing
from beholder.sources.members import PACKED, Members, listed, safe, unreadable, unsafe


class TarStore:
    """Members of an uncompressed tar, on the disk or in memory. names: in order; spans: int64 (N, 2), offset and size."""

    def __init__(self, path: Path, body: Path | bytes, names: Names, spans: I64, limits: Limits) -> None:
        self._path = path
        self._body = body
        self.names = names
        self.spans = spans
        self._limits = limits
        self._version = inflate.version(path)
        if isinstance(body, Path):
            inflate.held(self, body)

    @property
    def name(self) -> str:
        """Return the archive's absolute path."""
        return str(self._path)

    def read(self, key: str) -> bytes:
        """Return a member's bytes. Raises `PictureError` (unreadable, too-many-bytes)."""
        row = self.names.place(key)
        if row < 0:
            raise unreadable(key, self.name, "it is not in there")
        offset, size = self.spans[row].tolist()
        if size > self._limits.bytes:
            raise too_many_bytes(key, size, self._limits.bytes)
        if isinstance(self._body, bytes):
            return self._body[offset : offset + size]
        try:
            with self._body.open("rb", buffering=0) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise unreadable(key, self.name, error.strerror or str(error)) from error

    def stamp(self, key: str) -> str:
        """Return what `inflate.version` says of the archive, and where the member lies in it."""
        row = self.names.place(key)
        return f"{self._version}-{self.spans[row, 0]}-{self.spans[row, 1]}" if row >= 0 else ""


def listing(path: Path, limits: Limits) -> Listing:
    """Return the files of a tar. Raises `DataError` (unsafe-archive, …), and what `tarfile` and the decompressors raise."""
    packed = path.name.lower().endswith(PACKED)
    body: Path | bytes = inflate.inflated(path, limits) if packed else path
    members = Members(path, 2, limits)
    with inflate.opened(body) as (file, length), tarfile.open(fileobj=file, mode="r:") as tar:
        for member in _forwards(tar):
            members.count()
            if member.isdir():
                continue
            name = safe(member.name, path)
            if not member.isreg() or member.issparse():
                raise unsafe(path, name, "is a link, a device or a sparse file")
            if member.offset_data + member.size > length:
                raise EOFError(f"it ends inside {name}")
            members.add(name, member.offset_data, member.size)
        whole = _ended(tar, length)
    names, spans, twice = members.table()
    found = listed(TarStore(path, body, names, spans, limits), names, twice)
    if whole:
        return found
    text = f"{path.name} stops without the mark of its end: members may be missing"
    note = events.warn(text, hint="compare its size with that of the original", code="truncated")
    return replace(found, notes=(*found.notes, note))


def _ended(tar: tarfile.TarFile, length: int) -> bool:
    """Return True where a tar has its end mark, False where it just stops; `tarfile` takes either, and damage, for the end."""
    if tar.offset >= length:
        return False
    tar.fileobj.seek(tar.offset)
    if any(tar.fileobj.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"what follows byte {tar.offset:,} is no header")
    return True


def _forwards(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members one by one and forget them. A size below zero would lead back to a member that was read already."""
    at = -1
    while (member := tar.next()) is not None:
        if member.size < 0 or member.offset <= at:
            raise tarfile.ReadError(f"a size of {member.size} in its header")
        at = member.offset
        tar.members = []  # type: ignore[attr-defined]  # else each keeps half a kilobyte
        yield member
