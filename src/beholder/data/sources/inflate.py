"""Compressed tars, decompressed once: to memory if small, else to the cache folder."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.files import cache_folder, sha256, telling_disk_errors
from beholder.data.limits import RATIO_FLOOR, Limits

SMALL = 64 << 20
"""Bytes up to which a decompressed tar stays in memory."""

KEPT = 20 << 30
"""Bytes of decompressed tars that the cache folder keeps; the oldest go first."""

_CHUNK = 1 << 20


def version(path: Path) -> str:
    """Return size and time of last change of a file."""
    status = path.stat()
    return f"{status.st_size}-{status.st_mtime_ns}"


def check(path: Path, unpacked: int, packed: int, limits: Limits) -> None:
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
    copy = cache_folder(root) / "archives" / f"{sha256(f'{path.resolve()}-{version(path)}'.encode())[:32]}.tar"
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
    _evict(copy)
    return copy


def _decompressor(path: Path) -> gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File:
    name = path.name.lower()
    if name.endswith("gz"):
        return gzip.open(path)
    return lzma.open(path) if name.endswith("xz") else bz2.open(path)


def _spill(path: Path, head: bytes, file: gzip.GzipFile | lzma.LZMAFile | bz2.BZ2File, copy: Path, limits: Limits) -> None:
    packed, written = path.stat().st_size, len(head)
    temporary = copy.with_name(f".{copy.name}.{os.getpid()}.tmp")
    try:
        with telling_disk_errors(copy):
            copy.parent.mkdir(parents=True, exist_ok=True)
            out = temporary.open("wb")
        with out:
            chunk = head
            while chunk:
                check(path, written, packed, limits)
                with telling_disk_errors(copy):
                    out.write(chunk)
                chunk = file.read(_CHUNK)
                written += len(chunk)
        with telling_disk_errors(copy):
            temporary.replace(copy)
    finally:
        temporary.unlink(missing_ok=True)


def _evict(newest: Path) -> None:
    copies = sorted(newest.parent.glob("*.tar"), key=lambda file: file.stat().st_mtime, reverse=True)
    held = 0
    for file in copies:
        held += file.stat().st_size
        if held > KEPT and file != newest:
            file.unlink(missing_ok=True)


@contextmanager
def opened(body: Path | bytes) -> Iterator[tuple[IO[bytes], int]]:
    """Yield a tar as an open file, and its length in bytes."""
    if isinstance(body, bytes):
        yield io.BytesIO(body), len(body)
        return
    with body.open("rb") as file:
        yield file, body.stat().st_size
