"""From anything to a table of labelled pictures; no pixels are decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.records import Pictures
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import archive, arrays, folder, layout, parquet, shards, table
from beholder.data.sources.listing import is_picture

__all__ = ["Limits", "scan"]


def scan(source: str | Path | tuple[Any, Any], *, limits: Limits = LIMITS) -> Pictures:
    """Return what a source holds, without decoding a pixel.

    source: a folder of class folders; a folder with train, valid, test of them; a CSV, TSV or Parquet with
    path,label[,split,group]; a zip or tar of any of these; Parquet with pictures inside; WebDataset shards
    (set-{0000..0012}.tar); an .npz with x and y; or arrays (x, y). docs/SOURCES.md describes each; none is ever written to.
    Raises `UsageError` (path-missing, unknown-source), `DataError` (no-pictures, one-class, …).
    """
    if not isinstance(source, (str, Path)):
        return arrays.from_arrays(source)
    path = Path(source).expanduser()
    if path.is_dir():
        return _in_folder(path.absolute(), limits)
    if path.exists():
        return _in_file(path, limits)
    if shards.is_pattern(str(path)):
        paths = shards.expanded(str(path))
        return shards.from_paths(paths, name=str(path.absolute()), root=path.absolute().parent, limits=limits)
    raise _missing(source, path)


def _in_folder(path: Path, limits: Limits) -> Pictures:
    listing = folder.listing(path, limits=limits)
    if not any(map(is_picture, listing.names)):
        files = [path / name for name in listing.names if name.endswith(".parquet")]
        if files:
            return parquet.pictures_of(files, name=str(path), root=path, limits=limits)
        files = [path / name for name in listing.names if name.endswith(archive.TAR + archive.PACKED)]
        if files:
            return shards.from_paths(files, name=str(path), root=path, limits=limits)
    return layout.pictures_of(listing)


def _in_file(path: Path, limits: Limits) -> Pictures:
    kind = path.suffix.lower()
    if kind in (".csv", ".tsv"):
        return table.from_file(path, limits=limits)
    if kind == ".npz":
        return arrays.from_npz(path, limits=limits)
    if kind == ".parquet":
        lines = parquet.rows_of(path, limits=limits)
        if lines is not None:
            return table.from_rows(table.parsed(lines, where=str(path)), path, limits=limits)
        return parquet.pictures_of([path], name=str(path.absolute()), root=path.parent, limits=limits)
    if archive.is_archive(path):
        listing = archive.listing(path, limits=limits)
        if shards.are_samples(listing.names):
            return shards.pictures_of({path.name: listing}, name=str(path.absolute()), root=path.parent)
        return layout.pictures_of(listing)
    raise UsageError(
        f"{path} is neither a folder nor a file of a known kind",
        code="unknown-source",
        hint="give a folder of class folders, a CSV or Parquet with path,label, a zip or tar of these, or an .npz with x and y",
    )


def _missing(source: str | Path, path: Path) -> UsageError:
    scheme = re.match(r"([a-z][a-z0-9+]+):", str(source))
    if scheme:
        return UsageError(
            f"sources of the kind '{scheme[1]}:' are not yet supported: {source}",
            code="unknown-source",
            hint="export the pictures to a folder of class folders, or to a CSV with path,label",
        )
    parent = path.absolute().parent
    siblings = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")] if parent.is_dir() else []
    hint = did_you_mean(path.name, siblings) if siblings else "check the spelling"
    if not hint.startswith("did"):
        hint = f"check the spelling; {parent} " + (
            "is there, but not this name in it" if parent.is_dir() else "is not there either"
        )
    return UsageError(f"there is no {path}", code="path-missing", hint=hint)
