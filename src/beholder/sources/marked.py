"""Files that say what is where in pictures: COCO, Pascal VOC, YOLO, and tables with a row for each box.

Two ways. Presence: a picture carries the labels of all its objects, with a box or without, crowds too; `Pictures.boxes` says
where they are. Boxes: each box is cut out and is a picture of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import Names
from beholder.base.records import Pictures, Store
from beholder.sources import apart, coco, folder, gtsrb, rows, sizes, voc, yolo
from beholder.sources.annotated import Annotated
from beholder.sources.crops import CropStore
from beholder.sources.drawn import drawn, placeless
from beholder.sources.finding import Finder
from beholder.sources.listing import Listing, assemble, no_pictures, some, tabled
from beholder.sources.parts import in_part
from beholder.sources.placed import keyed, place, without


def found(listing: Listing, *, boxes: bool, limits: Limits = LIMITS, images: Listing | None = None) -> Pictures | None:
    """Return the pictures that annotation files in a folder or an archive tell of, or None where there are no such files.

    Such files are, the first kind of which there are some: instances*.json and _annotations.coco.json; Annotations/*.xml, and
    .xml beside pictures of no class folders; the text files of YOLO; GT-CLASS.csv in the folder of a class; tables of boxes.
    images: where the pictures are, if they lie apart.
    Raises `DataError` (bad-annotations, missing-files, no-pictures, one-class).
    """
    notes: list[str] = []
    held = images or listing
    if named := [name for name in listing.names if coco.NAMED.search(name)]:
        told = [row for name in named for row in coco.parse_coco(listing.bytes_of(name), name, in_part(name), notes=notes)]
    elif named := [name for name in listing.names if voc.NAMED.search(name)] or voc.beside(listing.names, boxes=boxes):
        told = _of_xml(listing, named)
    elif (label := yolo.found(listing, held, boxes=boxes)) is not None:
        told = label.rows(limits, notes)
    elif named := gtsrb.named(listing.names):
        if not boxes:
            return gtsrb.pictures_of(listing) if images is None else None
        told = gtsrb.rows_of(listing, named, notes)
    elif named := rows.named(listing, boxes=boxes):
        told = [row for name in named for row in rows.parse(listing.bytes_of(name), name, f"{listing.store.name}: {name}")]
    else:
        return None
    return pictures_of(listing, told, boxes=boxes, limits=limits, notes=notes, images=images)


def _of_xml(listing: Listing, named: Sequence[str]) -> list[Annotated]:
    parts = voc.image_sets(listing)
    told = []
    for done, name in enumerate(named, start=1):
        told.append(voc.parse_voc(listing.bytes_of(name), name, parts))
        if done % 10_000 == 0:
            events.progress("reading annotations", done, len(named))
    return told


def from_coco(path: Path, *, boxes: bool, limits: Limits = LIMITS, images: Listing | None = None) -> Pictures:
    """Return the pictures of one COCO file on the disk; they are looked for in its folder, or in the one above annotations/.

    Raises as `found`, and `DataError` (unreadable).
    """
    root = path.parent.parent if path.parent.name.lower() == "annotations" else path.parent
    name = path.relative_to(root).as_posix()
    notes: list[str] = []
    told = coco.parse_coco(read(path), name, in_part(name), notes=notes)
    return _beside(path, root, told, notes, boxes=boxes, limits=limits, images=images)


def from_table(path: Path, *, boxes: bool, limits: Limits = LIMITS, images: Listing | None = None) -> Pictures | None:
    """Return the pictures of a CSV or TSV with a row for each box: file, label and xmin, ymin, xmax, ymax.

    None where it is a table without boxes, and none are asked for.
    Raises as `found`, and `DataError` (unreadable, no-boxes, and what `table.cells` raises).
    """
    data = read(path)
    if not rows.has_boxes(data, path.name, str(path), boxes=boxes):
        if boxes:
            raise no_boxes(str(path))
        return None
    told = rows.parse(data, path.name, str(path))
    return _beside(path, path.parent, told, [], boxes=boxes, limits=limits, images=images)


def from_yolo(path: Path, *, boxes: bool, limits: Limits = LIMITS, images: Listing | None = None) -> Pictures:
    """Return the pictures of one data.yaml on the disk, in its folder or in the one that its `path` names.

    Raises as `found`, and `DataError` (unreadable, no-labels).
    """
    data = yolo.described(read(path), path.name)
    if data is None:
        raise yolo.bad_yaml(str(path))
    root = yolo.root_of(path, data)
    listing = folder.listing(root, limits=limits)
    name = path.name if root == path.parent else ""
    label = yolo.labelled(listing, images or listing, {name: data})
    if label is None:
        text = f"not one picture that {path} may mean has a text file of boxes"
        hint = "YOLO has labels/a.txt beside images/a.jpg; where the pictures lie elsewhere, say so: images="
        raise DataError(text, code="no-labels", hint=hint)
    notes: list[str] = []
    told = label.rows(limits, notes)
    return pictures_of(listing, told, boxes=boxes, limits=limits, notes=notes, images=images)


def read(path: Path) -> bytes:
    """Return the bytes of an annotation file. Raises `DataError` (unreadable)."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}", code="unreadable", hint="check the file") from error


def no_boxes(where: str) -> DataError:
    """Return the error for a source of which boxes are asked for, and that has none."""
    hint = "boxes: takes COCO (a .json, or a folder with one), Pascal VOC, YOLO, or a CSV with file,label,xmin,ymin,xmax,ymax"
    return DataError(f"there are no boxes in {where}", code="no-boxes", hint=hint)


def _beside(
    path: Path, root: Path, told: Sequence[Annotated], notes: list[str], *, boxes: bool, limits: Limits, images: Listing | None
) -> Pictures:
    """Return the pictures that one file tells of: in `images`, below `root`, or, where most are not, in an archive."""
    if images is not None:
        listing = Listing(folder.FolderStore(root, limits=limits), ())
        return pictures_of(listing, told, boxes=boxes, limits=limits, notes=notes, images=images)
    listing = folder.listing(root, limits=limits)
    finder = Finder(listing.names)
    paths = list({row.path: row for row in told}.values())
    if paths and 2 * sum(place(row, finder) is not None for row in paths) < len(paths):
        images, said = apart.beside(
            path, lambda other: sum(place(row, other) is not None for row in paths), len(paths), limits=limits
        )
        notes = [*notes, *said]
    return pictures_of(listing, told, boxes=boxes, limits=limits, notes=notes, images=images)


def pictures_of(
    listing: Listing,
    told: Sequence[Annotated],
    *,
    boxes: bool,
    limits: Limits = LIMITS,
    notes: Sequence[str] = (),
    images: Listing | None = None,
) -> Pictures:
    """Return a picture per box, those of one picture in one group, or with their labels and boxes the pictures themselves.

    Boxes without area are warned of: where boxes are asked for they are left out, else they are labels like others.
    Raises `DataError` (missing-files, no-pictures, one-class, bad-annotations).
    """
    where = listing.store.name
    if not told:
        raise no_pictures(where)
    held = images or listing
    notes = [*(listing.notes if images is None else images.notes), *notes]
    merged = _merged(listing, told, notes, images)
    empty = placeless(merged, where=where)
    if empty:
        what = "were left out" if boxes else "count as labels of their pictures"
        notes.append(f"{len(empty):,} boxes without area {what}: {some(empty)}")
        events.warn(notes[-1], code="empty-box")
    if not told[0].measured:  # YOLO's pictures were found from their own side, and those left out are told
        notes += without(held.names, {key for key, _ in merged})
    said = {key: row.size for key, row in merged if all(row.size) and not row.measured}
    notes += sizes.told(held.store, said, boxes=boxes, limits=limits)
    return _crops(held.store, merged, notes, limits) if boxes else _present(held.store, merged, notes)


def _merged(
    listing: Listing, told: Sequence[Annotated], notes: list[str], images: Listing | None
) -> list[tuple[str, Annotated]]:
    """Return each picture once, with its key and all that is said of it; size, part and group are the first that are said."""
    several: dict[str, list[Annotated]] = {}
    for key, row in keyed(listing, told, notes, images=images):
        several.setdefault(key, []).append(row)
    return [(key, of[0] if len(of) == 1 else _joined(of)) for key, of in several.items()]


def _joined(several: Sequence[Annotated]) -> Annotated:
    return replace(
        several[0],
        boxes=tuple(box for row in several for box in row.boxes),
        crowds=tuple(box for row in several for box in row.crowds),
        unboxed=tuple(label for row in several for label in row.unboxed),
        size=next((row.size for row in several if all(row.size)), (0, 0)),
        part=next((row.part for row in several if row.part >= 0), -1),
        group=next((row.group for row in several if row.group), ""),
    )


def _present(store: Store, merged: Sequence[tuple[str, Annotated]], notes: list[str]) -> Pictures:
    """Return the pictures with the labels of what they show, and where it is."""
    shown = [dict.fromkeys([*(box.label for box in (*row.boxes, *row.crowds)), *row.unboxed]) for _, row in merged]
    labels = {label: k for k, label in enumerate(dict.fromkeys(label for row in shown for label in row))}
    targets = np.zeros((len(merged), len(labels)), np.uint8)
    for i, row in enumerate(shown):
        targets[i, [labels[label] for label in row]] = 1
    boxes, said = drawn(merged, labels, where=store.name)
    groups = [row.group for _, row in merged]
    return tabled(
        store,
        Names.of(key for key, _ in merged),
        targets,
        list(labels),
        parts=[row.part for _, row in merged],
        groups=groups if any(groups) else None,
        notes=[*notes, *said],
        boxes=boxes,
    )


def _crops(store: Store, merged: Sequence[tuple[str, Annotated]], notes: list[str], limits: Limits) -> Pictures:
    unboxed = [f"{key} ({label})" for key, row in merged for label in (*(box.label for box in row.crowds), *row.unboxed)]
    if unboxed:
        notes.append(f"{len(unboxed):,} crowds and objects without a box were left out: {some(unboxed)}")
        events.warn(notes[-1], hint="without boxes: they count as labels of their pictures", code="no-box")
    cut: dict[tuple[str, str], tuple[str, int]] = {}
    for key, row in merged:
        for box in row.boxes:
            if not box.empty:
                corners = ",".join(map(str, box.rounded()))
                cut.setdefault((f"{key}#{corners}", box.label), (row.group or key, row.part))
    sized = {key: row.size for key, row in merged if all(row.size)}
    return assemble(
        CropStore(store, sized, limits=limits),
        [key for key, _ in cut],
        [(label,) for _, label in cut],
        parts=[part for _, part in cut.values()],
        groups=[group for group, _ in cut.values()],
        notes=notes,
    )
