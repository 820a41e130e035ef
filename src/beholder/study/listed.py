"""The pictures of a source that is worked on in ranges: their names in one order, and how another process finds them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beholder.base.brief import without_secrets
from beholder.base.errors import DataError, UsageError
from beholder.base.limits import LIMITS
from beholder.base.names import Names
from beholder.base.records import Pictures
from beholder.sources import scan
from beholder.sources.archive import is_archive
from beholder.sources.folder import FolderStore, listing
from beholder.sources.listing import is_picture, no_pictures
from beholder.sources.objects import is_object
from beholder.sources.remote import is_url

Source = str | Path | Pictures | Iterable[str | Path]

FILES = 1 << 40
"""Files that a folder may have: so many that a limit which guards against accidents would be in the way."""


@dataclass(frozen=True)
class Listed:
    """Pictures by name.

    keys: their names; source, labels: as of `scan`, which another process calls where it needs the store
    root: the folder below which they lie, "" where they have to be scanned; prefix: what stands before a key in its path
    """

    keys: Names
    source: Any
    root: str = ""
    prefix: str = ""
    labels: bool | None = False


def listed(source: Source, *, allow_download: bool = False) -> Listed:
    """Return the pictures of a source, as `predict` takes it or `scan`; labels are not looked for where none are needed.

    source: a folder, an archive, …; or pictures and folders, which are taken as they come, whether they are there or not;
    or what `scan` gave of files; allow_download: as of `scan`
    Raises what `scan` raises, and `UsageError` (no-path, several-sources, in-memory).
    """
    if isinstance(source, Pictures):
        return _of_folder(source)
    if not isinstance(source, (str, os.PathLike)):
        return _several(source)
    path = Path(source).expanduser()
    if path.is_file() and is_picture(path.name):
        return _several([source])
    if path.is_dir() and len(keys := _inside(path)):
        return Listed(keys, str(path.absolute()), str(path.absolute()), f"{path}/")
    found, labels = _scanned(source, allow_download)
    root = found.store.name if isinstance(found.store, FolderStore) else ""
    keys = Names.of(found.keys)
    prefix = "" if os.path.isabs(keys[0]) else f"{(root or str(source)).rstrip('/')}/"  # noqa: PTH117
    return Listed(keys, str(path.absolute()) if path.exists() else str(source), root, prefix, labels)


def _of_folder(pictures: Pictures) -> Listed:
    if not isinstance(pictures.store, FolderStore):
        hint = "give the path of the source"
        raise UsageError(f"other processes cannot read {pictures.store.name}", code="in-memory", hint=hint)
    root = pictures.store.name
    return Listed(Names.of(pictures.keys), root, root, "" if os.path.isabs(pictures.keys[0]) else f"{root}/")  # noqa: PTH117


def _inside(folder: Path) -> Names:
    return Names.of(
        name for name in listing(folder.absolute(), limits=replace(LIMITS, members=FILES)).names if is_picture(name)
    )


def _scanned(source: str | Path, allow_download: bool) -> tuple[Any, bool | None]:
    """Return what a source holds, without labels where that can be, and how it was scanned."""
    try:
        return scan(source, labels=False, allow_download=allow_download), False
    except (DataError, UsageError) as error:
        if error.code not in ("no-pictures", "unknown-source", "path-missing"):
            raise
        try:
            return scan(source, labels=None, allow_download=allow_download), None
        except (DataError, UsageError):
            raise error from None


def _several(paths: Iterable[str | Path]) -> Listed:
    keys = Names.of(_each(paths))
    if not len(keys):
        raise no_pictures("what was given")
    return Listed(keys, "paths", str(Path.cwd()))


def _each(paths: Iterable[str | Path]) -> Iterator[str]:
    for path in paths:
        if not isinstance(path, (str, os.PathLike)):
            hint = "give paths of pictures, or one source"
            raise UsageError(f"parts are made of paths, not of {type(path).__name__}", code="no-path", hint=hint)
        name = os.fspath(path)
        elsewhere = is_url(name) or is_object(name)
        if elsewhere or (not is_picture(name) and is_archive(Path(name))):
            hint = "give it alone, with a folder of parts of its own"
            what = "lies elsewhere, and is one" if elsewhere else "is an archive"
            raise UsageError(f"{without_secrets(name)} {what} among other paths", code="several-sources", hint=hint)
        if os.path.isdir(name):  # noqa: PTH112 (it makes no Path of each of a million names)
            yield from (f"{path}/{inner}" for inner in _inside(Path(name)))
        else:
            yield name
