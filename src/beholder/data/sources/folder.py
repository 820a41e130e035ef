"""A folder on the disk."""

from __future__ import annotations

import os
import stat
from collections import deque
from pathlib import Path

from beholder.base.errors import DataError, PictureError
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources.listing import Listing, is_junk


class FolderStore:
    """Files below `root`. A key is a posix path below it, or an absolute path that a CSV named."""

    def __init__(self, root: Path, *, limits: Limits = LIMITS) -> None:
        self._root = Path(root).absolute()
        self._base = str(self._root)
        self._limits = limits

    @property
    def name(self) -> str:
        """Return the folder's absolute path."""
        return self._base

    def path(self, key: str) -> str:
        """Return where the file of `key` lies."""
        return os.path.join(self._base, key)  # noqa: PTH118 (called once per picture; pathlib is ten times slower)

    def read(self, key: str) -> bytes:
        """Return a file's bytes. Raises `PictureError` (unreadable, too-many-bytes)."""
        return file_bytes(self.path(key), name=key, limits=self._limits)

    def stamp(self, key: str) -> str:
        """Return size and time of last change."""
        try:
            status = os.stat(self.path(key))  # noqa: PTH116 (as above)
        except OSError:
            return ""
        return f"{status.st_size}-{status.st_mtime_ns}"


def file_bytes(path: str | Path, *, name: str = "", limits: Limits = LIMITS) -> bytes:
    """Return the bytes of one ordinary file. Raises `PictureError` (path-missing, unreadable, too-many-bytes)."""
    name = name or str(path)
    try:
        # Without O_NONBLOCK, opening a pipe would wait for somebody to write into it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise PictureError(f"{name} is not an ordinary file", code="unreadable", hint="give a picture file")
            if status.st_size > limits.bytes:
                raise too_many_bytes(name, status.st_size, limits.bytes)
            return file.read()
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise PictureError(
            f"cannot read {name}: {getattr(error, 'strerror', None) or error}",
            code="path-missing" if isinstance(error, FileNotFoundError) else "unreadable",
            hint="check that the file is still there and that you may read it",
        ) from error


def too_many_bytes(key: str, size: int, limit: int) -> PictureError:
    """Return the error for a file larger than `Limits.bytes`."""
    return PictureError(
        f"{key} has {size:,} bytes, more than the limit of {limit:,}",
        code="too-many-bytes",
        hint="make the picture smaller, or raise Limits.bytes",
    )


def listing(root: Path, *, limits: Limits = LIMITS) -> Listing:
    """Return every file below `root`, hidden ones left out; links to folders are followed once, so loops end.

    Raises `DataError` (too-many-members, unreadable).
    """
    names: list[str] = []
    seen: set[str] = set()
    odd = 0
    # Real folders first: where a link leads to a folder that is listed anyway, the real name is the one that stays.
    real, linked = deque([""]), deque[str]()
    while real or linked:
        below = (real or linked).popleft()
        path = os.path.realpath(root / below)
        if path in seen:
            continue
        seen.add(path)
        for entry in _entries(root / below):
            name = f"{below}{entry.name}"
            if is_junk(entry.name):
                continue
            if entry.is_dir():
                (linked if entry.is_symlink() else real).append(name + "/")
            elif entry.is_file() and writable(name):
                names.append(name)
            else:
                odd += 1
        if len(names) > limits.members:
            raise too_many_members(str(root), limits.members)
    left = f"{odd:,} entries left out: broken links, devices, or names that are not UTF-8"
    return Listing(FolderStore(root, limits=limits), sorted(names), (left,) if odd else ())


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as error:
        raise DataError(
            f"cannot list {folder}: {error.strerror or error}", code="unreadable", hint="check that you may read this folder"
        ) from error


def writable(name: str) -> bool:
    """Return False for a name that could not be written into a report: bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def too_many_members(where: str, limit: int) -> DataError:
    """Return the error for a folder or archive with more files than `Limits.members`."""
    return DataError(
        f"{where} holds more than {limit:,} files",
        code="too-many-members",
        hint="give a smaller source, or raise Limits.members",
    )
