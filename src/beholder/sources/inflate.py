"""Compressed tars, decompressed once: to memory if small, else to the cache folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.files import identity, sha256, telling_disk_errors
from beholder.base.limits import RATIO_FLOOR, Limits
from beholder.base.locks import evict, hold
from beholder.machine.folders import cache_folder

if TYPE_CHECKING:
    from typing_extensions import Buffer

SMALL = 64 << 20
"""Bytes up to which a decompressed tar stays in memory."""

KEPT = 20 << 30
"""Bytes of decompressed tars that the cache folder keeps; the oldest go first."""

XZ_MEMORY = 256 << 20
"""Bytes that decompressing an .xz may take; the highest preset of `xz` takes 65 MiB."""

HEADER = 8 << 20
"""Bytes that one header of a tar may have, long names and all."""

_CHUNK = 1 << 20


def version(path: Path) -> str:
    """Return size, times of last change and inode of a file."""
    return identity(path.stat())


def held(owner: object, path: Path) -> None:
    """Keep an archive that lies in the cache folder from being deleted as long as `owner`, which reads it, lives."""
    if cache_folder() in path.parents:
        hold(owner, path)


def check(path: object, unpacked: int, packed: int, limits: Limits) -> None:
    """Raise `DataError` (too-many-bytes) where an archive unpacks to too much."""
    if unpacked > limits.total or (unpacked > RATIO_FLOOR and unpacked > limits.ratio * max(packed, 1)):
        raise DataError(
            f"{path} is refused: its {packed:,} bytes unpack to {unpacked:,} or more",
            code="too-many-bytes",
            hint=f"the limits are {limits.total:,} bytes and {limits.ratio:g} times the packed size; "
            "unpack it yourself if you trust it, or raise Limits.total and Limits.ratio",
        )


def inflated(path: Path, limits: Limits, *, root: Path | None = None) -> Path | bytes:
    """Return the tar inside a .tar.gz, .tar.xz or .tar.bz2: its bytes, or the path of a copy in the cache folder.

    Raises `DataError` (too-many-bytes), `MachineError` (disk-full), and what the decompressors raise.
    """
    copy = cache_folder(root) / "archives" / f"{sha256(os.fsencode(f'{path.resolve()}-{version(path)}'))[:32]}.tar"
    if copy.is_file():
        os.utime(copy)
        return copy
    with _decompressor(path) as file:
        head = file.read(SMALL + 1)
        if len(head) <= SMALL:
            check(path, len(head), path.stat().st_size, limits)
            return head
        events.note(f"{path.name} is decompressed once, to {copy.parent}", path=str(copy))
        _spill(path, head, file, copy, limits)
    evict(copy.parent.glob("*.tar"), KEPT, using=[copy])
    return copy


def _decompressor(path: Path) -> gzip.GzipFile | io.BufferedReader | bz2.BZ2File:
    name = path.name.lower()
    if name.endswith("gz"):
        return gzip.open(path)
    return io.BufferedReader(_Xz(path), _CHUNK) if name.endswith("xz") else bz2.open(path)


class _Xz(io.RawIOBase):
    """An .xz read from front to back. `lzma.open` would take as much memory as the file asks for."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._new()

    def _new(self) -> None:
        self._stream = lzma.LZMADecompressor(memlimit=XZ_MEMORY)

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill `buffer` from the front; return how many bytes there were, 0 at the end. Raises `EOFError`, `LZMAError`."""
        view = memoryview(buffer)
        while True:
            if self._stream.eof:  # another stream may follow, after zeros
                rest = (self._stream.unused_data or self._file.read(_CHUNK)).lstrip(b"\0")
                if not rest and not (rest := self._file.read(_CHUNK).lstrip(b"\0")):
                    return 0
                self._new()
            else:
                rest = self._file.read(_CHUNK) if self._stream.needs_input else b""
                if not rest and self._stream.needs_input:
                    raise EOFError("it ends before its end was marked")
            data = self._stream.decompress(rest, len(view))
            if data:
                view[: len(data)] = data
                return len(data)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


def _spill(path: Path, head: bytes, file: IO[bytes] | io.BufferedIOBase, copy: Path, limits: Limits) -> None:
    packed, written = path.stat().st_size, len(head)
    temporary = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
    try:
        with telling_disk_errors(copy, option="--cache"):
            copy.parent.mkdir(parents=True, exist_ok=True)
            out = temporary.open("wb")
        with out:
            chunk = head
            while chunk:
                check(path, written, packed, limits)
                with telling_disk_errors(copy, option="--cache"):
                    out.write(chunk)
                chunk = file.read(_CHUNK)
                written += len(chunk)
        with telling_disk_errors(copy, option="--cache"):
            temporary.replace(copy)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def opened(body: Path | bytes) -> Iterator[tuple[Any, int]]:
    """Yield a tar as an open file from which headers are read, and its length in bytes."""
    if isinstance(body, bytes):
        yield _Headers(io.BytesIO(body)), len(body)
        return
    with body.open("rb") as file:
        yield _Headers(file), body.stat().st_size


class _Headers(io.RawIOBase):
    """The file that `tarfile` reads headers from: one that says it has gigabytes is refused before they are read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def read(self, size: int | None = -1) -> bytes:
        """Return so many bytes. Raises `ReadError` where they are too many for a header."""
        if size is None or not 0 <= size <= HEADER:
            raise tarfile.ReadError(f"a header of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Go to a place."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place."""
        return self._file.tell()
