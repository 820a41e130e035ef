"""Boxes after the decisions of a person, and the table that they are written to: the source itself is never changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from beholder.base import cells
from beholder.base.arrays import I64, Values
from beholder.base.boxes import Boxes, Drawn
from beholder.base.brief import shown
from beholder.base.errors import DataError
from beholder.base.records import PARTS, Finding, Pictures
from beholder.quality.named import NEW, Named, named
from beholder.sources import rows as tables
from beholder.sources.listing import some

COLUMNS = ("path", "label", "xmin", "ymin", "xmax", "ymax")

Decided = dict[str, dict[str, str]]
"""Picture → name of one of its boxes → keep | drop | relabel:CLASS."""


@dataclass(frozen=True, eq=False)
class Corrected:
    """Pictures with their boxes as they were decided.

    counts:  {"dropped", "relabelled", "drawn"}
    missing: pictures of which a decision names a box that is not there
    waiting: findings about boxes of which nobody has decided
    """

    pictures: Pictures
    counts: dict[str, int]
    missing: tuple[str, ...] = ()
    waiting: int = 0

    __repr__ = shown


def decided_boxes(rows: Iterable[Finding]) -> Decided:
    """Return what a person decided about boxes."""
    found: Decided = {}
    for row in rows:
        if row.picture and row.box and row.decided:
            found.setdefault(row.picture, {})[row.box] = row.decided
    return found


def corrected(pictures: Pictures, rows: Sequence[Finding]) -> Corrected:
    """Return the pictures with the boxes that decisions keep, drop, relabel and add; labels follow the boxes.

    A class that is new is added at the end. What a label says of a picture without a box stays.
    """
    boxes, decided = pictures.boxes, decided_boxes(rows)
    waiting = sum(1 for row in rows if row.box and not row.decided)
    if boxes is None or not decided:
        return Corrected(pictures, {"dropped": 0, "relabelled": 0, "drawn": 0}, waiting=waiting)
    classes = _classes(pictures.classes, decided)
    targets: Values = np.pad(pictures.targets, ((0, 0), (0, len(classes) - len(pictures.classes))))
    counts, missing, drawn = Counter[str](), list[str](), list[Drawn]()
    for row, key in enumerate(pictures.keys):
        before = boxes[row]
        after = before
        if key in decided:
            after, lost = _decided(before, decided[key], classes, counts)
            missing += [key] if lost else []
            said = np.setdiff1d(np.flatnonzero(targets[row]), before.classes)
            targets[row] = 0
            targets[row, np.union1d(said, after.classes).astype(np.int64)] = 1
        drawn.append(after)
    found = replace(pictures, classes=classes, targets=targets, boxes=Boxes.of(drawn, boxes.sizes))
    return Corrected(found, {name: counts[name] for name in ("dropped", "relabelled", "drawn")}, tuple(missing), waiting)


def _classes(classes: tuple[str, ...], decided: Decided) -> tuple[str, ...]:
    """Return the classes with those that decisions name for the first time."""
    every = [(named(box), what) for of in decided.values() for box, what in of.items() if what != "drop"]
    fresh = {_label(box, what) for box, what in every if box.number == NEW or what.startswith("relabel:")}
    return (*classes, *sorted(fresh - set(classes)))


def _label(box: Named, what: str) -> str:
    return what.partition(":")[2] if what.startswith("relabel:") else box.label


def _decided(before: Drawn, decided: dict[str, str], classes: tuple[str, ...], counts: Counter[str]) -> tuple[Drawn, bool]:
    """Return the boxes of one picture after decisions, which `counts` counts, and whether one of them names no box here."""
    stays, of, lost = np.ones(len(before.classes), bool), before.classes.copy(), False
    fresh: list[Named] = []
    for text, what in decided.items():
        box = named(text)
        if box.number == NEW:
            if what != "drop":
                fresh.append(box._replace(label=_label(box, what)))
        elif not _is(before, box):
            lost = True
        elif what == "drop":
            stays[box.number] = False
        elif what != "keep":
            of[box.number] = classes.index(_label(box, what))
    counts["dropped"] += int((~stays).sum())
    counts["relabelled"] += int((stays & (of != before.classes)).sum())
    counts["drawn"] += len(fresh)
    corners = np.array([box.corners for box in fresh], np.float64).reshape(-1, 4)
    added = np.array([classes.index(box.label) for box in fresh], np.int64)
    crowd = np.concatenate([before.crowd[stays], np.zeros(len(fresh), bool)])
    return Drawn(np.concatenate([before.corners[stays], corners]), np.concatenate([of[stays], added]), crowd), lost


def _is(drawn: Drawn, box: Named) -> bool:
    """Return whether the box of that number lies where its name says: else the source has changed since."""
    there = box.number < len(drawn.classes)
    return there and bool(np.abs(drawn.corners[box.number] - box.corners).max() <= 0.01)


def said_of(done: Corrected, after: Pictures) -> list[str]:
    """Return what a person would want to know of the boxes, in sentences. after: the pictures that are written."""
    notes, counts = [], done.counts
    boxes = after.boxes
    if any(counts.values()):
        notes.append(f"boxes: {counts['dropped']:,} dropped, {counts['relabelled']:,} relabelled, {counts['drawn']:,} drawn")
    if done.waiting:
        notes.append(f"nobody has decided about {done.waiting:,} findings about boxes: these boxes stay as they are")
    if done.missing:
        notes.append(f"decisions name boxes that are not in the source any more: {some(done.missing)}")
    if boxes is not None and boxes.crowd.any():
        notes.append(
            f"{int(boxes.crowd.sum()):,} boxes that stand for several objects are left out: such a table cannot mark them"
        )
    return notes


def boxes_table(pictures: Pictures, paths: Sequence[str], name: str) -> bytes:
    """Return path,label,xmin,ymin,xmax,ymax[,width,height][,split][,group] as UTF-8, a row for each box.

    paths: what the table calls each picture; name: of the file. A picture without boxes has one row without corners; width and
    height are those at which boxes were drawn, where the source says them.
    Raises `DataError` (bad-names) where it would be read as something else.
    """
    boxes = pictures.boxes
    assert boxes is not None
    sized, parted, grouped = bool(boxes.sizes.any()), bool((pictures.parts >= 0).any()), bool((pictures.groups >= 0).any())
    head = [
        *COLUMNS,
        *(("width", "height") if sized else ()),
        *(("split",) if parted else ()),
        *(("group",) if grouped else ()),
    ]
    lines = [cells.line(head)]
    for row, path in enumerate(paths):
        tail: list[str] = [str(side) if side else "" for side in boxes.sizes[row].tolist()] if sized else []
        tail += [PARTS[pictures.parts[row]] if pictures.parts[row] >= 0 else ""] if parted else []
        tail += [str(pictures.groups[row]) if pictures.groups[row] >= 0 else ""] if grouped else []
        lines += [cells.line([path, label, *corners, *tail]) for label, corners in _rows(pictures, boxes[row], row)]
    try:
        data = "".join(lines).encode()
        again = {told.path: sorted(box.label for box in told.boxes) for told in tables.parse(data, name, name)}
    except (UnicodeEncodeError, DataError) as error:
        raise _odd(paths) from error
    wrong = [path for row, path in enumerate(paths) if again.get(path) != _labels(pictures, boxes[row])]
    if wrong:
        raise _odd(wrong)
    return data


def _odd(paths: Sequence[str]) -> DataError:
    hint = "rename them: no line break, no semicolon in a class"
    return DataError(f"a table cannot hold these names or their classes: {some(paths)}", code="bad-names", hint=hint)


def _labels(pictures: Pictures, drawn: Drawn) -> list[str]:
    return sorted(pictures.classes[k] for k in drawn.classes[~drawn.crowd].tolist())


def _rows(pictures: Pictures, drawn: Drawn, row: int) -> list[tuple[str, list[str]]]:
    """Return (label, four corners as text) of each row of one picture; without corners what it shows without a box."""
    kept: I64 = np.flatnonzero(~drawn.crowd)
    found = [(pictures.classes[int(drawn.classes[k])], [_text(v) for v in drawn.corners[k].tolist()]) for k in kept]
    unboxed = np.setdiff1d(np.flatnonzero(pictures.targets[row]), drawn.classes).tolist()
    found += [(pictures.classes[k], [""] * 4) for k in unboxed]
    return found or [("", [""] * 4)]


def _text(value: float) -> str:
    return format(round(value, 3), ".12g")
