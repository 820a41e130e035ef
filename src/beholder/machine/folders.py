"""Where the user's cache lies. Deleting any of it loses nothing but time."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from beholder.base.errors import MachineError
from beholder.base.files import check_writable

VARIABLE = "BEHOLDER_CACHE"


def cache_folder(root: str | Path | None = None) -> Path:
    """Return the cache folder, which need not exist: `root` if given, that of `cache` or BEHOLDER_CACHE, or the user's own.

    The user's own is the system's folder for caches (XDG_CACHE_HOME where set) and "beholder". Raises `MachineError` (no-home).
    """
    if given := root or os.environ.get(VARIABLE):
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
    """Inside the block the cache is a new folder, which is yielded and deleted afterwards: nothing else is read or written."""
    before = os.environ.get(VARIABLE)
    with tempfile.TemporaryDirectory(prefix="beholder-") as folder:
        os.environ[VARIABLE] = folder
        try:
            yield Path(folder)
        finally:
            if before is None:
                del os.environ[VARIABLE]
            else:
                os.environ[VARIABLE] = before


def cache(path: str | Path) -> Path:
    """Keep what can be made again in the folder `path`, in this process and those it starts; return its absolute path.

    Raises `MachineError` (cannot-write).
    """
    folder = cache_folder(path)
    check_writable(folder / "pixels", option="--cache")
    os.environ[VARIABLE] = str(folder)
    return folder
