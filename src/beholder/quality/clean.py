"""The verb `clean`: a copy of a source, or a table of it, after the decisions of an audit; the source is never touched."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder import image
from beholder.base import events
from beholder.base.arrays import Values
from beholder.base.brief import shown
from beholder.base.errors import DataError, PictureError
from beholder.base.files import folder_atomic, write_atomic
from beholder.base.names import readable
from beholder.base.records import PARTS, Bad, Pictures
from beholder.image import encode
from beholder.quality.audit import Findings, applied, decided, read, suggested
from beholder.quality.boxes import Corrected, boxes_table, corrected, said_of
from beholder.quality.decisions import matched
from beholder.sources import manifest, scan, table
from beholder.sources.listing import is_picture, some
from beholder.sources.titles import Titles, is_title

LABELS = "labels.csv"
"""The table in a copy whose labels no class folders can carry; its pictures lie in the folder `INSIDE` beside it."""

BOXES = "boxes.csv"
"""The same where the pictures have boxes: a row for each of them."""

INSIDE = "pictures"


@dataclass(frozen=True)
class Cleaned:
    """What `clean` did.

    out:        the folder or the table written
    pictures:   how many are in it; dropped: how many were left out by decision; relabelled: how many got another label
    classes:    class → number of pictures
    unreadable: those that could not be copied
    missing:    decisions about pictures that the source does not have
    notes:      what else a person would want to know, in sentences
    boxes:      {"left", "dropped", "relabelled", "drawn"} where the pictures have boxes
    """

    out: Path
    pictures: int
    dropped: int
    relabelled: int
    classes: dict[str, int]
    unreadable: tuple[Bad, ...] = ()
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    boxes: dict[str, int] | None = None

    __repr__ = shown

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values; names that are no UTF-8 made readable."""
        return {
            "out": str(self.out),
            "pictures": self.pictures,
            "dropped": self.dropped,
            "relabelled": self.relabelled,
            "classes": self.classes,
            "unreadable": [{"path": readable(bad.key), "code": bad.code, "message": bad.message} for bad in self.unreadable],
            "missing": [readable(key) for key in self.missing],
            "notes": list(self.notes),
            **({} if self.boxes is None else {"boxes": self.boxes}),
        }

    def __str__(self) -> str:
        first = f"{self.pictures:,} pictures in {self.out}: {self.dropped:,} dropped, {self.relabelled:,} relabelled"
        return "\n".join([first, *self.notes])


def clean(
    source: str | Path | tuple[Any, Any] | Pictures,
    *,
    apply: str | Path | Findings,
    out: str | Path,
    allow_download: bool = False,
) -> Cleaned:
    """Write a cleaned copy of a source into the new folder `out`, or its table to `out` where that ends in .csv.

    source: what `scan` takes, or Pictures; apply: an audit.csv, or findings
    allow_download: whether a source on the net may be fetched
    What a person decided is done, and nothing else: a picture that nobody has decided about is copied as it is, whatever is
    suggested for it. The copy has a folder for each class (inside train, valid and test, if the source gives parts), bytes and
    names as they are; where folders cannot say it all (several labels, groups, class names that no folder can have), a
    labels.csv and one folder of pictures. Of pictures with boxes that table is boxes.csv, with the boxes as they were decided:
    path,label,xmin,ymin,xmax,ymax. The source is only read.
    Raises `UsageError` (inside-source, exists, no-files), `DataError` (nothing-left, bad-audit, bad-names), `MachineError`.
    """
    out = Path(out)
    pictures = source if isinstance(source, Pictures) else scan(source, allow_download=allow_download)
    manifest.check_place(out, source)
    rows = apply.rows if isinstance(apply, Findings) else matched(read(apply), pictures)
    decisions = {key: what for key, what in decided(rows).items() if what != "keep"}
    boxes = corrected(pictures, rows)
    after = applied(boxes.pictures, decisions)
    if not len(after):
        hint = "look at the column decided"
        raise DataError(f"nothing is left of {pictures.store.name}: every picture is dropped", code="nothing-left", hint=hint)
    moved = {key for key, what in decisions.items() if what != "drop"}
    copied = _manifest(after, out) if out.suffix.lower() == ".csv" else _copy(after, out, moved)
    undecided = set(suggested(rows)) - set(decided(rows))
    told = _told(pictures, after, decisions, undecided, out, *copied)
    return told if after.boxes is None else _with_boxes(told, boxes, after)


def _with_boxes(told: Cleaned, boxes: Corrected, after: Pictures) -> Cleaned:
    assert after.boxes is not None
    counts = {"left": len(after.boxes.classes), **boxes.counts}
    return replace(told, boxes=counts, notes=(*told.notes, *said_of(boxes, after)))


def _told(
    before: Pictures,
    after: Pictures,
    decisions: dict[str, str],
    undecided: set[str],
    out: Path,
    unreadable: list[Bad],
    notes: list[str],
) -> Cleaned:
    known = set(before.keys)
    missing = tuple(key for key in decisions if key not in known)
    present = {key: what for key, what in decisions.items() if key in known}
    changes = {key: what.partition(":")[2] for key, what in present.items() if what.startswith("relabel:")}
    notes = list(notes)
    left = len(undecided & known)
    if left:
        those = "1 picture" if left == 1 else f"{left:,} pictures"
        notes.append(
            f"nobody has decided about {those} for which something is suggested: left untouched (beholder audit SOURCE --web "
            "shows them, or fill the column decided)"
        )
    if missing:
        notes.append(f"{len(missing):,} decisions are about pictures that are not in the source: {some(missing)}")
    if changes and before.multi:
        notes.append(f"{len(changes):,} decisions to relabel left as they are: these pictures carry several labels each")
        changes = {}
    if unreadable:
        notes.append(f"{len(unreadable):,} pictures cannot be read and were left out: {some([bad.key for bad in unreadable])}")
    relabelled = sum(
        before.classes[int(before.targets[row])] != changes[key] for row, key in enumerate(before.keys) if key in changes
    )
    gone = {bad.key for bad in unreadable}
    counts = Counter(label for row, key in enumerate(after.keys) if key not in gone for label in after.labels(row))
    classes = {name: counts[name] for name in after.classes if counts[name]}
    empty = [name for name in after.classes if not counts[name]]
    if empty:
        notes.append(f"no picture is left of {some(empty)}")
    dropped = sum(what == "drop" for what in present.values())
    return Cleaned(out, len(after) - len(gone), dropped, relabelled, classes, tuple(unreadable), missing, tuple(notes))


# --- a copy ----------------------------------------------------------------------------------------------------------


def _copy(pictures: Pictures, out: Path, moved: set[str]) -> tuple[list[Bad], list[str]]:
    """Write the folder whole or not at all; where names collide, `moved` ones give way. Return what was bad, and notes."""
    folders = _fits_folders(pictures)
    unreadable: list[Bad] = []
    rows: dict[int, table.Row] = {}
    titles = Titles()
    shallow = 0
    with folder_atomic(out) as made:
        keys = list(pictures.keys)
        for done, row in enumerate(sorted(range(len(keys)), key=lambda row: keys[row] in moved)):
            key = keys[row]
            if done % 256 == 0:
                events.progress("copying", done, len(keys))
            try:
                data, suffix, exact = _encoded(pictures.store.read(key), key)
            except PictureError as error:
                unreadable.append(Bad(key, error.code, error.message))
                continue
            shallow += not exact
            below = _folder(pictures, row) if folders else INSIDE
            name = titles.give(below, key if folders else readable(key), suffix)
            (made / below).mkdir(parents=True, exist_ok=True)
            (made / below / name).write_bytes(data)
            rows[row] = manifest.row(pictures, row, f"{below}/{name}")
        events.progress("copying", len(keys), len(keys))
        if not rows:
            raise DataError("not one picture can be read", code="all-unreadable", hint="check the source")
        if pictures.boxes is not None:
            left = sorted(rows)
            named = [rows[row].path for row in left]
            (made / BOXES).write_bytes(boxes_table(pictures.take(np.array(left, np.int64)), named, BOXES))
        elif not folders:
            (made / LABELS).write_bytes(manifest.text([rows[row] for row in sorted(rows)], LABELS))
    notes = (
        [f"{titles.changed:,} pictures got another name, for theirs was taken or no name for a file"] if titles.changed else []
    )
    if shallow:
        notes.append(f"{shallow:,} pictures of more than 8 bits a value were written with 8 bits")
    return unreadable, notes


def _fits_folders(pictures: Pictures) -> bool:
    """Return True where class folders say all there is to say of these pictures."""
    given = pictures.parts >= 0
    whole = bool(given.all()) or not given.any()
    folded = {name.casefold() for name in pictures.classes}
    plain = all(is_title(name) for name in pictures.classes) and len(folded) == len(pictures.classes)
    return plain and whole and not pictures.multi and not bool((pictures.groups >= 0).any())


def _folder(pictures: Pictures, row: int) -> str:
    part, label = int(pictures.parts[row]), pictures.labels(row)[0]
    return f"{PARTS[part]}/{label}" if part >= 0 else label


def _encoded(data: bytes | Values, key: str) -> tuple[bytes, str, bool]:
    """Return (file, the ending that the key lacks, whether nothing was lost): files as they are, arrays as PNG."""
    if isinstance(data, bytes):
        return data, "" if is_picture(key) else _ending(data), True
    made, exact = encode.png(data)
    return made, "" if key.lower().endswith(".png") else ".png", exact


def _ending(data: bytes) -> str:
    """Return the ending that a picture's content asks for, with its dot. Raises `PictureError` where it is none."""
    kind = image.header(data).format.lower()
    return "." + {"jpeg": "jpg", "mpo": "jpg", "tiff": "tif", "jpeg2000": "jp2"}.get(kind, kind)


# --- a table ---------------------------------------------------------------------------------------------------------


def _manifest(pictures: Pictures, out: Path) -> tuple[list[Bad], list[str]]:
    """Write path,label[,split,group], or the boxes, of pictures that stay where they are."""
    if pictures.boxes is None:
        manifest.write(pictures, out)
    else:
        write_atomic(out, boxes_table(pictures, manifest.paths(pictures, out), out.name))
    return [], []
