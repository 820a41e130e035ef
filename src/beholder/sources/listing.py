"""What a folder or an archive holds, and how labelled rows become `Pictures`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from beholder.base import events
from beholder.base.arrays import I8, I64, U8, Integer
from beholder.base.boxes import Boxes
from beholder.base.errors import DataError, PictureError
from beholder.base.names import Names, composed, readable
from beholder.base.records import Pictures, Store
from beholder.sources import labels as reading

PICTURES = frozenset(
    {
        "jpg", "jpeg", "jpe", "jfif", "png", "bmp", "dib", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "pfm",
        "avif", "avifs", "jp2", "j2k", "jpf", "jpx", "j2c", "heic", "heif", "dcm",
    }
)  # fmt: skip
"""Endings of the files that are taken for pictures; what a file truly is, its first bytes say when it is opened."""

TABLES = frozenset({"csv", "tsv", "jsonl"})

_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "__pycache__"}


@dataclass(frozen=True)
class Listing:
    """The files of a folder or an archive. `names`: posix paths below its root, sorted; `notes`: what is odd.

    empty: folders with nothing in them, as posix paths below the root
    foreign: it is an archive, or comes from the network: what it says of files outside is refused
    """

    store: Store
    names: Sequence[str]
    notes: tuple[str, ...] = ()
    foreign: bool = False
    empty: tuple[str, ...] = ()

    def bytes_of(self, name: str) -> bytes:
        """Return the bytes of a file that is no picture. Raises `DataError` where it cannot be read."""
        try:
            data = self.store.read(name)
        except PictureError as error:
            raise DataError(error.message, code=error.code, hint=error.hint) from error
        assert isinstance(data, bytes)
        return data


def ending(name: str) -> str:
    """Return what follows the last dot of a file's name, in lower case; "" if there is none."""
    base = name.rpartition("/")[2]
    return base.rpartition(".")[2].lower() if "." in base else ""


def is_picture(name: str) -> bool:
    """Return True where a file's ending is that of a picture."""
    return ending(name) in PICTURES


def is_table(name: str) -> bool:
    """Return True where a file's ending is that of a table: CSV, TSV or JSONL."""
    return ending(name) in TABLES


def is_junk(part: str) -> bool:
    """Return True for one component of a path that systems and tools leave behind, such as .DS_Store or __MACOSX."""
    return part.startswith(".") or part.lower() in _JUNK


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return distinct labels sorted: by value where all are whole numbers ("2" before "10"), else by name."""
    found = set(labels)
    numbers = all(label.isascii() and label.isdecimal() for label in found)
    return tuple(sorted(found, key=lambda label: (int(label), label)) if numbers else sorted(found))


def some(items: Sequence[str], *, of: int = 0) -> str:
    """Return the first three items as text, and how many more there are; of: how many in all, if not all are given."""
    more = (of or len(items)) - 3
    return ", ".join(readable(item) for item in items[:3]) + (f" and {more:,} more" if more > 0 else "")


def case_notes(names: Sequence[str]) -> list[str]:
    """Return a note where names differ in nothing but case or Unicode form: some systems would keep only one of them."""
    folded = np.fromiter((hash(_folded(name)) for name in names), np.int64, len(names))
    order = np.sort(folded)
    twice = order[1:][order[1:] == order[:-1]]
    if not len(twice):
        return []
    n = int(np.isin(folded, twice).sum())
    pair = [names[i] for i in np.flatnonzero(folded == twice[0])[:2].tolist()]
    return [f"{n:,} names differ from another in nothing but case or Unicode form, such as {some(pair)}"]


def _folded(name: str) -> str:
    return name.lower() if name.isascii() else composed(name).casefold()


def assemble(
    store: Store,
    keys: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    *,
    multi: bool = False,
    parts: Sequence[int] | I8 | None = None,
    groups: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    where: str = "",
) -> Pictures:
    """Return the table of labelled pictures.

    labels: one label each, "" or () = none, or any number where `multi`; parts: index into `PARTS` or -1; groups: "" = none;
    where: what an error names as their source, by default the store.
    Raises `DataError` (no-pictures, no-labels, one-class).
    """
    found: dict[str, int] = {}
    for row in labels:
        for label in row:
            found.setdefault(label, len(found))
    targets: Integer
    if multi:
        targets = np.zeros((len(keys), len(found)), np.uint8)
        for i, row in enumerate(labels):
            targets[i, [found[label] for label in row]] = 1
    else:
        targets = np.fromiter((found[row[0]] if row else -1 for row in labels), np.int64, len(keys))
    return tabled(store, Names.of(keys), targets, list(found), parts=parts, groups=groups, notes=notes, where=where)


def tabled(
    store: Store,
    keys: Names,
    targets: Integer,
    labels: Sequence[str],
    *,
    parts: Sequence[int] | I8 | None = None,
    groups: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    where: str = "",
    boxes: Boxes | None = None,
) -> Pictures:
    """Return the table of pictures whose labels are numbers already.

    targets: (N,) index into `labels`, -1 = none, or (N, K) multi-hot in their order; labels: distinct, in any order.
    boxes: of the same N pictures where `targets` are multi-hot, with classes that are indices into `labels`
    What is no label, `labels.read` says; pictures without one are left out with a warning. Else as `assemble`.
    """
    where = where or store.name
    if not len(keys):
        raise no_pictures(where)
    read = reading.read(dict(zip(labels, _counts(targets, len(labels)).tolist(), strict=True)), where=where)
    classes = in_order(name for name in read.names.values() if name)
    names = [read.names[label] for label in labels]
    targets = _in_classes(targets, names, classes)
    n = len(keys)
    given = np.full(n, -1, np.int8) if parts is None else np.asarray(parts, np.int8)
    grouped = np.full(n, -1, np.int64) if groups is None else _numbers(groups)
    said = [*notes, *read.notes]
    if targets.ndim == 1 and (targets < 0).any():
        rows = np.flatnonzero(targets >= 0)
        said.append(_bare(keys, targets, where))
        keys, targets, given, grouped = keys.take(rows), targets[rows], given[rows], grouped[rows]
    elif targets.ndim == 2:
        said += _several(keys, targets.sum(axis=1), where)
    if len(classes) < (1 if targets.ndim == 2 else 2):
        raise one_class(where, classes)
    _warn_of_case(classes, where)
    placed = None if boxes is None else _of_classes(boxes, names, classes)
    return Pictures(store, keys, targets, classes, given, grouped, notes=tuple(dict.fromkeys(said)), boxes=placed)


def _of_classes(boxes: Boxes, names: Sequence[str], classes: Sequence[str]) -> Boxes:
    """Return boxes with classes in the order of `classes` from those in that of `names`; those of no class are left out."""
    found = _in_classes(boxes.classes, names, classes).astype(np.int64)
    kept = np.flatnonzero(found >= 0)
    counts = np.bincount(boxes.pictures[kept], minlength=len(boxes))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Boxes(boxes.corners[kept], found[kept], boxes.crowd[kept], starts, boxes.sizes)


def _several(keys: Names, labels: Integer, where: str) -> list[str]:
    """Return what is to be said of the number of labels of each picture, int (N,); warn where few have not just one."""
    said, odd, bare = [], np.flatnonzero(labels != 1), int(np.count_nonzero(labels == 0))
    if 0 < 10 * len(odd) < len(keys):
        have = "has" if len(odd) == 1 else "have"
        few = some([keys[i] for i in odd[:4].tolist()], of=len(odd))
        text = f"{len(odd):,} of the {len(keys):,} pictures {have} several labels or none ({few}), the others one each: "
        text += f"{where} is taken for a set of several labels a picture"
        said.append(events.warn(text, hint="if it is none, give each picture just one label", code="few-several"))
    if bare:
        said.append(f"{bare:,} pictures carry no label and are taken as showing none of the classes")
    return said


def _counts(targets: Integer, classes: int) -> Integer:
    return targets.sum(axis=0, dtype=np.int64) if targets.ndim == 2 else np.bincount(targets[targets >= 0], minlength=classes)


def _in_classes(targets: Integer, names: Sequence[str], classes: Sequence[str]) -> I64 | U8:
    """Return targets in the order of `classes` from targets in that of `names`, of which several may be one class, or none."""
    index = {name: k for k, name in enumerate(classes)}
    places = np.array([*(index.get(name, -1) for name in names), -1], np.int64)
    if targets.ndim == 1:
        found: I64 = places[targets]
        return found
    hot = np.zeros((len(targets), len(classes)), np.uint8)
    for column, place in enumerate(places[:-1].tolist()):
        if place >= 0:
            hot[:, place] |= targets[:, column].astype(np.uint8)
    return hot


def _bare(keys: Names, targets: Integer, where: str) -> str:
    """Warn of pictures without a label, and return the sentence. Raises `DataError` (no-labels) where none has one."""
    rows = np.flatnonzero(targets < 0)
    if len(rows) == len(keys):
        text = f"not one of the {len(keys):,} pictures of {where} has a label"
        raise DataError(text, code="no-labels", hint="add the labels")
    few = some([keys[i] for i in rows[:4].tolist()], of=len(rows))
    text = f"{len(rows):,} of the {len(keys):,} pictures of {where} have no label and were left out: {few}"
    return events.warn(text, hint="add their labels, or leave them out of the source", code="no-labels")


def _warn_of_case(classes: Sequence[str], where: str) -> None:
    several: dict[str, list[str]] = {}
    for label in classes:
        several.setdefault(_folded(label), []).append(label)
    alike = [names for names in several.values() if len(names) > 1]
    if alike:
        text = f"{where} has classes that differ in nothing but case or Unicode form: {' and '.join(map(repr, alike[0]))}"
        hint = "if they are one class, give them one name"
        events.warn(text, hint=hint, code="case-classes")


def _numbers(groups: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    index = {name: k for k, name in enumerate(sorted({composed(g) for g in groups if g}))}
    return np.fromiter((index.get(composed(g), -1) for g in groups), np.int64, len(groups))


def no_pictures(where: str, seen: int = 0) -> DataError:
    """Return the error for a source without pictures; `seen`: files that are no pictures."""
    files = f", only {seen:,} file{'' if seen == 1 else 's'} of another kind" if seen else ""
    hint = "give a folder with one folder of pictures per class, a CSV with path,label, or a zip or tar of either"
    return DataError(f"there are no pictures in {where}{files}", code="no-pictures", hint=hint)


def no_labels(where: str, n: int, *, boxed: bool = False) -> DataError:
    """Return the error for a source whose `n` pictures lie in no class folder; boxed: they have YOLO's text files."""
    hint = "put the pictures of each class into a folder named after it, or add a CSV with path,label"
    yolo = "the text files beside them are empty or not as YOLO's are: a row is class cx cy width height, from 0 to 1"
    return DataError(
        f"the {n:,} pictures in {where} have no labels: they lie in no class folders",
        code="no-labels",
        hint=yolo if boxed else hint,
    )


def one_class(where: str, classes: Sequence[str]) -> DataError:
    """Return the error for a source with fewer than two classes."""
    what = f"only one class, '{classes[0]}'" if classes else "no class at all"
    hint = "give two classes or more: one folder of pictures per class, or a CSV with path,label"
    return DataError(f"{where} has {what}: there is nothing to tell apart", code="one-class", hint=hint)
