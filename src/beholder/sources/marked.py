"""COCO and Pascal VOC: files that say what is where in pictures, read as labels.

Two ways. Presence: a picture carries the labels of all its objects, with a box or without, crowds too.
Boxes: each box is cut out and is a picture of its own.
COCO: T.-Y. Lin et al., "Microsoft COCO", 2014; VOC: M. Everingham et al., "The Pascal visual object classes challenge", 2010.
"""

from __future__ import annotations

import json
import math
import posixpath
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import composed
from beholder.base.records import Pictures, Store
from beholder.sources import folder, outside, sizes, table
from beholder.sources.crops import Box, CropStore
from beholder.sources.finding import Finder
from beholder.sources.labels import text
from beholder.sources.listing import Listing, assemble, is_picture, no_pictures, some
from beholder.sources.parts import in_part, part_of

_COCO = re.compile(r"(^|/)(instances[^/]*|_annotations\.coco)\.json$", re.IGNORECASE)
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_VOC = re.compile(r"(^|/)Annotations/[^/]+\.xml$", re.IGNORECASE)


@dataclass(frozen=True)
class Annotated:
    """One picture and what it shows. path: as the file says it; place: of that file; part: -1 = none; size: (0, 0) = unknown.

    unboxed: labels of what it shows without a box of its own: crowds, and objects that have none
    """

    path: str
    place: str
    boxes: tuple[Box, ...]
    part: int = -1
    size: tuple[int, int] = (0, 0)
    unboxed: tuple[str, ...] = ()


def found(listing: Listing, *, boxes: bool, limits: Limits = LIMITS) -> Pictures | None:
    """Return the pictures that annotation files in a folder or an archive tell of, or None where there are no such files.

    Such files are instances*.json and _annotations.coco.json, Annotations/*.xml, and .xml beside pictures of no class folders.
    Raises `DataError` (bad-annotations, missing-files, no-pictures, one-class).
    """
    coco = [name for name in listing.names if _COCO.search(name)]
    voc = [name for name in listing.names if _VOC.search(name)] or _beside(listing.names, boxes)
    notes: list[str] = []
    if coco:
        rows = [row for name in coco for row in parse_coco(listing.bytes_of(name), name, in_part(name), notes=notes)]
    elif voc:
        parts = _image_sets(listing)
        rows = []
        for done, name in enumerate(voc, start=1):
            rows.append(parse_voc(listing.bytes_of(name), name, parts))
            if done % 10_000 == 0:
                events.progress("reading annotations", done, len(voc))
    else:
        return None
    return pictures_of(listing, rows, boxes=boxes, limits=limits, notes=notes)


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
    notes: list[str] = []
    rows = parse_coco(data, name, in_part(name), notes=notes)
    return pictures_of(folder.listing(root, limits=limits), rows, boxes=boxes, limits=limits, notes=notes)


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
    for row, cells in zip(table.parsed(lines, where=str(path)).rows, lines[1:], strict=True):
        try:
            box = Box(row.labels[0] if row.labels else "", *(float(cells[at]) for at in corners))
        except (ValueError, IndexError) as error:
            raise _bad(str(path), error, "a row has a file, a label and the numbers xmin, ymin, xmax, ymax") from error
        rows.append(Annotated(row.path, path.name, (box,) if box.label else (), row.part))
    return pictures_of(folder.listing(path.parent, limits=limits), rows, boxes=True, limits=limits)


def no_boxes(where: str) -> DataError:
    """Return the error for a source of which boxes are asked for, and that has none."""
    hint = "boxes: takes COCO (a .json, or a folder with one), Pascal VOC, or a CSV with file,label,xmin,ymin,xmax,ymax"
    return DataError(f"there are no boxes in {where}", code="no-boxes", hint=hint)


def parse_coco(data: bytes, name: str, part: int = -1, *, notes: list[str] | None = None) -> list[Annotated]:
    """Return the pictures of a COCO file; annotations of pictures that it does not name are left out with a warning.

    notes: where the sentences go that a person is told. Raises `DataError` (bad-annotations).
    """
    try:
        whole = json.loads(data)
        classes = _named_once(((row["id"], text(row["name"])) for row in whole["categories"]), "category")
        boxes: dict[str, list[Box]] = {
            key: [] for key in _named_once(((row["id"], str(row["file_name"])) for row in whole["images"]), "image")
        }
        unboxed: dict[str, list[str]] = {key: [] for key in boxes}
        orphans = []
        for row in whole["annotations"]:
            key, label = text(row["image_id"]), classes.get(text(row["category_id"]))
            if label is None:
                raise ValueError(f"annotation {row.get('id', '')} is of category {row['category_id']}, which is not among them")
            box = _coco_box(row, label)
            if key not in boxes:
                orphans.append(str(row.get("id", "")))
            elif row.get("iscrowd") or box is None:
                unboxed[key].append(label)
            else:
                boxes[key].append(box)
        if orphans and len(orphans) == len(whole["annotations"]):
            raise ValueError("not one annotation is of a picture that it names")
        _tell_orphans(orphans, name, [] if notes is None else notes)
        return [
            Annotated(str(row["file_name"]), name, tuple(boxes[key]), part, _size(row), tuple(unboxed[key]))
            for row in whole["images"]
            for key in [text(row["id"])]
        ]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise _bad(name, error, "COCO has images, annotations with image_id and category_id, and categories") from error


def _named_once(rows: Iterable[tuple[object, str]], what: str) -> dict[str, str]:
    """Return the names by id. Raises `ValueError` where one has none, or an id has two."""
    named: dict[str, str] = {}
    for number, name in rows:
        if not name:
            raise ValueError(f"{what} {number} has no name")
        if named.setdefault(text(number), name) != name:
            raise ValueError(f"{what} {number} is there twice, as {named[text(number)]} and as {name}")
    return named


def _coco_box(row: dict[str, Any], label: str) -> Box | None:
    """Return the box of an annotation, None where it has none: no bbox, an empty one, or nothing but zeros.

    One that is no four numbers is a box without a place: of presence it tells all the same.
    """
    corners = row.get("bbox") or []
    if not any(corners):
        return None
    try:
        left, top, width, height = map(float, corners)
    except (ValueError, TypeError):
        return Box(label, math.nan, math.nan, math.nan, math.nan)
    if math.isnan(left + top + width + height):
        return None
    return Box(label, left, top, left + width, top + height)


def _tell_orphans(orphans: Sequence[str], name: str, notes: list[str]) -> None:
    if orphans:
        said = f"{len(orphans):,} annotations of {name} are of pictures that it does not name, and were left out: "
        notes.append(said + some(orphans))
        events.warn(notes[-1], hint="export it again, or give it its pictures back", code="orphans")


def _size(row: dict[str, Any]) -> tuple[int, int]:
    return int(row.get("width") or 0), int(row.get("height") or 0)


class _Plain(ElementTree.TreeBuilder):
    """Refuses what defines entities as the parser meets it, whatever the encoding: a few lines could grow without end."""

    def doctype(self, name: str, public: str | None, system: str | None) -> None:
        """Raise `ValueError`: this is called before any entity is defined."""
        raise ValueError("it defines a document type, which annotations do not need")


def parse_voc(data: bytes, name: str, parts: dict[str, int] | None = None) -> Annotated:
    """Return the picture of a VOC file. parts: by the file's name without its ending. Raises `DataError` (bad-annotations)."""
    try:
        root = ElementTree.fromstring(data, ElementTree.XMLParser(target=_Plain()))
        boxes = [_voc_box(thing) for thing in root.iter("object")]
        unboxed = tuple(label for box, label in boxes if box is None)
        size = (int(float(root.findtext("size/width") or 0)), int(float(root.findtext("size/height") or 0)))
        stem = posixpath.splitext(posixpath.basename(name))[0]
        part = (parts or {}).get(composed(stem), in_part(posixpath.dirname(name)))
        path = (root.findtext("filename") or "").strip() or stem
        return Annotated(path, name, tuple(box for box, _ in boxes if box is not None), part, size, unboxed)
    except (ValueError, LookupError, ElementTree.ParseError, RecursionError, OverflowError) as error:
        raise _bad(name, error, "Pascal VOC has objects with a name and a bndbox of xmin, ymin, xmax, ymax") from error


def _voc_box(thing: ElementTree.Element) -> tuple[Box | None, str]:
    """Return the box of an object, None where it has none, and its label."""
    label = (thing.findtext("name") or "").strip()
    if not label:
        raise ValueError("an object has no name")
    if not any((thing.findtext(f"bndbox/{corner}") or "").strip() for corner in _CORNERS):
        return None, label
    return Box(label, *(_number(thing.findtext(f"bndbox/{corner}")) for corner in _CORNERS)), label


def _number(said: str | None) -> float:
    """Return a corner of a box, NaN for what is no number: of presence such a box tells all the same."""
    try:
        return float((said or "nan").strip().replace(",", "."))
    except ValueError:
        return math.nan


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
            for line in listing.bytes_of(name).decode("utf-8", "replace").split("\n"):
                if line.strip():
                    parts[composed(line.split()[0])] = in_part(match[2])
    return parts


def pictures_of(
    listing: Listing, rows: Sequence[Annotated], *, boxes: bool, limits: Limits = LIMITS, notes: Sequence[str] = ()
) -> Pictures:
    """Return a picture per box, those of one picture in one group, or with their labels the pictures themselves.

    Boxes without area are warned of: where boxes are asked for they are left out, else they are labels like others.
    Raises `DataError` (missing-files, no-pictures, one-class, bad-annotations).
    """
    where = listing.store.name
    if not rows:
        raise no_pictures(where)
    notes = [*listing.notes, *notes]
    merged: dict[str, Annotated] = {}
    for key, row in _keyed(listing, rows, notes):
        before = merged.get(key)
        both = before and replace(before, boxes=before.boxes + row.boxes, unboxed=before.unboxed + row.unboxed)
        merged[key] = both or row
    keyed = list(merged.items())
    empty = [f"{key} ({box.label})" for key, row in keyed for box in row.boxes if box.empty]
    if boxes and any(math.isnan(box.left + box.top + box.right + box.bottom) for _, row in keyed for box in row.boxes):
        raise _bad(where, ValueError(f"a box has no four numbers: {some(empty)}"), "boxes are four numbers")
    if empty:
        what = "were left out" if boxes else "count as labels of their pictures"
        notes.append(f"{len(empty):,} boxes without area {what}: {some(empty)}")
        events.warn(notes[-1], code="empty-box")
    notes += _without(listing.names, merged)
    notes += sizes.told(listing.store, {key: row.size for key, row in keyed if all(row.size)}, boxes=boxes, limits=limits)
    if boxes:
        return _crops(listing.store, keyed, notes, limits)
    shown = [[box.label for box in row.boxes] + [*row.unboxed] for _, row in keyed]
    labels = [tuple(dict.fromkeys(row)) for row in shown]
    return assemble(
        listing.store, [key for key, _ in keyed], labels, multi=True, parts=[row.part for _, row in keyed], notes=notes
    )


def _without(names: Iterable[str], annotated: Collection[str]) -> list[str]:
    """Say how many pictures lie beside annotated ones and have no annotation."""
    folders = {posixpath.dirname(key) for key in annotated}
    bare = [name for name in names if is_picture(name) and name not in annotated and posixpath.dirname(name) in folders]
    if not bare:
        return []
    said = f"{len(bare):,} pictures beside those have no annotation and were left out: {some(bare)}"
    return [events.warn(said, hint="if they show none of the classes, annotate them as that", code="no-annotation")]


def _crops(store: Store, keyed: Sequence[tuple[str, Annotated]], notes: list[str], limits: Limits) -> Pictures:
    unboxed = [f"{key} ({label})" for key, row in keyed for label in row.unboxed]
    if unboxed:
        notes.append(f"{len(unboxed):,} crowds and objects without a box were left out: {some(unboxed)}")
        events.warn(notes[-1], hint="without boxes: they count as labels of their pictures", code="no-box")
    cut: dict[tuple[str, str], tuple[str, int]] = {}
    for key, row in keyed:
        for box in row.boxes:
            if not box.empty:
                corners = ",".join(map(str, box.rounded()))
                cut.setdefault((f"{key}#{corners}", box.label), (key, row.part))
    drawn = {key: row.size for key, row in keyed if all(row.size)}
    return assemble(
        CropStore(store, drawn, limits=limits),
        [key for key, _ in cut],
        [(label,) for _, label in cut],
        parts=[part for _, part in cut.values()],
        groups=[key for key, _ in cut.values()],
        notes=notes,
    )


def _keyed(listing: Listing, rows: Sequence[Annotated], notes: list[str]) -> Iterator[tuple[str, Annotated]]:
    """Yield each annotated picture with its key. It lies where its path leads to, or is the one file of that name.

    An .xml is of the picture of its own name, whatever name it says inside: files are renamed, what is in them is forgotten.
    """
    finder = Finder(listing.names)
    stale = []
    named_from = ((row.path, posixpath.dirname(row.place)) for row in rows)
    notes += outside.check(named_from, where=listing.store.name, foreign=listing.foreign)
    keys: list[str | None] = []
    for row in rows:
        own = _of_xml(row, finder) if row.place.endswith(".xml") else None
        if own and not _names(row.path, own):
            stale.append(f"{row.place} ({row.path})")
        keys.append(own or _place(row, finder))
        if keys[-1]:
            yield keys[-1], row
    missing = [row.path for row, key in zip(rows, keys, strict=True) if key is None]
    paths = [row.path for row in rows]
    notes += outside.absolute(paths, keys, where=listing.store.name, foreign=listing.foreign)
    if stale:
        notes.append(
            f"{len(stale):,} .xml files name another picture inside; they are of those of their own name: {some(stale)}"
        )
        events.warn(notes[-1], hint="check that these are the pictures that are meant", code="stale-names")
    if missing:
        what = f"of the {len(rows):,} pictures that the annotations name"
        hint = "put the pictures beside the annotations, or give the folder that holds both"
        if len(missing) == len(rows):
            said = f"none {what} is in {listing.store.name}: {some(missing)}"
            raise DataError(said, code="missing-files", hint=hint)
        notes.append(f"{len(missing):,} {what} are not there and were left out: {some(missing)}")
        events.warn(notes[-1], hint=hint, code="missing-files")


def _names(path: str, key: str) -> bool:
    """Return True where a path names the picture `key`, its folders and ending left aside."""
    stems = [composed(posixpath.splitext(posixpath.basename(name.replace("\\", "/")))[0]) for name in (path, key)]
    return stems[0] == stems[1] or composed(posixpath.basename(path)) == stems[1]


def _of_xml(row: Annotated, finder: Finder) -> str | None:
    """Return the picture of the .xml's own name: beside it, in JPEGImages/ or images/ beside its folder, or the only one."""
    above, name = posixpath.split(posixpath.splitext(row.place)[0])
    outer = posixpath.dirname(above)
    tries = [posixpath.join(*way, name) for way in ((above,), (outer, "JPEGImages"), (outer, "images"))]
    return next((key for way in tries if (key := finder.under(way))), None) or finder.one(name, part=row.part)


def _place(row: Annotated, finder: Finder) -> str | None:
    above = posixpath.dirname(row.place)
    path = row.path.replace("\\", "/")
    tries = [posixpath.join(above, path), posixpath.join(posixpath.dirname(above), "JPEGImages", path), path]
    tries.append(posixpath.join(above, posixpath.basename(path)))
    exact = next((key for way in tries if (key := finder.at(posixpath.normpath(way)))), None)
    return exact or finder.one(path.lstrip("./"), part=row.part) or finder.one(posixpath.basename(path), part=row.part)
