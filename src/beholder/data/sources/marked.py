"""COCO and Pascal VOC: files that say what is where in pictures, read as labels.

Two ways. Presence: a picture carries the labels of all its boxes. Boxes: each box is cut out and is a picture of its own.
COCO: T.-Y. Lin et al., "Microsoft COCO", 2014; VOC: M. Everingham et al., "The Pascal visual object classes challenge", 2010.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from beholder.base import events
from beholder.base.errors import DataError, PictureError
from beholder.base.records import Pictures, Store
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import folder, table
from beholder.data.sources.crops import Box, CropStore
from beholder.data.sources.listing import Listing, assemble, in_part, is_picture, no_pictures, part_of, some

_COCO = re.compile(r"(^|/)(instances[^/]*|_annotations\.coco)\.json$", re.IGNORECASE)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_VOC = re.compile(r"(^|/)Annotations/[^/]+\.xml$", re.IGNORECASE)


@dataclass(frozen=True)
class Annotated:
    """One picture and its boxes. path: as the file says it; place: of that file; part: -1 = none; size: (0, 0) = unknown."""

    path: str
    place: str
    boxes: tuple[Box, ...]
    part: int = -1
    size: tuple[int, int] = (0, 0)


def found(listing: Listing, *, boxes: bool, limits: Limits = LIMITS) -> Pictures | None:
    """Return the pictures that annotation files in a folder or an archive tell of, or None where there are no such files.

    Such files are instances*.json and _annotations.coco.json, Annotations/*.xml, and .xml beside pictures of no class folders.
    Raises `DataError` (bad-annotations, missing-files, no-pictures, one-class).
    """
    coco = [name for name in listing.names if _COCO.search(name)]
    voc = [name for name in listing.names if _VOC.search(name)] or _beside(listing.names, boxes)
    if coco:
        rows = [row for name in coco for row in parse_coco(_text(listing, name), name, in_part(name))]
    elif voc:
        parts = _image_sets(listing)
        rows = []
        for done, name in enumerate(voc, start=1):
            rows.append(parse_voc(_text(listing, name), name, parts))
            if done % 10_000 == 0:
                events.progress("reading annotations", done, len(voc))
    else:
        return None
    return pictures_of(listing, rows, boxes=boxes, limits=limits)


def from_coco(path: Path, *, boxes: bool, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of one COCO file on the disk; they are looked for in its folder, or in the one above annotations/.

    Raises as `found`, and `DataError` (unreadable).
    """
    root = path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", code="unreadable", hint="check the file") from error
    name = path.relative_to(root).as_posix()
    return pictures_of(folder.listing(root, limits=limits), parse_coco(data, name, in_part(name)), boxes=boxes, limits=limits)


def from_table(path: Path, *, limits: Limits = LIMITS) -> Pictures:
    """Return the boxes of a CSV or TSV with a row for each: file, label and xmin, ymin, xmax, ymax.

    Raises as `found`, and `DataError` (unreadable, no-boxes, and what `table.cells` raises).
    """
    try:
        lines = list(table.cells(path.read_bytes(), path.name, where=str(path)))
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", code="unreadable", hint="check the file") from error
    header = [cell.strip().lower() for cell in lines[0]] if lines else []
    if not set(_CORNERS) <= set(header):
        raise no_boxes(str(path))
    corners = [header.index(corner) for corner in _CORNERS]
    rows = []
    for row, cells in zip(table.parsed(lines, where=str(path)), lines[1:], strict=True):
        try:
            box = Box(row.labels[0] if row.labels else "", *(float(cells[at]) for at in corners))
        except (ValueError, IndexError) as error:
            raise _bad(str(path), error, "a row has a file, a label and the numbers xmin, ymin, xmax, ymax") from error
        rows.append(Annotated(row.path, path.name, (box,) if box.label else (), row.part))
    return pictures_of(folder.listing(path.parent, limits=limits), rows, boxes=True, limits=limits)


def no_boxes(where: str) -> DataError:
    """Return the error for a source of which boxes are asked for, and that has none."""
    return DataError(
        f"there are no boxes in {where}",
        code="no-boxes",
        hint="boxes: takes COCO (a .json, or a folder with one), Pascal VOC, or a CSV with file,label,xmin,ymin,xmax,ymax",
    )


def parse_coco(data: bytes, name: str, part: int = -1) -> list[Annotated]:
    """Return the pictures of a COCO file. Crowds are no boxes. Raises `DataError` (bad-annotations)."""
    try:
        whole = json.loads(data)
        classes = {row["id"]: str(row["name"]) for row in whole["categories"]}
        boxes: dict[Any, list[Box]] = {row["id"]: [] for row in whole["images"]}
        for row in whole["annotations"]:
            if not row.get("iscrowd"):
                left, top, width, height = map(float, row["bbox"])
                boxes[row["image_id"]].append(Box(classes[row["category_id"]], left, top, left + width, top + height))
        return [
            Annotated(str(row["file_name"]), name, tuple(boxes[row["id"]]), part, (_whole(row, "width"), _whole(row, "height")))
            for row in whole["images"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _bad(name, error, "COCO has images, annotations with image_id, category_id and bbox, and categories") from error


def _whole(row: dict[str, Any], name: str) -> int:
    return int(row.get(name) or 0)


def parse_voc(data: bytes, name: str, parts: dict[str, int] | None = None) -> Annotated:
    """Return the picture of a VOC file. parts: by the file's name without its ending. Raises `DataError` (bad-annotations)."""
    try:
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise ValueError("it defines entities, which annotations do not need")
        root = ElementTree.fromstring(data)
        boxes = [_voc_box(thing) for thing in root.iter("object")]
        size = (int(float(root.findtext("size/width") or 0)), int(float(root.findtext("size/height") or 0)))
        stem = posixpath.splitext(posixpath.basename(name))[0]
        part = (parts or {}).get(stem, in_part(posixpath.dirname(name)))
        return Annotated((root.findtext("filename") or "").strip() or stem, name, tuple(boxes), part, size)
    except (ValueError, ElementTree.ParseError, RecursionError, OverflowError) as error:
        raise _bad(name, error, "Pascal VOC has objects with a name and a bndbox of xmin, ymin, xmax, ymax") from error


def _voc_box(thing: ElementTree.Element) -> Box:
    label = (thing.findtext("name") or "").strip()
    if not label:
        raise ValueError("an object has no name")
    corners = [float(thing.findtext(f"bndbox/{corner}") or "nan") for corner in _CORNERS]
    return Box(label, *corners)


def _bad(name: str, error: Exception, hint: str) -> DataError:
    why = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
    return DataError(f"the annotations in {name} cannot be read: {why}", code="bad-annotations", hint=hint)


def _beside(names: Sequence[str], boxes: bool) -> list[str]:
    """Return the .xml files that most pictures have beside them, as some programs export VOC; class folders come first."""
    files = {name for name in names if name.endswith(".xml")}
    pictures = [name for name in names if is_picture(name)] if files else []
    paired = [xml for name in pictures if (xml := posixpath.splitext(name)[0] + ".xml") in files]
    folders = {posixpath.basename(posixpath.dirname(name)) for name in pictures}
    classes = [name for name in folders if part_of(name) is None]
    return paired if 2 * len(paired) > len(pictures) and (boxes or len(classes) < 2) else []


def _image_sets(listing: Listing) -> dict[str, int]:
    """Return the part of each picture by its name without ending, as ImageSets/Main/train.txt, val.txt and test.txt say."""
    parts: dict[str, int] = {}
    for name in listing.names:
        match = re.search(r"(^|/)ImageSets/Main/(train|val|test)\.txt$", name)
        if match:
            for line in _text(listing, name).decode("utf-8", "replace").split("\n"):
                if line.strip():
                    parts[line.split()[0]] = in_part(match[2])
    return parts


def _text(listing: Listing, name: str) -> bytes:
    try:
        data = listing.store.read(name)
    except PictureError as error:
        raise DataError(error.message, code=error.code, hint=error.hint) from error
    assert isinstance(data, bytes)
    return data


def pictures_of(listing: Listing, rows: Sequence[Annotated], *, boxes: bool, limits: Limits = LIMITS) -> Pictures:
    """Return a picture per box, those of one picture in one group, or with their labels the pictures themselves.

    Boxes without area are left out with a warning. Raises `DataError` (missing-files, no-pictures, one-class).
    """
    where = listing.store.name
    if not rows:
        raise no_pictures(where)
    notes = list(listing.notes)
    merged: dict[str, Annotated] = {}
    for key, row in _keyed(listing, rows, notes):
        before = merged.get(key)
        merged[key] = replace(before, boxes=before.boxes + row.boxes) if before else row
    keyed = list(merged.items())
    empty = [f"{key} ({box.label})" for key, row in keyed for box in row.boxes if box.empty]
    if empty:
        notes.append(f"{len(empty):,} boxes without area were left out: {some(empty)}")
        events.warn(notes[-1], code="empty-box")
    if boxes:
        return _crops(listing.store, keyed, notes, limits)
    labels = [tuple(dict.fromkeys(box.label for box in row.boxes if not box.empty)) for _, row in keyed]
    bare = sum(not row for row in labels)
    if bare:
        notes.append(f"{bare:,} pictures have no box and are taken as showing none of the classes")
    return assemble(
        listing.store, [key for key, _ in keyed], labels, multi=True, parts=[row.part for _, row in keyed], notes=notes
    )


def _crops(store: Store, keyed: Sequence[tuple[str, Annotated]], notes: list[str], limits: Limits) -> Pictures:
    cut: dict[tuple[str, str], tuple[str, int]] = {}
    for key, row in keyed:
        for box in row.boxes:
            if not box.empty:
                corners = ",".join(map(str, box.rounded()))
                cut.setdefault((f"{key}#{corners}", box.label), (key, row.part))
    sizes = {key: row.size for key, row in keyed if all(row.size)}
    return assemble(
        CropStore(store, sizes, limits=limits),
        [key for key, _ in cut],
        [(label,) for _, label in cut],
        parts=[part for _, part in cut.values()],
        groups=[key for key, _ in cut.values()],
        notes=notes,
    )


def _keyed(listing: Listing, rows: Sequence[Annotated], notes: list[str]) -> Iterator[tuple[str, Annotated]]:
    """Yield each annotated picture with its key. It lies where its path leads to, or is the one file of that name."""
    known = {name for name in listing.names if is_picture(name)}
    named: dict[str, list[str]] = {}
    for name in known:
        base = name.rpartition("/")[2]
        for word in {base, base.rpartition(".")[0]}:
            named.setdefault(word, []).append(name)
    missing: list[str] = []
    for row in rows:
        key = _place(row, known, named)
        if key is None:
            missing.append(row.path)
        else:
            yield key, row
    if missing:
        what = f"of the {len(rows):,} pictures that the annotations name"
        hint = "put the pictures beside the annotations, or give the folder that holds both"
        if len(missing) == len(rows):
            text = f"none {what} is in {listing.store.name}: {some(missing)}"
            raise DataError(text, code="missing-files", hint=hint)
        notes.append(f"{len(missing):,} {what} are not there and were left out: {some(missing)}")
        events.warn(notes[-1], hint=hint, code="missing-files")


def _place(row: Annotated, known: set[str], named: dict[str, list[str]]) -> str | None:
    above = posixpath.dirname(row.place)
    path = row.path.replace("\\", "/")
    tries = [posixpath.join(above, path), posixpath.join(posixpath.dirname(above), "JPEGImages", path), path]
    tries.append(posixpath.join(above, posixpath.basename(path)))
    for way in map(posixpath.normpath, tries):
        if way in known:
            return way
    near = named.get(posixpath.basename(path), [])
    near = [name for name in near if f"/{name}".endswith("/" + path.lstrip("./"))] if len(near) > 1 else near
    inside = [name for name in near if in_part(posixpath.dirname(name)) == row.part] if len(near) > 1 else near
    return inside[0] if len(inside) == 1 else None
