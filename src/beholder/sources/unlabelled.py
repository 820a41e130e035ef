"""Pictures without labels: a folder, a zip or tar, files by name or pattern, or arrays without y."""

from __future__ import annotations

import os
from collections.abc import Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.errors import UsageError
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import Names
from beholder.base.records import Pictures, Store
from beholder.sources import archive, arrays, datasets, folder
from beholder.sources.listing import Listing, is_picture, no_pictures


def pictures(source: Any, *, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of a source; labels that it may have are not looked for.

    source: a folder, at any depth; a zip or tar; a picture, or a pattern such as new/*.jpg; a list of pictures' paths;
    arrays (N, H, W), (N, H, W, C) or (N, C, H, W), or a list of (H, W[, C]).
    Raises `UsageError` (path-missing, unknown-source), `DataError` (no-pictures, and what an archive or arrays may raise).
    """
    if isinstance(source, (list, tuple)) and source and all(isinstance(one, (str, os.PathLike)) for one in source):
        return _files([Path(one) for one in source], "a list of files", limits)
    if datasets.is_dataset(source):
        return table(*datasets.bare(source))
    if not isinstance(source, (str, os.PathLike)):
        store, count, notes = arrays.bare(source)
        return table(store, Names.of(f"{i:0{len(str(count))}d}" for i in range(count)), notes)
    path = Path(source).expanduser()
    if path.is_dir():
        return listed(folder.listing(path.absolute(), limits=limits))
    if path.is_file() and archive.is_archive(path):
        return listed(archive.listing(path, limits=limits))
    found = sorted(glob(str(path), recursive=True)) if has_magic(str(path)) else []  # noqa: PTH207
    return _files([Path(name) for name in found] or [path], str(source), limits)


def table(store: Store, keys: Names, notes: Sequence[str] = ()) -> Pictures:
    """Return the table of pictures without labels."""
    none = np.full(len(keys), -1)
    empty = np.zeros((len(keys), 0), np.uint8)
    return Pictures(store, keys, empty, (), none.astype(np.int8), none.astype(np.int64), notes=tuple(notes))


def listed(listing: Listing) -> Pictures:
    """Return the pictures of a folder or an archive. Raises `DataError` (no-pictures)."""
    names = Names.of(name for name in listing.names if is_picture(name))
    if not len(names):
        raise no_pictures(listing.store.name, len(listing.names))
    return table(listing.store, names, listing.notes)


def _files(paths: Sequence[Path], name: str, limits: Limits) -> Pictures:
    """Return the pictures of files; of one that is a folder, all that are in it."""
    keys: list[str] = []
    for path in paths:
        if path.is_dir():
            keys += (
                str(path.absolute() / inner)
                for inner in folder.listing(path.absolute(), limits=limits).names
                if is_picture(inner)
            )
        elif path.exists():
            keys.append(str(path.absolute()))
        else:
            raise UsageError(
                f"there is no {path}",
                code="path-missing",
                hint="check the spelling" if str(path) == name else f"it was named by {name}",
            )
    if keys and keys[0].lower().endswith(".npz"):
        hint = "in Python give the array itself, numpy.load(path)['x']; else a folder, a zip or a tar of pictures"
        raise UsageError(f"pictures without labels are not read from an .npz: {name}", code="unknown-source", hint=hint)
    if not any(map(is_picture, keys)):
        hint = "give a folder, a zip or tar, a pattern such as new/*.jpg, or a list of pictures"
        raise UsageError(f"there are no pictures in {name}", code="unknown-source", hint=hint)
    return table(folder.FolderStore(Path.cwd(), limits=limits), Names.of(keys))
