"""Files that are whole or absent."""

from __future__ import annotations

import errno
import glob
import hashlib
import os
import platform
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from beholder.base.errors import MachineError, UsageError


def sha256(data: bytes) -> str:
    """Return the SHA-256 of `data` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def identity(status: os.stat_result) -> str:
    """Return what changes when a file's bytes do, or another file takes its name: size, mtime, inode and ctime.

    Anyone can set the mtime (`tar`, `cp -p`, `touch -r`), nobody the ctime. On Windows that is the time of creation, and a
    system that has no inodes gives 0: what is left there is no worse than size and mtime.
    """
    return f"{status.st_size}-{status.st_mtime_ns}-{status.st_ino}-{status.st_ctime_ns}"


def fsync_folder(path: Path) -> None:
    """Make the names in a folder durable; a system that cannot open folders (Windows) does it by itself."""
    if os.name == "nt":
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def page(out: str | Path) -> Path:
    """Return a path that ends as a page of HTML does. Raises `UsageError` (bad-out)."""
    path = Path(out)
    if path.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"{path} is no name of a page", code="bad-out", hint="end it in .html")
    return path


def followed(path: Path) -> Path:
    """Return where a link at `path` leads, so that what is written goes there and the link stays; of no link, `path`."""
    return path.resolve() if path.is_symlink() else path


def write_atomic(path: Path, data: bytes, *, option: str = "--out") -> None:
    """Write a file that is whole or absent: a temporary sibling, fsync, rename, fsync of the folder.

    option: what the hint names. Raises `MachineError` (disk-full, cannot-write) and leaves an older file of that name as it is.
    """
    path = followed(Path(path))
    with telling_disk_errors(path, option=option):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        temporary = path.with_name(f"{_ours(path)}{uuid.uuid4().hex[:8]}.tmp")
        try:
            temporary.write_bytes(data)
            _fsync(temporary)
            _replace(temporary, path)
            fsync_folder(path.parent)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder_atomic(path: Path, *, option: str = "--out") -> Iterator[Path]:
    """Yield an empty temporary sibling of `path`; on success it takes the place of `path`, on failure it vanishes.

    An older folder of that name is moved aside before the rename and deleted after it, so one of the two is always whole.
    option: what the hint names. Raises `MachineError` when the disk is full or cannot be written.
    """
    path = followed(Path(path))
    with telling_disk_errors(path, option=option):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(path)
        temporary = path.with_name(f"{_ours(path)}{uuid.uuid4().hex[:8]}.tmp")
        try:
            temporary.mkdir()
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
    try:
        if path.exists():
            remove_folder(_aside(path), of=path)
            path.replace(_aside(path))
        temporary.replace(path)
    except BaseException:  # a signal may strike between the two renames
        adopt(path)
        raise
    finally:
        if path.exists():  # else the older folder is all there is
            remove_folder(_aside(path), of=path)


def remove_folder(path: Path, *, of: Path | None = None) -> None:
    """Delete a folder, if there is one. It is renamed to a temporary sibling of `of` first: it is never seen half deleted."""
    if not path.exists():
        return
    doomed = path.with_name(f"{_ours(of or path)}{uuid.uuid4().hex[:8]}.tmp")
    try:
        with suppress(OSError):  # else it is deleted where it lies
            path.replace(doomed)
        _delete(doomed, path)
    except BaseException:  # a signal: what is half deleted is of no use to anybody
        _delete(doomed, path)
        raise


def _delete(*paths: Path) -> None:
    for path in paths:
        shutil.rmtree(path, ignore_errors=True)


def _ours(path: Path) -> str:
    """Return how the names of this process's temporary siblings of `path` begin: with its machine and its number."""
    machine = re.sub(r"\W", "-", platform.node())[:32]
    return f".{path.name}.{machine}.{os.getpid()}."


def sweep(path: Path) -> None:
    """Delete temporary siblings of `path` that a process left which was killed on this machine."""
    if os.name == "nt":  # there, asking for a process by signal 0 would end it
        return
    for found in path.parent.glob(f"{glob.escape(_ours(path).removesuffix(f'{os.getpid()}.'))}*.tmp"):
        number = found.name.split(".")[-3]
        if number.isdecimal() and not _alive(int(number)):
            shutil.rmtree(found, ignore_errors=True)
            with suppress(OSError):
                found.unlink()


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True


def _aside(path: Path) -> Path:
    return path.with_name(f".{path.name}.old")


def adopt(path: Path) -> None:
    """Put an older folder back that was moved aside when its replacement never came: a kill between the two renames."""
    if not path.exists() and _aside(path).is_dir():
        _aside(path).replace(path)


def recover(path: Path) -> None:
    """Do what a kill left undone of `folder_atomic`: put the older folder back, or delete it where its replacement came.

    Only for who holds the place: somebody else may be about to replace the folder.
    """
    adopt(path)
    if path.exists():
        remove_folder(_aside(path), of=path)


def _fsync(path: Path) -> None:
    with path.open("r+b" if os.name == "nt" else "rb") as file:  # Windows flushes only what is open for writing
        os.fsync(file.fileno())


TRIES, PAUSE = 20, 0.05
"""How often, and after how many seconds each, a file is renamed again that Windows will not let go."""


def _replace(source: Path, target: Path) -> None:
    """Rename a file over another; on Windows again and again for a second, while somebody (a scanner, a reader) has it open."""
    for _ in range(TRIES if os.name == "nt" else 0):
        try:
            source.replace(target)
        except PermissionError:
            time.sleep(PAUSE)
        else:
            return
    source.replace(target)


@contextmanager
def telling_disk_errors(path: Path, *, option: str = "--out") -> Iterator[None]:
    """Turn an `OSError` of writing into a `MachineError` that says where and what to do; option: what the hint names."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = f"free some room on the disk that holds {path.parent}, or choose another place with {option}"
            raise MachineError(f"the disk is full while writing {path}", code="disk-full", hint=hint) from error
        hint = f"check that the folder exists and that you may write to it, or choose another place with {option}"
        raise MachineError(f"cannot write {path}: {error.strerror or error}", code="cannot-write", hint=hint) from error


def check_writable(path: Path, *, option: str = "--out", file: bool = False) -> None:
    """Raise `MachineError` (cannot-write) where nothing could be written to `path`: before the work, not after it.

    The nearest folder above it that exists is tried with a file that has no name or is gone at once. option: what the hint
    names; file: a file is to be written, so that a folder at `path` is in the way
    """
    above = path.absolute().parent
    while not os.path.lexists(above) and above != above.parent:
        above = above.parent
    why = "it is a folder" if file and path.is_dir() else "" if above.is_dir() else f"{above} is a file, not a folder"
    try:
        if not why:
            tempfile.TemporaryFile(dir=above).close()
    except OSError as error:
        why = f"nothing can be written into {above}: {error.strerror or error}"
    if why:
        hint = f"check that you may write there, or choose another place with {option}"
        raise MachineError(f"cannot write {path}: {why}", code="cannot-write", hint=hint)
