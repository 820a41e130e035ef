"""From any source to a table of labelled pictures; no pixels are decoded."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from beholder.base.errors import DataError, UsageError, did_you_mean
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import Pictures
from beholder.base.registry import Registry
from beholder.sources import (
    apart,
    archive,
    arrays,
    buckets,
    datasets,
    folder,
    huggingface,
    layout,
    marked,
    objects,
    parquet,
    remote,
    shards,
    table,
    unlabelled,
)
from beholder.sources.listing import Listing, is_picture

__all__ = ["Limits", "scan"]

SOURCES = Registry("source", {"hf": "beholder.sources:hub", "torchvision": "beholder.sources.vision:pictures"})
"""Kinds of named sources, KIND:NAME: functions `(name, *, limits, allow_download) -> Pictures`."""


def scan(
    source: str | Path | tuple[Any, Any] | Any,
    *,
    labels: bool | None = True,
    images: str | Path | None = None,
    limits: Limits = LIMITS,
    allow_download: bool = False,
) -> Pictures:
    """Return what a source holds, without decoding a pixel but of some pictures that may be masks of others.

    source: a folder of class folders; a folder with train, valid, test of them; a CSV, TSV or Parquet with
    path,label[,split,group], or one a part; a zip or tar of any of these; Parquet with pictures inside; WebDataset shards
    (set-{0000..0012}.tar; so of Parquet); COCO, Pascal VOC, YOLO, tables of boxes; torchvision:NAME; hf:NAME; https://… of a
    zip or tar; an .npz with x and y; s3://… and gs://… of all these but data.yaml; or arrays (x, y); a map-style data set of
    PyTorch; KIND:NAME of a plug-in.
    boxes:SOURCE makes a picture of each box. docs/SOURCES.md describes each; none is ever written to.
    labels: whether the pictures have to have some; None: they may; False: none are looked for. Without labels a source may also
    be a flat folder or archive, a pattern such as new/*.jpg, a list of paths, or arrays without y
    images: the folder or archive that holds the pictures (s3://… and gs://… too), where COCO, VOC, YOLO or a table tells of
    them and they lie apart
    allow_download: fetch what is not on this machine; without it nothing is asked of any network
    Raises `UsageError` (path-missing, unknown-source, images-unused, download-not-allowed), `DataError` (no-pictures, …).
    """
    if images is not None and (labels is False or not isinstance(source, (str, Path))):
        raise apart.unused(source)
    if labels is None:
        return _either(source, images, limits, allow_download)
    if labels:
        return _labelled(source, images, limits, allow_download)
    if isinstance(source, str) and objects.is_object(source):
        found = buckets.opened(source, labels=False, limits=limits, allow_download=allow_download)
        if not isinstance(found, Path):
            return unlabelled.listed(found) if isinstance(found, Listing) else found
        source = found
    if isinstance(source, str) and remote.is_url(source):
        source = remote.fetched(source, limits=limits, allow_download=allow_download)
    return unlabelled.pictures(source, limits=limits)


def _labelled(source: Any, images: str | Path | None, limits: Limits, allow_download: bool) -> Pictures:
    if not isinstance(source, (str, Path)):
        return datasets.pictures(source) if datasets.is_dataset(source) else arrays.from_arrays(source)
    text, boxes = str(source), False
    if text.startswith("boxes:") and not Path(text).exists():
        text, boxes = text.removeprefix("boxes:"), True
    path = Path(text).expanduser()
    if objects.is_object(text):
        held = None if images is None else _apart(images, limits, allow_download)
        return _stored(text, limits, boxes, held, allow_download)
    if remote.is_url(text):
        path = remote.fetched(text, limits=limits, allow_download=allow_download)
    elif not path.exists() and (found := _named(text)):
        if boxes:
            raise marked.no_boxes(text)
        return _of_kind(found[1], found[2], images, limits, allow_download)
    if path.exists():
        held = None if images is None else _apart(images, limits, allow_download)
        return (_in_folder if path.is_dir() else _in_file)(
            path.absolute() if path.is_dir() else path, limits, boxes, images=held
        )
    if shards.is_pattern(str(path)) and not boxes:
        if images is not None:
            raise apart.unused(text)
        paths = shards.expanded(str(path))
        read = parquet.pictures_of if all(one.suffix.lower() == ".parquet" for one in paths) else shards.from_paths
        return read(paths, name=str(path.absolute()), root=path.absolute().parent, limits=limits)
    raise _missing(text, path)


def _apart(images: str | Path, limits: Limits, allow_download: bool) -> Listing:
    """Return the files of the folder or archive that holds the pictures of a source, on this machine or elsewhere."""
    if objects.is_object(str(images)):
        return buckets.files_of(str(images), limits=limits, allow_download=allow_download)
    if remote.is_url(str(images)):
        images = remote.fetched(str(images), limits=limits, allow_download=allow_download)
    return apart.listing(images, limits=limits)


def _stored(url: str, limits: Limits, boxes: bool, images: Listing | None, allow_download: bool) -> Pictures:
    """Return the pictures of a source on object storage."""
    found = buckets.opened(url, labels=True, limits=limits, allow_download=allow_download)
    if isinstance(found, Path):
        held = buckets.around(url, limits) if images is None and _tells(found, limits) else images
        return _in_file(found, limits, boxes, images=held)
    if isinstance(found, Listing):
        return _listed(found, limits, boxes, images)
    if boxes:
        raise marked.no_boxes(url)
    if images is not None:
        raise apart.unused(url)
    return found


def _tells(path: Path, limits: Limits) -> bool:
    """Return True for a file that tells of pictures which lie beside it."""
    kind = path.suffix.lower()
    return kind in (".csv", ".tsv", ".jsonl", ".json") or (
        kind == ".parquet" and not parquet.holds_pictures(path, limits=limits)
    )


def _of_kind(kind: str, name: str, images: str | Path | None, limits: Limits, allow_download: bool) -> Pictures:
    """Return the pictures of a named source, KIND:NAME."""
    if images is not None:
        raise apart.unused(f"{kind}:{name}")
    pictures = SOURCES.load(kind)(name, limits=limits, allow_download=allow_download)
    with SOURCES.guarded(kind):
        if not isinstance(pictures, Pictures):
            raise TypeError(f"it gave no beholder.Pictures but a {type(pictures).__name__}")
    return pictures


def _either(source: Any, images: str | Path | None, limits: Limits, allow_download: bool) -> Pictures:
    """Return the pictures with their labels, or without where the source gives none, or one class alone."""
    try:
        return _labelled(source, images, limits, allow_download)
    except (DataError, UsageError) as error:
        if images is not None or error.code not in ("no-labels", "one-class", "bad-source", "unknown-source", "path-missing"):
            raise
        try:
            return scan(source, labels=False, limits=limits, allow_download=allow_download)
        except (DataError, UsageError):
            raise error from None


def _named(text: str) -> re.Match[str] | None:
    """Return the kind and the name of a named source, None for any other text. A letter alone is a drive of Windows."""
    found = re.match(r"([a-z][\w+-]+):(.*)", text, re.DOTALL)
    return found if found and found[1] in SOURCES else None


def hub(name: str, *, limits: Limits, allow_download: bool) -> Pictures:
    """Return a data set of the Hugging Face Hub: Parquet, or files as in a folder."""
    path = huggingface.fetched(name, limits=limits, allow_download=allow_download)
    found = huggingface.pictures(name, path, limits=limits)
    return _in_folder(path, limits, boxes=False, foreign=True) if found is None else found


def _in_folder(path: Path, limits: Limits, boxes: bool, *, foreign: bool = False, images: Listing | None = None) -> Pictures:
    listing = replace(folder.listing(path, limits=limits), foreign=foreign)
    if not boxes and images is None and not any(map(is_picture, listing.names)):
        files = [path / name for name in listing.names if name.endswith(".parquet")]
        if files:
            return parquet.pictures_of(files, name=str(path), root=path, limits=limits)
        files = [path / name for name in listing.names if archive.is_tar(name)]
        if files:
            return shards.from_paths(files, name=str(path), root=path, limits=limits)
    return _listed(listing, limits, boxes, images)


def _listed(listing: Listing, limits: Limits, boxes: bool, images: Listing | None) -> Pictures:
    annotated = marked.found(listing, boxes=boxes, limits=limits, images=images)
    if annotated is None and boxes:
        raise marked.no_boxes(listing.store.name)
    if annotated is None and images is not None:
        raise apart.unused(listing.store.name)
    return layout.pictures_of(listing) if annotated is None else annotated


def _in_file(path: Path, limits: Limits, boxes: bool, *, images: Listing | None = None) -> Pictures:
    kind, packed = path.suffix.lower(), archive.is_archive(path)
    found = _annotated(path, limits, boxes, images)
    if found is not None:
        return found
    if boxes and not packed:
        raise marked.no_boxes(str(path))
    if kind in (".csv", ".tsv", ".jsonl"):
        return table.from_file(path, limits=limits, images=images)
    if packed:
        listing = archive.listing(path, limits=limits)
        if not boxes and images is None and shards.are_samples(listing.names):
            return shards.pictures_of([(path.name, listing)], name=str(path.absolute()), names=shards.class_names(path.parent))
        return _listed(listing, limits, boxes, images)
    if kind == ".parquet" and (lines := parquet.rows_of(path, limits=limits)) is not None:
        return table.from_rows(table.parsed(lines, where=str(path)), path, limits=limits, images=images)
    if images is not None:
        raise apart.unused(path)
    return _whole(path, limits)


def _annotated(path: Path, limits: Limits, boxes: bool, images: Listing | None) -> Pictures | None:
    """Return the pictures that one annotation file tells of, None where the file is of another kind."""
    kind = path.suffix.lower()
    if kind == ".json":
        return marked.from_coco(path.absolute(), boxes=boxes, limits=limits, images=images)
    if kind in (".yaml", ".yml"):
        return marked.from_yolo(path.absolute(), boxes=boxes, limits=limits, images=images)
    if kind in (".csv", ".tsv"):
        return marked.from_table(path.absolute(), boxes=boxes, limits=limits, images=images)
    return None


def _whole(path: Path, limits: Limits) -> Pictures:
    """Return the pictures that lie in one file with their labels."""
    if path.suffix.lower() == ".npz":
        return arrays.from_npz(path, limits=limits)
    if path.suffix.lower() == ".parquet":
        return parquet.pictures_of([path], name=str(path.absolute()), root=path.parent, limits=limits)
    hint = "give a folder of class folders, a CSV or Parquet with path,label, a zip or tar of these, or an .npz with x and y"
    raise UsageError(f"{path} is neither a folder nor a file of a known kind", code="unknown-source", hint=hint)


def _missing(source: str | Path, path: Path) -> UsageError:
    scheme = re.match(r"([a-z][a-z0-9+]+):", str(source))
    if scheme:
        return UsageError(
            f"there are no sources of the kind '{scheme[1]}:': {source}",
            code="unknown-source",
            hint=f"of named sources there are {', '.join(f'{kind}:' for kind in SOURCES)}, boxes: and https:",
        )
    parent = path.absolute().parent
    siblings = [entry.name for entry in parent.iterdir() if not entry.name.startswith(".")] if parent.is_dir() else []
    hint = did_you_mean(path.name, siblings) if siblings else "check the spelling"
    if not hint.startswith("did"):
        hint = f"check the spelling; {parent} " + (
            "is there, but not this name in it" if parent.is_dir() else "is not there either"
        )
    return UsageError(f"there is no {path}", code="path-missing", hint=hint)
