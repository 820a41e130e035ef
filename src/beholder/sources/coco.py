"""COCO: one JSON file of images, annotations and categories.

T.-Y. Lin et al., "Microsoft COCO: common objects in context", 2014.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any

from beholder.base import events
from beholder.sources.annotated import Annotated, bad, number, size_of
from beholder.sources.crops import Box
from beholder.sources.labels import text
from beholder.sources.listing import some

NAMED = re.compile(r"(^|/)(instances[^/]*|_annotations\.coco)\.json$", re.IGNORECASE)
"""What COCO files in a folder or an archive are called."""


def parse_coco(data: bytes, name: str, part: int = -1, *, notes: list[str] | None = None) -> list[Annotated]:
    """Return the pictures of a COCO file; annotations of pictures that it does not name are left out with a warning.

    notes: where the sentences go that a person is told. Raises `DataError` (bad-annotations).
    """
    try:
        return _parsed(json.loads(data), name, part, [] if notes is None else notes)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise bad(name, error, "COCO has images, annotations with image_id and category_id, and categories") from error


def _parsed(whole: Any, name: str, part: int, notes: list[str]) -> list[Annotated]:
    classes = _named_once(((row["id"], text(row["name"])) for row in whole["categories"]), "category")
    boxes: dict[str, list[Box]] = {
        key: [] for key in _named_once(((row["id"], str(row["file_name"])) for row in whole["images"]), "image")
    }
    unboxed: dict[str, list[str]] = {key: [] for key in boxes}
    crowds: dict[str, list[Box]] = {key: [] for key in boxes}
    orphans = []
    for row in whole["annotations"]:
        key, label = text(row["image_id"]), classes.get(text(row["category_id"]))
        if label is None:
            raise ValueError(f"annotation {row.get('id', '')} is of category {row['category_id']}, which is not among them")
        box = _box(row, label)
        if key not in boxes:
            orphans.append(str(row.get("id", "")))
        elif box is None:
            unboxed[key].append(label)
        else:
            (crowds if box.crowd else boxes)[key].append(box)
    if orphans and len(orphans) == len(whole["annotations"]):
        raise ValueError("not one annotation is of a picture that it names")
    _tell_orphans(orphans, name, notes)
    return [
        Annotated(str(row["file_name"]), name, tuple(boxes[key]), part, _size(row), tuple(unboxed[key]), tuple(crowds[key]))
        for row in whole["images"]
        for key in [text(row["id"])]
    ]


def _named_once(rows: Iterable[tuple[object, str]], what: str) -> dict[str, str]:
    """Return the names by id. Raises `ValueError` where one has none, or an id has two."""
    named: dict[str, str] = {}
    for key, name in rows:
        if not name:
            raise ValueError(f"{what} {key} has no name")
        if named.setdefault(text(key), name) != name:
            raise ValueError(f"{what} {key} is there twice, as {named[text(key)]} and as {name}")
    return named


def _box(row: dict[str, Any], label: str) -> Box | None:
    """Return the box of an annotation, None where it has none: no bbox, an empty one, or nothing but zeros.

    One that is no four numbers is a box without a place: of presence it tells all the same.
    """
    corners = row.get("bbox") or []
    if not any(corners):
        return None
    crowd = bool(row.get("iscrowd"))
    if not isinstance(corners, (list, tuple)) or len(corners) != 4:
        return Box(label, math.nan, math.nan, math.nan, math.nan, crowd)
    left, top, width, height = map(number, corners)
    return Box(label, left, top, left + width, top + height, crowd)


def _size(row: dict[str, Any]) -> tuple[int, int]:
    return size_of(row.get("width"), row.get("height"))


def _tell_orphans(orphans: Sequence[str], name: str, notes: list[str]) -> None:
    if orphans:
        said = f"{len(orphans):,} annotations of {name} are of pictures that it does not name, and were left out: "
        notes.append(said + some(orphans))
        events.warn(notes[-1], hint="export it again, or give it its pictures back", code="orphans")
