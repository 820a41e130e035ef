"""A zip or tar, read where it lies: nothing is unpacked to the user's folder."""

from __future__ import annotations

import itertools
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.names import Names
from beholder.base.records import Store
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import inflate
from beholder.data.sources.folder import too_many_bytes, too_many_members
from beholder.data.sources.listing import Listing, case_notes, is_junk

ZIP = (".zip",)
TAR = (".tar",)
PACKED = (".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2", ".tbz")

_ERRORS = (
    zipfile.BadZipFile, tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, NotImplementedError,
    struct.error, OverflowError, RecursionError, LookupError,
)  # fmt: skip
"""What the standard library raises of a damaged archive, or of one that was made to hurt."""

_LONG = 4096
"""Characters in a member's name; no system has longer paths."""

_ZIP_HEADER = 30
"""Bytes that come before a member's own, at the least (APPNOTE 4.3.7)."""


class ZipStore:
    """Members of a zip; `infos` maps keys to them. Threads may share it: `zipfile` locks around each read."""

    def __init__(self, path: Path, file: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], limits: Limits) -> None:
        self._path = path
        self._file = file
        self._infos = infos
        self._limits = limits

    @property
    def name(self) -> str:
        """Return the archive's absolute path."""
        return str(self._path)

    def read(self, key: str) -> bytes:
        """Return a member's bytes, its CRC checked. Raises `PictureError` (unreadable, too-many-bytes)."""
        info = self._infos.get(key)
        if info is None:
            raise _unreadable(key, self.name, "it is not in there")
        if info.file_size > self._limits.bytes:
            raise too_many_bytes(key, info.file_size, self._limits.bytes)
        try:
            return self._file.read(info)
        except _ERRORS as error:
            raise _unreadable(key, self.name, str(error)) from error

    def stamp(self, key: str) -> str:
        """Return the member's size and CRC-32."""
        info = self._infos.get(key)
        return f"{info.file_size}-{info.CRC:08x}" if info else ""


class TarStore:
    """Members of an uncompressed tar, on the disk or in memory; `spans` maps keys to (offset, size)."""

    def __init__(self, path: Path, body: Path | bytes, spans: dict[str, tuple[int, int]], limits: Limits) -> None:
        self._path = path
        self._body = body
        self._spans = spans
        self._limits = limits
        self._version = inflate.version(path)

    @property
    def name(self) -> str:
        """Return the archive's absolute path."""
        return str(self._path)

    def read(self, key: str) -> bytes:
        """Return a member's bytes. Raises `PictureError` (unreadable, too-many-bytes)."""
        if key not in self._spans:
            raise _unreadable(key, self.name, "it is not in there")
        offset, size = self._spans[key]
        if size > self._limits.bytes:
            raise too_many_bytes(key, size, self._limits.bytes)
        if isinstance(self._body, bytes):
            return self._body[offset : offset + size]
        try:
            with self._body.open("rb", buffering=0) as file:
                file.seek(offset)
                return file.read(size)
        except OSError as error:
            raise _unreadable(key, self.name, error.strerror or str(error)) from error

    def stamp(self, key: str) -> str:
        """Return the archive's size and time of last change, and where the member lies in it."""
        return f"{self._version}-{self._spans[key][0]}-{self._spans[key][1]}" if key in self._spans else ""


def _unreadable(key: str, where: str, why: str) -> PictureError:
    return PictureError(
        f"cannot read {key} in {where}: {why}", code="unreadable", hint="the archive is damaged: fetch it again"
    )


def is_archive(path: Path) -> bool:
    """Return True where a file's name says zip or tar."""
    return path.name.lower().endswith(ZIP + TAR + PACKED)


def beside(path: Path) -> Path | None:
    """Return the archive next to `path` that has the same name but for its ending, or None."""
    near = (path.with_name(path.stem + suffix) for suffix in ZIP + TAR + PACKED)
    return next((file for file in near if file.is_file()), None)


def listing(path: Path, *, limits: Limits = LIMITS) -> Listing:
    """Return the files of a zip or tar.

    Of members with the same name the last one counts, as where they are unpacked. An archive inside is refused, not searched.
    Raises `DataError` (not-an-archive, unsafe-archive, nested-archive, encrypted, too-many-members, too-many-bytes).
    """
    path = path.absolute()
    try:
        return _zip(path, limits) if path.name.lower().endswith(ZIP) else _tar(path, limits)
    except _ERRORS as error:
        raise DataError(
            f"{path} is not a {'zip' if path.name.lower().endswith(ZIP) else 'tar'} archive, or is damaged: {error}",
            code="not-an-archive",
            hint="open it with another program to see whether it is whole, and fetch it again if it is not",
        ) from error


def _zip(path: Path, limits: Limits) -> Listing:
    file = zipfile.ZipFile(path)
    members = file.infolist()
    if len(members) > limits.members:
        raise too_many_members(str(path), limits.members)
    unpacked = sum(info.file_size for info in members)
    inflate.check(path, unpacked, sum(info.compress_size for info in members), limits)
    _refuse_overlap(path, members)
    infos: dict[str, zipfile.ZipInfo] = {}
    twice = 0
    for info in members:
        if info.is_dir() or info.filename.endswith("\\"):
            continue
        name = safe(_decoded(info), path)
        if "\0" in info.orig_filename:
            raise _unsafe(path, name, "has a zero byte in its name")
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
            raise _unsafe(path, name, "is a link or a device")
        if info.flag_bits & 1:
            raise DataError(f"{path} is encrypted: {name}", code="encrypted", hint="unpack it with its password first")
        if _wanted(name, path):
            twice += name in infos
            infos[name] = info
    return _listed(ZipStore(path, file, infos, limits), sorted(infos), twice)


def _refuse_overlap(path: Path, members: list[zipfile.ZipInfo]) -> None:
    """Refuse members that share bytes: by them a small zip unpacks to anything (D. Fifield, A better zip bomb, 2019)."""
    spans = sorted((info.header_offset, info.compress_size, info.filename) for info in members)
    if spans and spans[0][0] < 0:
        raise zipfile.BadZipFile(f"it lacks its first {-spans[0][0]:,} bytes")
    for (start, size, _), (following, _, name) in itertools.pairwise(spans):
        if start + _ZIP_HEADER + size > following:
            raise _unsafe(path, name, "shares its bytes with another")


def _wanted(name: str, path: Path) -> bool:
    """Return False for what systems and tools leave behind. Raises `DataError` (nested-archive)."""
    if any(is_junk(part) for part in name.split("/")):
        return False
    if name.lower().endswith(ZIP + TAR + PACKED):
        raise DataError(
            f"{path} holds another archive, {name!r}; archives in archives are not read",
            code="nested-archive",
            hint="unpack the outer one to a folder; then give the inner one, or the folder once all are unpacked",
        )
    return True


def _listed(store: Store, names: list[str], twice: int) -> Listing:
    packed = Names.of(names)
    notes = [f"{twice:,} members have the name of an earlier one, which they replace"] if twice else []
    return Listing(store, packed, (*notes, *case_notes(packed)))


def _decoded(info: zipfile.ZipInfo) -> str:
    """Return a member's name. Where the zip does not say that it is UTF-8, many programs write UTF-8 nevertheless."""
    name = info.filename
    if not info.flag_bits & 0x800 and not name.isascii():
        try:
            name = name.encode("cp437").decode("utf-8")
        except UnicodeError:
            pass
    return name


def safe(name: str, path: Path) -> str:
    """Return a member's name as a posix path below the archive's root. Raises `DataError` (unsafe-archive) if it leads out."""
    plain = name.replace("\\", "/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    if plain.startswith("/") or ".." in parts or "\0" in plain or (len(plain) > 1 and plain[1] == ":"):
        raise _unsafe(path, name, "leads out of the archive")
    if not parts:
        raise _unsafe(path, name, "has no name")
    if len(plain) > _LONG:
        raise _unsafe(path, name[:40] + "…", f"has a name of {len(plain):,} characters")
    return "/".join(parts)


def _unsafe(path: Path, name: str, why: str) -> DataError:
    return DataError(
        f"{path} is refused: its member {name!r} {why}",
        code="unsafe-archive",
        hint="pack the pictures again as plain files in plain folders",
    )


def _tar(path: Path, limits: Limits) -> Listing:
    packed = path.name.lower().endswith(PACKED)
    body: Path | bytes = inflate.inflated(path, limits) if packed else path
    spans: dict[str, tuple[int, int]] = {}
    seen = twice = 0
    with inflate.opened(body) as (file, length), tarfile.open(fileobj=file, mode="r:") as tar:
        for member in _forwards(tar):
            seen += 1
            if seen > limits.members:
                raise too_many_members(str(path), limits.members)
            if member.isdir():
                continue
            name = safe(member.name, path)
            if not member.isreg() or member.issparse():
                raise _unsafe(path, name, "is a link, a device or a sparse file")
            if member.offset_data + member.size > length:
                raise EOFError(f"it ends inside {name}")
            if _wanted(name, path):
                twice += name in spans
                spans[name] = (member.offset_data, member.size)
        whole = _ended(tar, length)
    listed = _listed(TarStore(path, body, spans, limits), sorted(spans), twice)
    return listed if whole else replace(listed, notes=(*listed.notes, _unended(path)))


def _ended(tar: tarfile.TarFile, length: int) -> bool:
    """Return True where a tar has its end mark, False where it just stops; `tarfile` takes either, and damage, for the end."""
    if tar.offset >= length:
        return False
    tar.fileobj.seek(tar.offset)
    if any(tar.fileobj.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"what follows byte {tar.offset:,} is no header")
    return True


def _unended(path: Path) -> str:
    text = f"{path.name} stops without the mark of its end: members may be missing"
    events.warn(text, hint="compare its size with that of the original", code="truncated")
    return text


def _forwards(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members one by one and forget them. A size below zero would lead back to a member that was read already."""
    at = -1
    while (member := tar.next()) is not None:
        if member.size < 0 or member.offset <= at:
            raise tarfile.ReadError(f"a size of {member.size} in its header")
        at = member.offset
        tar.members = []  # type: ignore[attr-defined]  # else each keeps a kilobyte
        yield member
