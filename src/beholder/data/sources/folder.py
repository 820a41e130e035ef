"""A folder on the disk."""

from __future__ import annotations

import os
import stat
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.names import Names
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources.listing import Listing, case_notes, is_junk, some

STRIDE = 20_000
"""Files between two reports of progress."""


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

    Names are kept byte for byte, whatever their encoding. Folders that may not be listed are left out with a warning.
    Raises `DataError` (too-many-members; unreadable: `root` itself).
    """
    walk = _Walk(root, limits)
    walk.run()
    walk.names.sort()
    names = Names.of(walk.names)
    del walk.names
    return Listing(FolderStore(root, limits=limits), names, (*walk.notes(), *case_notes(names)))


class _Walk:
    """One walk. names: files found; odd: entries that are neither files nor folders; closed: folders that may not be listed."""

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root = root
        self.names: list[str] = []
        self.odd = 0
        self.closed: list[str] = []
        self._limits = limits
        # Real folders first: where a link leads to a folder that is listed anyway, the real name is the one that stays.
        self._real, self._linked = deque([""]), deque[str]()

    def run(self) -> None:
        """Visit every folder once."""
        seen: set[str] = set()
        while self._real or self._linked:
            below = (self._real or self._linked).popleft()
            path = os.path.realpath(self.root / below)
            if path not in seen:
                seen.add(path)
                self._visit(below)
        if len(self.names) >= STRIDE:
            events.progress("scanning", len(self.names), len(self.names))

    def _visit(self, below: str) -> None:
        try:
            with os.scandir(self.root / below) as entries:
                for entry in entries:
                    self._add(below, entry)
        except OSError as error:
            if not below:
                raise DataError(
                    f"cannot list {self.root}: {error.strerror or error}",
                    code="unreadable",
                    hint="check that you may read this folder",
                ) from error
            self.closed.append(below)

    def _add(self, below: str, entry: os.DirEntry[str]) -> None:
        if is_junk(entry.name):
            return
        try:
            folder, file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself, or to a place that may not be looked at
            folder = file = False
        if folder:
            (self._linked if entry.is_symlink() else self._real).append(f"{below}{entry.name}/")
        elif not file:
            self.odd += 1
        else:
            self.names.append(below + entry.name)
            if len(self.names) > self._limits.members:
                raise too_many_members(str(self.root), self._limits.members)
            if len(self.names) % STRIDE == 0:
                events.progress("scanning", len(self.names), 0)

    def notes(self) -> Iterator[str]:
        """Yield what was left out, in sentences; warn of folders that could not be listed."""
        if self.odd:
            yield f"{self.odd:,} entries left out: broken links, links in a circle, sockets, pipes or devices"
        if self.closed:
            text = f"{len(self.closed):,} folders could not be listed and were left out: {some(self.closed)}"
            events.warn(text, hint="check that you may read them", code="unreadable")
            yield text


def too_many_members(where: str, limit: int) -> DataError:
    """Return the error for a folder or archive with more files than `Limits.members`."""
    return DataError(
        f"{where} holds more than {limit:,} files",
        code="too-many-members",
        hint="give a smaller source, or raise Limits.members",
    )
