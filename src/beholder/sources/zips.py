"""Zips, read where they lie.

The directory is read entry by entry, for `zipfile` keeps some 600 bytes of each. The format is that of PKWARE's
APPNOTE 6.3; what is not for pictures (several disks, passwords, patches) is refused.
"""

from __future__ import annotations

import bz2
import lzma
import stat
import struct
import zipfile
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np

from beholder.base.arrays import I64
from beholder.base.errors import DataError
from beholder.base.limits import Limits
from beholder.base.names import Names
from beholder.sources import inflate
from beholder.sources.folder import too_many_bytes
from beholder.sources.listing import Listing
from beholder.sources.members import Members, listed, safe, unreadable, unsafe

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_FULL = 0xFFFFFFFF
_NEWEST = 63
"""Ten times the newest version of the format that is understood."""

_UTF8, _SECRET = 0x800, 0x41
_READ_ERRORS = (OSError, EOFError, ValueError, struct.error, zlib.error, lzma.LZMAError, zipfile.BadZipFile, MemoryError)


@dataclass(frozen=True)
class Entry:
    """One entry of a zip's directory. offset: of its header, from the start of the file; mode: of Unix, 0 = unknown."""

    name: str
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int


class ZipStore:
    """Members of a zip. names: in order; places: int64 (N, 5), of each the offset, packed size, size, CRC-32 and method."""

    def __init__(self, path: Path, names: Names, places: I64, limits: Limits) -> None:
        self._path = path
        self._names = names
        self._places = places
        self._limits = limits
        self._version = inflate.version(path)
        inflate.held(self, path)

    @property
    def name(self) -> str:
        """Return the archive's absolute path."""
        return str(self._path)

    def read(self, key: str) -> bytes:
        """Return a member's bytes, its CRC checked. Raises `PictureError` (unreadable, too-many-bytes)."""
        row = self._names.place(key)
        if row < 0:
            raise unreadable(key, self.name, "it is not in there")
        offset, packed, size, crc, method = self._places[row].tolist()
        if max(size, packed) > self._limits.bytes:
            raise too_many_bytes(key, max(size, packed), self._limits.bytes)
        try:
            with self._path.open("rb", buffering=0) as file:
                file.seek(offset)
                data = _unpacked(_body(file, key, packed, self._path), method, size)
        except (*_READ_ERRORS, DataError) as error:
            raise unreadable(key, self.name, str(error)) from error
        if len(data) != size or zlib.crc32(data) != crc:
            raise unreadable(key, self.name, "its checksum or its size is another than the directory says")
        return data

    def stamp(self, key: str) -> str:
        """Return what `inflate.version` says of the archive, and the member's size and CRC-32: others may have the same."""
        row = self._names.place(key)
        return f"{self._version}-{self._places[row, 2]}-{self._places[row, 3]:08x}" if row >= 0 else ""


def _body(file: IO[bytes], key: str, packed: int, path: Path) -> bytes:
    """Return a member's packed bytes; the file stands at its header, which must tell of the same name."""
    magic, _, flags, *_, name, extra = _LOCAL.unpack(file.read(_LOCAL.size))
    if magic != b"PK\3\4" or safe(_decoded(file.read(name), flags), path) != key:
        raise zipfile.BadZipFile("its header and the directory do not fit together")
    file.seek(extra, 1)
    data = file.read(packed)
    if len(data) < packed:
        raise EOFError("the archive ends inside it")
    return data


def _unpacked(data: bytes, method: int, size: int) -> bytes:
    """Return at most size + 1 bytes of what `data` unpacks to."""
    if method == zipfile.ZIP_STORED:
        return data
    if method == zipfile.ZIP_DEFLATED:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, size + 1)
    if method == zipfile.ZIP_BZIP2:
        return bz2.BZ2Decompressor().decompress(data, size + 1)
    if method == zipfile.ZIP_LZMA:
        return _lzma(data, size)
    raise ValueError(f"it is packed by method {method}, which is not known")


def _lzma(data: bytes, size: int) -> bytes:
    """Return what a member packed by LZMA holds: version, size of the properties, properties (APPNOTE 5.8.8)."""
    (length,) = struct.unpack_from("<H", data, 2)
    first, wished = struct.unpack_from("<BL", data, 4)
    if first >= 225 or length != 5:
        raise ValueError("its LZMA properties are none")
    # A dictionary larger than what it is to hold is of no use, but takes the memory that it asks for.
    dictionary = min(max(wished, 4096), max(size, 4096))
    properties = {"id": lzma.FILTER_LZMA1, "dict_size": dictionary, "lc": first % 9, "lp": first // 9 % 5, "pb": first // 45}
    return lzma.LZMADecompressor(lzma.FORMAT_RAW, filters=[properties]).decompress(data[9:], size + 1)


def listing(path: Path, limits: Limits) -> Listing:
    """Return the files of a zip.

    Raises `DataError` (unsafe-archive, encrypted, …), and `BadZipFile` and what reading raises where it is damaged.
    """
    members = Members(path, 5, limits)
    unpacked = packed = 0
    spans = array("q")
    with path.open("rb") as file:
        for entry in entries(file):
            members.count()
            unpacked, packed = unpacked + entry.size, packed + entry.packed
            spans.extend((entry.offset, entry.offset + _LOCAL.size + entry.packed))
            if not entry.name.endswith(("/", "\\")):
                _add(members, entry)
    inflate.check(path, unpacked, packed, limits)
    _refuse_overlap(path, np.frombuffer(spans, np.int64).reshape(-1, 2))
    names, places, twice = members.table()
    return listed(ZipStore(path, names, places, limits), names, twice)


def _add(members: Members, entry: Entry) -> None:
    name = safe(entry.name, members.path)
    if stat.S_IFMT(entry.mode) not in (0, stat.S_IFREG):
        raise unsafe(members.path, name, "is a link or a device")
    if entry.flags & _SECRET:
        raise DataError(f"{members.path} is encrypted: {name}", code="encrypted", hint="unpack it with its password first")
    members.add(name, entry.offset, entry.packed, entry.size, entry.crc, entry.method)


def _refuse_overlap(path: Path, spans: I64) -> None:
    """Refuse members that share bytes: by them a small zip unpacks to anything (D. Fifield, A better zip bomb, 2019)."""
    spans = spans[np.argsort(spans[:, 0], kind="stable")]
    shared = np.flatnonzero(spans[:-1, 1] > spans[1:, 0])
    if len(shared):
        raise unsafe(path, f"at byte {spans[shared[0] + 1, 0]:,}", "shares its bytes with another")


def entries(file: IO[bytes]) -> Iterator[Entry]:
    """Yield the entries of a zip's directory, one by one. Raises `BadZipFile`, `struct.error`, `NotImplementedError`."""
    start, size, number, shift = _directory(file)
    file.seek(start)
    left = size
    seen = 0
    while left > 0:
        magic, *fields = _ENTRY.unpack(file.read(_ENTRY.size))
        if magic != b"PK\1\2":
            raise zipfile.BadZipFile("what should be its directory is none")
        lengths = fields[9:12]
        name, extra, _ = (file.read(length) for length in lengths)
        left -= _ENTRY.size + sum(lengths)
        if len(name) < lengths[0] or len(extra) < lengths[1] or left < 0:
            raise zipfile.BadZipFile("its directory ends inside an entry")
        seen += 1
        yield _entry(fields, name, extra, shift)
    if (seen - number) % 0x10000:  # older programs count no further than that
        raise zipfile.BadZipFile(f"its directory lists {seen:,} members and says that it lists {number:,}")


def _entry(fields: list[int], raw: bytes, extra: bytes, shift: int) -> Entry:
    _, version, flags, method, _, _, crc, packed, size, *_, disk, _, attributes, offset = fields
    if version & 0xFF > _NEWEST:
        raise NotImplementedError(f"it needs version {(version & 0xFF) / 10} of the format")
    if disk:
        raise zipfile.BadZipFile("it is one of several disks")
    size, packed, offset = _wide(extra, size, packed, offset)
    if offset + shift < 0:
        raise zipfile.BadZipFile(f"it lacks its first {-(offset + shift):,} bytes")
    return Entry(_decoded(raw, flags), flags, method, crc, packed, size, offset + shift, attributes >> 16)


def _wide(extra: bytes, size: int, packed: int, offset: int) -> tuple[int, int, int]:
    """Return sizes and offset, those that do not fit into 32 bits from the extra field of zip64 (APPNOTE 4.5.3)."""
    if _FULL not in (size, packed, offset):
        return size, packed, offset
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            wide = iter(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
            return tuple(next(wide, value) if value == _FULL else value for value in (size, packed, offset))  # type: ignore[return-value]
        at += 4 + length
    return size, packed, offset


def _directory(file: IO[bytes]) -> tuple[int, int, int, int]:
    """Return where the directory starts, its bytes, its entries, and how far all offsets are to be shifted.

    A zip may have other bytes before it, such as a program that unpacks it.
    """
    length = file.seek(0, 2)
    file.seek(max(length - _END.size - 0xFFFF, 0))
    tail = file.read()
    at = tail.rfind(b"PK\5\6")
    if at < 0 or at + _END.size > len(tail):
        raise zipfile.BadZipFile("it has no directory at its end")
    _, disk, first, _, number, size, start, comment = _END.unpack_from(tail, at)
    place = length - len(tail) + at
    if at + _END.size + comment > len(tail):
        raise zipfile.BadZipFile("it ends before its end")
    end = place
    if _LOCATOR.size <= at and tail[at - _LOCATOR.size : at - _LOCATOR.size + 4] == b"PK\6\7":
        end = place - _LOCATOR.size - _END64.size
        file.seek(max(end, 0))
        magic, *_, disk, first, _, number, size, start = _END64.unpack(file.read(_END64.size))
        if magic != b"PK\6\6":
            raise zipfile.BadZipFile("its zip64 directory is none")
    if disk or first or end - size < 0:
        raise zipfile.BadZipFile("it is one of several disks, or lacks its beginning")
    return end - size, size, number, end - size - start


def _decoded(name: bytes, flags: int) -> str:
    """Return a member's name. Where the zip does not say that it is UTF-8, many programs write UTF-8 nevertheless."""
    if flags & _UTF8:
        return name.decode("utf-8", "surrogateescape")
    try:
        return name.decode("utf-8")
    except UnicodeDecodeError:
        return name.decode("cp437")
