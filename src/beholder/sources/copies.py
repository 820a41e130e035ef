"""Copies of objects in the cache folder: whole, verified, within a limit of bytes, the least recently used deleted first.

    objects/<name>              a small object: SHA-256 of what follows, and its bytes
    objects/<name>/<file>       a large one, such as a tar, under its own name
                  /sha256       its digest

The name is a digest of address, size and tag: another version of an object has another copy. Any number of processes may use
one folder; a copy that is read is not deleted. Each further process may exceed the limit by the sixteenth part of it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from beholder.base.errors import DataError
from beholder.base.files import file_sha256, identity, sha256, telling_disk_errors
from beholder.base.locks import evict, share
from beholder.machine.folders import cache_folder, room
from beholder.sources.objects import Object

KEPT = 20 << 30
"""Bytes of copies, unless BEHOLDER_ROOM says other."""

PIECE = 8 << 20
"""Bytes of a large object that are asked for at once."""

_DIGEST = 32
_HOUR = 3600.0


class Copies:
    """The copies in one cache folder. read: gives bytes `start` … `start + size` of an object."""

    def __init__(self, read: Callable[[Object, int, int], bytes], *, root: Path | None = None) -> None:
        self._read = read
        self.folder = cache_folder(root) / "objects"
        self._lock = threading.Lock()
        self._fetching: dict[str, threading.Lock] = {}
        self._sound: set[tuple[Path, str]] = set()
        self._left = 0.0

    def bytes_of(self, thing: Object) -> bytes:
        """Return a small object, from its copy if there is one, else read and kept. Raises as `objects.read`."""
        path = self._place(thing)
        found = _unsealed(path)
        if found is None:
            found = self._read(thing, 0, thing.size)
            self._keep(path, found)
        return found

    def _keep(self, path: Path, data: bytes) -> None:
        if not self._make_room(len(data) + _DIGEST):
            return
        temporary = self._temporary(path)
        with suppress(OSError):  # a disk that is full, or somebody who deletes the cache: it is read again another time
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                temporary.write_bytes(hashlib.sha256(data).digest() + data)
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)

    def here(self, thing: Object) -> Path | None:
        """Return the copy of a large object, None if there is none; one that is damaged is deleted."""
        folder = self._place(thing)
        file = folder / _file_name(thing)
        try:
            known = (file, identity(file.stat()))
            if known not in self._sound and file_sha256(file) != (folder / "sha256").read_text():
                shutil.rmtree(folder, ignore_errors=True)
                return None
            os.utime(folder)
        except OSError:
            return None
        self._sound.add(known)
        return file

    def fetched(self, thing: Object) -> Path:
        """Return the copy of a large object, which is made if there is none.

        Raises `DataError` (too-many-bytes), `MachineError` (disk-full, cannot-write), and as `objects.read` does.
        """
        with self._lock:
            own = self._fetching.setdefault(thing.url, threading.Lock())
        with own:
            found = self.here(thing)
            return self._fetch(thing) if found is None else found

    def fits(self, sizes: Iterable[int]) -> bool:
        """Return whether copies of so many bytes find room beside each other."""
        return sum(sizes) < self._most()

    def _fetch(self, thing: Object) -> Path:
        if not self._make_room(thing.size):
            text = f"{thing.url} has {thing.size:,} bytes, more than the cache may take at {self.folder}"
            hint = "raise BEHOLDER_ROOM (GiB), choose a larger disk with --cache, or divide the set into several tars"
            raise DataError(text, code="too-many-bytes", hint=hint)
        folder = self._place(thing)
        temporary = self._temporary(folder)
        try:
            with telling_disk_errors(folder, option="--cache"):
                temporary.mkdir(parents=True)
                (temporary / "sha256").write_text(self._written(thing, temporary / _file_name(thing)))
                with suppress(OSError):  # another process was faster
                    temporary.rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        file = folder / _file_name(thing)
        with suppress(OSError):
            self._sound.add((file, identity(file.stat())))
        return file

    def _written(self, thing: Object, path: Path) -> str:
        """Write an object to a file; return its SHA-256 in hexadecimal digits."""
        digest = hashlib.sha256()
        with path.open("wb") as file:
            share(file.fileno())
            for start in range(0, thing.size, PIECE):
                piece = self._read(thing, start, min(PIECE, thing.size - start))
                digest.update(piece)
                file.write(piece)
        return digest.hexdigest()

    def _place(self, thing: Object) -> Path:
        return self.folder / sha256(f"{thing.url}\0{thing.size}\0{thing.tag}".encode("utf-8", "surrogateescape"))[:32]

    def _temporary(self, path: Path) -> Path:
        return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")

    def _most(self) -> float:
        held = 0
        for folder, _, files in os.walk(self.folder):
            for name in files:
                with suppress(OSError):  # another process may have deleted it
                    held += (Path(folder) / name).stat().st_size
        return room(self.folder, held, default=KEPT)

    def _make_room(self, size: int) -> bool:
        """Delete old copies where `size` more bytes would be too many; return whether they find room."""
        with self._lock:
            if size > self._left:
                most = self._most()
                if size > most:
                    return False
                self._sweep()
                part = max(size, most / 16)
                evict(self.folder.glob("[!.]*"), most - part)
                self._left = part
            self._left -= size
            return True

    def _sweep(self) -> None:
        """Delete what a killed process left an hour ago."""
        for path in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > _HOUR:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()


def _file_name(thing: Object) -> str:
    """Return an object's own name as one that every system takes, with its ending, by which an archive is known."""
    name = thing.url.rpartition("/")[2]
    return "".join(sign if sign.isalnum() or sign in "._-" else "_" for sign in name)[-100:]


def _unsealed(path: Path) -> bytes | None:
    """Return the bytes of a small copy, None where there is none, or other ones than were written."""
    try:
        with path.open("rb", buffering=0) as file:
            share(file.fileno())
            whole = file.read()
        os.utime(path)
    except OSError:
        return None
    return whole[_DIGEST:] if hashlib.sha256(whole[_DIGEST:]).digest() == whole[:_DIGEST] else None


def piece_of(path: Path, start: int, size: int) -> bytes | None:
    """Return `size` bytes of a large copy from `start` on, None where it was deleted in the meantime."""
    try:
        with path.open("rb", buffering=0) as file:
            if not share(file.fileno()):
                return None
            file.seek(start)
            data = file.read(size)
    except OSError:
        return None
    return data if len(data) == size else None
