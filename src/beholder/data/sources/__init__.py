"""From anything to a table of labelled pictures; no pixels are decoded."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.records import Pictures
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import archive, arrays, folder, huggingface, layout, marked, parquet, remote, shards, table, vision
from beholder.data.sources.listing import Listing, is_picture

__all__ = ["Limits", "scan"]

_SCHEMES = ("hf:", "torchvision:")


def scan(source: str | Path | tuple[Any, Any], *, limits: Limits = LIMITS, allow_download: bool = False) -> Pictures:
    """Return what a source holds, without decoding a pixel.

    source: a folder of class folders; a folder with train, valid, test of them; a CSV, TSV or Parquet with
    path,label[,split,group]; a zip or tar of any of these; Parquet with pictures inside; WebDataset shards
    (set-{0000..0012}.tar); COCO or Pascal VOC; torchvision:NAME; hf:NAME; https://… of a zip or tar; an .npz with x and y; or
    arrays (x, y). boxes:SOURCE makes a picture of each box. docs/SOURCES.md describes each; none is ever written to.
    allow_download: fetch what is not on this machine; without it nothing is asked of any network
    Raises `UsageError` (path-missing, unknown-source, download-not-allowed), `DataError` (no-pictures, one-class, …).
    """
    if not isinstance(source, (str, Path)):
        return arrays.from_arrays(source)
    text, boxes = str(source), False
    if text.startswith("boxes:") and not Path(text).exists():
        text, boxes = text.removeprefix("boxes:"), True
    path = Path(text).expanduser()
    if remote.is_url(text):
        path = remote.fetched(text, limits=limits, allow_download=allow_download)
    elif text.startswith(_SCHEMES) and not path.exists():
        if boxes:
            raise marked.no_boxes(text)
        return _named(text, limits, allow_download)
    if path.is_dir():
        return _in_folder(path.absolute(), limits, boxes)
    if path.exists():
        return _in_file(path, limits, boxes)
    if shards.is_pattern(str(path)) and not boxes:
        paths = shards.expanded(str(path))
        return shards.from_paths(paths, name=str(path.absolute()), root=path.absolute().parent, limits=limits)
    raise _missing(text, path)


def _named(text: str, limits: Limits, allow_download: bool) -> Pictures:
    kind, _, name = text.partition(":")
    if kind == "torchvision":
        return vision.pictures(name, limits=limits, allow_download=allow_download)
    path = huggingface.fetched(name, limits=limits, allow_download=allow_download)
    found = huggingface.pictures(name, path, limits=limits)
    return _in_folder(path, limits, boxes=False) if found is None else found


def _in_folder(path: Path, limits: Limits, boxes: bool) -> Pictures:
    listing = folder.listing(path, limits=limits)
    if not boxes and not any(map(is_picture, listing.names)):
        files = [path / name for name in listing.names if name.endswith(".parquet")]
        if files:
            return parquet.pictures_of(files, name=str(path), root=path, limits=limits)
        files = [path / name for name in listing.names if archive.is_tar(name)]
        if files:
            return shards.from_paths(files, name=str(path), root=path, limits=limits)
    return _listed(listing, limits, boxes)


def _listed(listing: Listing, limits: Limits, boxes: bool) -> Pictures:
    annotated = marked.found(listing, boxes=boxes, limits=limits)
    if annotated is None and boxes:
        raise marked.no_boxes(listing.store.name)
    return layout.pictures_of(listing) if annotated is None else annotated


def _in_file(path: Path, limits: Limits, boxes: bool) -> Pictures:
    kind = path.suffix.lower()
    if kind == ".json":
        return marked.from_coco(path.absolute(), boxes=boxes, limits=limits)
    if boxes and kind in (".csv", ".tsv"):
        return marked.from_table(path.absolute(), limits=limits)
    if boxes and not archive.is_archive(path):
        raise marked.no_boxes(str(path))
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
        if not boxes and shards.are_samples(listing.names):
            return shards.pictures_of({path.name: listing}, name=str(path.absolute()), root=path.parent)
        return _listed(listing, limits, boxes)
    raise UsageError(
        f"{path} is neither a folder nor a file of a known kind",
        code="unknown-source",
        hint="give a folder of class folders, a CSV or Parquet with path,label, a zip or tar of these, or an .npz with x and y",
    )


def _missing(source: str | Path, path: Path) -> UsageError:
    scheme = re.match(r"([a-z][a-z0-9+]+):", str(source))
    if scheme:
        return UsageError(
            f"there are no sources of the kind '{scheme[1]}:': {source}",
            code="unknown-source",
            hint="of named sources there are hf:, torchvision:, boxes: and https:",
        )
    parent = path.absolute().parent
    siblings = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")] if parent.is_dir() else []
    hint = did_you_mean(path.name, siblings) if siblings else "check the spelling"
    if not hint.startswith("did"):
        hint = f"check the spelling; {parent} " + (
            "is there, but not this name in it" if parent.is_dir() else "is not there either"
        )
    return UsageError(f"there is no {path}", code="path-missing", hint=hint)
