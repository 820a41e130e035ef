"""Where the user's cache lies. Deleting any of it loses nothing but time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

from beholder.base.errors import MachineError
from beholder.base.files import check_writable

VARIABLE = "BEHOLDER_CACHE"

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

    Raises `MachineError` (cannot-write).
    """
    folder = cache_folder(path)
    check_writable(folder / "pixels", option="--cache")
    os.environ[VARIABLE] = str(folder)
    return folder
