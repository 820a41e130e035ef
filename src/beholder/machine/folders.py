"""Where the user's cache lies. Deleting any of it loses nothing but time."""

from __future__ import annotations

import math
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from beholder.base.errors import MachineError, UsageError
from beholder.base.files import check_writable

VARIABLE = "BEHOLDER_CACHE"

ROOM = "BEHOLDER_ROOM"
"""GiB that decoded pixels, and copies of objects from object storage, may each take."""

RESERVE = 1 << 30
"""Bytes of a disk that the cache leaves free."""

_INSTEAD: ContextVar[str] = ContextVar("beholder_cache", default="")
"""The folder of a block in which the cache is forgotten: of its thread alone, as others may train meanwhile."""


def cache_folder(root: str | Path | None = None) -> Path:
    """Return the cache folder, which need not exist: `root` if given, that of `cache` or BEHOLDER_CACHE, or the user's own.

    The user's own is the system's folder for caches (XDG_CACHE_HOME where set) and "beholder". Raises `MachineError` (no-home).
    """
    if given := root or _INSTEAD.get() or os.environ.get(VARIABLE):
        return Path(given).expanduser().absolute()
    import platformdirs

    try:
        return platformdirs.user_cache_path("beholder", appauthor=False)
    except RuntimeError as error:
        hint = f"name a cache folder with --cache or {VARIABLE}"
        raise MachineError(f"this user has no home: {error}", code="no-home", hint=hint) from error


def room(path: Path, held: int, *, default: float = math.inf) -> float:
    """Return the bytes that one kind of the cache may take in all: BEHOLDER_ROOM where it is set, else `default`.

    It is never more than what lies in the folder `path` by now, `held` bytes, and what its disk has free beside `RESERVE`.
    Raises `UsageError` (bad-value).
    """
    said = os.environ.get(ROOM, "")
    try:
        most = float(said) * 2**30 if said else default
    except ValueError:
        most = -1
    if not most >= 0:
        raise UsageError(f"{ROOM} cannot be '{said}'", code="bad-value", hint="give a number of GiB, such as 50")
    above = next((folder for folder in (path, *path.parents) if folder.is_dir()), Path("/"))
    return min(most, max(0, held + shutil.disk_usage(above).free - RESERVE))


def command() -> str:
    """Return how this person can call `beholder`: by its name, or by its path where it is in no folder of PATH."""
    called = Path(sys.argv[0])
    return str(called) if called.name == "beholder" and shutil.which("beholder") is None else "beholder"


@contextmanager
def forgotten() -> Iterator[Path]:
    """Inside the block the cache is a new folder, which is yielded and deleted afterwards: nothing else is read or written.

    It holds for this thread, not for threads and processes that are started from it.
    """
    with tempfile.TemporaryDirectory(prefix="beholder-", ignore_cleanup_errors=True) as folder:  # Windows: a file may be open
        token = _INSTEAD.set(folder)
        try:
            yield Path(folder)
        finally:
            _INSTEAD.reset(token)


def cache(path: str | Path) -> Path:
    """Keep what can be made again in the folder `path`, in this process and those it starts; return its absolute path.

    Raises `UsageError` (no-name) for "", `MachineError` (cannot-write).
    """
    if not str(path):
        hint = "leave --cache out for the user's own cache folder; . is the folder that you are in"
        raise UsageError("the cache folder has no name", code="no-name", hint=hint)
    folder = cache_folder(path)
    check_writable(folder / "pixels", option="--cache")
    os.environ[VARIABLE] = str(folder)
    return folder
