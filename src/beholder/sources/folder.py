"""A folder on the disk."""

from __future__ import annotations

import heapq
import os
import stat
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.files import identity
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import Names
from beholder.sources.listing import Listing, case_notes, is_junk, some

STRIDE = 20_000
"""Files between two reports of progress."""


_UNICODE = sys.getfilesystemencoding().lower() in ("utf-8", "utf8")
"""Whether every name of a file can be said; LC_ALL=C without Python's UTF-8 mode cannot say "ä"."""


def _on_disk(path: str) -> str:
    """Return a path as the system takes it where names are ASCII by its locale: names were read as bytes of UTF-8."""
    try:
        os.fsencode(path)
    except UnicodeEncodeError:
        return os.fsdecode(path.encode("utf-8", "surrogateescape"))
    return path


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
        path = os.path.join(self._base, key)  # noqa: PTH118 (called once per picture; pathlib is ten times slower)
        return path if _UNICODE else _on_disk(path)

    def read(self, key: str) -> bytes:
        """Return a file's bytes. Raises `PictureError` (unreadable, too-many-bytes)."""
        return file_bytes(self.path(key), name=key, limits=self._limits)

    def stamp(self, key: str) -> str:
        """Return size, times of last change and inode."""
        try:
            status = os.stat(self.path(key))  # noqa: PTH116 (as above)
        except OSError:
            return ""
        return identity(status)


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
    hint = "make the picture smaller, or raise Limits.bytes"
    return PictureError(f"{key} has {size:,} bytes, more than the limit of {limit:,}", code="too-many-bytes", hint=hint)


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
    notes = (*walk.notes(), *case_notes(names))
    return Listing(FolderStore(root, limits=limits), names, notes, empty=tuple(sorted(walk.empty)))


class _Walk:
    """One walk. names: files found; odd: entries that are neither files nor folders; closed: folders that may not be listed.

    empty: folders with nothing in them
    same: links to a folder that was listed under another name already; one to a folder that it lies in is none
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.root = root
        self.names: list[str] = []
        self.odd = 0
        self.closed: list[str] = []
        self.same: list[str] = []
        self.empty: list[str] = []
        self._limits = limits
        # Real folders first: where a link leads to a folder that is listed anyway, the real name is the one that stays. Of
        # links the first by name: no disk's order decides which class a folder is.
        self._real: deque[str] = deque([""])
        self._linked: list[str] = []

    def run(self) -> None:
        """Visit every folder once."""
        seen: dict[str, str] = {}
        while self._real or self._linked:
            below = self._real.popleft() if self._real else heapq.heappop(self._linked)
            path = os.path.realpath(self.root / below)
            if path not in seen:
                seen[path] = below
                self._visit(below)
            elif not below.startswith(seen[path]):
                self.same.append(f"{below.rstrip('/')} is {seen[path].rstrip('/')}")
        if len(self.names) >= STRIDE:
            events.progress("scanning", len(self.names), len(self.names))

    def _visit(self, below: str) -> None:
        try:
            with os.scandir(self.root / below) as entries:
                kept = 0
                for entry in entries:
                    kept += self._add(below, entry)
            if below and not kept:
                self.empty.append(below.rstrip("/"))
        except OSError as error:
            if not below:
                hint = "check that you may read this folder"
                raise DataError(f"cannot list {self.root}: {error.strerror or error}", code="unreadable", hint=hint) from error
            self.closed.append(below)

    def _add(self, below: str, entry: os.DirEntry[str]) -> bool:
        """Take one entry; return whether it counts as something."""
        if is_junk(entry.name):
            return False
        try:
            folder, file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself, or to a place that may not be looked at
            folder = file = False
        if folder:
            if entry.is_symlink():
                heapq.heappush(self._linked, f"{below}{entry.name}/")
            else:
                self._real.append(f"{below}{entry.name}/")
        elif not file:
            self.odd += 1
        else:
            self.names.append(below + entry.name)
            if len(self.names) > self._limits.members:
                raise too_many_members(str(self.root), self._limits.members)
            if len(self.names) % STRIDE == 0:
                events.progress("scanning", len(self.names), 0)
        return True

    def notes(self) -> Iterator[str]:
        """Yield what was left out, in sentences; warn of folders that could not be listed, or were listed already."""
        if self.same:
            text = f"{len(self.same):,} links lead to folders that are listed under another name, and were left out: "
            text += some(self.same)
            hint = "if they are meant to be classes of their own, they show the same pictures"
            yield events.warn(text, hint=hint, code="same-folder")
        if self.odd:
            yield f"{self.odd:,} entries left out: broken links, links in a circle, sockets, pipes or devices"
        if self.closed:
            text = f"{len(self.closed):,} folders could not be listed and were left out: {some(self.closed)}"
            yield events.warn(text, hint="check that you may read them", code="unreadable")


def too_many_members(where: str, limit: int) -> DataError:
    """Return the error for a folder or archive with more files than `Limits.members`."""
    hint = "give a smaller source, or raise Limits.members"
    return DataError(f"{where} holds more than {limit:,} files", code="too-many-members", hint=hint)
