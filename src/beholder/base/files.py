"""Files that are whole or absent, and where the user's cache lies."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beholder.base.errors import MachineError


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable; a system that cannot open folders (Windows) does it by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file that is whole or absent: a temporary sibling, fsync, rename, fsync of the folder.

    Raises `MachineError` (disk-full, cannot-write) and leaves an older file of that name untouched.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with telling_disk_errors(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_atomic(path: Path) -> Iterator[Path]:
    """Yield an empty temporary sibling of `path`; on success it takes the place of `path`, on failure it vanishes.

    An older folder of that name is moved aside before the rename and deleted after it, so one of the two is always whole.
    Raises `MachineError` when the disk is full or cannot be written.
    """
    path = Path(path)
    with telling_disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent))
        try:
            temporary.chmod(0o755)
            yield temporary
            for file in sorted(temporary.rglob("*")):
                if file.is_file():
                    _fsync(file)
            fsync_folder(temporary)
            _take_place(temporary, path)
            fsync_folder(path.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _take_place(temporary: Path, path: Path) -> None:
    if not path.exists():
        temporary.replace(path)
        return
    aside = _aside(path)
    shutil.rmtree(aside, ignore_errors=True)
    try:
        path.replace(aside)
        temporary.replace(path)
    except BaseException:  # a signal may strike between the two renames
        adopt(path)
        raise
    shutil.rmtree(aside, ignore_errors=True)


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def adopt(path: Path) -> None:
    """Put an older folder back that was moved aside when its replacement never came: a kill between the two renames."""
    if not path.exists() and _aside(path).is_dir():
        _aside(path).replace(path)


def _fsync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


@contextmanager
def telling_disk_errors(path: Path) -> Iterator[None]:
    """Turn an `OSError` of writing into a `MachineError` that says where and what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise MachineError(
                f"the disk is full while writing {path}",
                code="disk-full",
                hint=f"free some room on the disk that holds {path.parent}, or choose another place with --out",
            ) from error
        raise MachineError(
            f"cannot write {path}: {error.strerror or error}",
            code="cannot-write",
            hint="check that the folder exists and that you may write to it, or choose another place with --out",
        ) from error


def cache_folder(root: str | Path | None = None) -> Path:
    """Return Beholder's folder under the user's cache folder, or `root` if given. It is not created.

    Deleting it loses nothing.
    """
    if root:
        return Path(root)
    if sys.platform == "win32":
        return Path.home() / "AppData" / "Local" / "beholder" / "cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "beholder"
    return Path.home() / ".cache" / "beholder"
