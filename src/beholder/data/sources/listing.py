"""What a folder or an archive holds, and how labelled rows become `Pictures`."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.names import Names
from beholder.base.records import Pictures, Store

PICTURES = frozenset(
    {
        "jpg", "jpeg", "jpe", "jfif", "png", "bmp", "dib", "gif", "webp", "tif", "tiff", "ppm", "pgm", "pbm", "pnm", "pfm",
        "avif", "avifs", "jp2", "j2k", "jpf", "jpx", "j2c", "heic", "heif", "dcm",
    }
)  # fmt: skip
"""Endings of the files that are taken for pictures; what a file truly is, its first bytes say when it is opened."""

TABLES = frozenset({"csv", "tsv"})

PART_NAMES = {
    "train": 0, "training": 0, "valid": 1, "val": 1, "validation": 1, "dev": 1, "test": 2, "testing": 2,
}  # fmt: skip
"""What folders and split columns call the parts, in lower case; values are indices into `PARTS`."""

_JUNK = {"__macosx", "thumbs.db", "desktop.ini", "@eadir", "__pycache__"}


@dataclass(frozen=True)
class Listing:
    """The files of a folder or an archive. `names`: posix paths below its root, sorted; `notes`: what is odd."""

    store: Store
    names: Sequence[str]
    notes: tuple[str, ...] = ()


def ending(name: str) -> str:
    """Return what follows the last dot of a file's name, in lower case; "" if there is none."""
    base = name.rpartition("/")[2]
    return base.rpartition(".")[2].lower() if "." in base else ""


def is_picture(name: str) -> bool:
    """Return True where a file's ending is that of a picture."""
    return ending(name) in PICTURES


def is_table(name: str) -> bool:
    """Return True where a file's ending is that of a CSV or TSV table."""
    return ending(name) in TABLES


def is_junk(part: str) -> bool:
    """Return True for one component of a path that systems and tools leave behind, such as .DS_Store or __MACOSX."""
    return part.startswith(".") or part.lower() in _JUNK


def in_order(labels: Iterable[str]) -> tuple[str, ...]:
    """Return distinct labels sorted: by value where all are whole numbers ("2" before "10"), else by name."""
    found = set(labels)
    numbers = all(label.isascii() and label.isdecimal() for label in found)
    return tuple(sorted(found, key=lambda label: (int(label), label)) if numbers else sorted(found))


def some(items: Sequence[str]) -> str:
    """Return the first three items as text, and how many more there are."""
    more = len(items) - 3
    return ", ".join(readable(item) for item in items[:3]) + (f" and {more:,} more" if more > 0 else "")


def readable(name: str) -> str:
    r"""Return a name as text that can be written: one that is no UTF-8 is taken for Windows-1252, else for Latin-1.

    >>> readable("caf\udce9")
    'café'
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape")
        try:
            return raw.decode("cp1252")
        except UnicodeDecodeError:
            return raw.decode("latin-1")
    return name


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
    return name.lower() if name.isascii() else unicodedata.normalize("NFC", name).casefold()


def assemble(
    store: Store,
    keys: Sequence[str],
    labels: Sequence[tuple[str, ...]],
    *,
    multi: bool = False,
    parts: Sequence[int] | npt.NDArray[np.int8] | None = None,
    groups: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    where: str = "",
) -> Pictures:
    """Return the table of labelled pictures.

    labels: one class name each, or any number where `multi`; parts: index into `PARTS` or -1; groups: "" = none;
    where: what an error names as their source, by default the store.
    Raises `DataError` (no-pictures, one-class).
    """
    found: dict[str, int] = {}
    for row in labels:
        for label in row:
            found.setdefault(label, len(found))
    targets: npt.NDArray[np.integer]
    if multi:
        targets = np.zeros((len(keys), len(found)), np.uint8)
        for i, row in enumerate(labels):
            targets[i, [found[label] for label in row]] = 1
    else:
        targets = np.fromiter((found[row[0]] for row in labels), np.int64, len(keys))
    return tabled(store, Names.of(keys), targets, list(found), parts=parts, groups=groups, notes=notes, where=where)


def tabled(
    store: Store,
    keys: Names,
    targets: npt.NDArray[np.integer],
    labels: Sequence[str],
    *,
    parts: Sequence[int] | npt.NDArray[np.int8] | None = None,
    groups: Sequence[str] | None = None,
    notes: Sequence[str] = (),
    where: str = "",
) -> Pictures:
    """Return the table of pictures whose labels are numbers already.

    targets: (N,) index into `labels`, or (N, K) multi-hot in their order; labels: distinct, in any order. Else as `assemble`.
    """
    if not len(keys):
        raise no_pictures(where or store.name)
    classes = in_order(labels)
    if len(classes) < (1 if targets.ndim == 2 else 2):
        raise one_class(where or store.name, classes)
    _warn_of_case(classes, where or store.name)
    n = len(keys)
    place = {label: k for k, label in enumerate(labels)}
    order = np.array([place[label] for label in classes])
    return Pictures(
        store=store,
        keys=keys,
        targets=targets[:, order].astype(np.uint8) if targets.ndim == 2 else np.argsort(order)[targets].astype(np.int64),
        classes=classes,
        parts=np.full(n, -1, np.int8) if parts is None else np.asarray(parts, np.int8),
        groups=np.full(n, -1, np.int64) if groups is None else _numbers(groups),
        notes=tuple(notes),
    )


def _warn_of_case(classes: Sequence[str], where: str) -> None:
    several: dict[str, list[str]] = {}
    for label in classes:
        several.setdefault(_folded(label), []).append(label)
    alike = [names for names in several.values() if len(names) > 1]
    if alike:
        events.warn(
            f"{where} has classes that differ in nothing but case or Unicode form: {' and '.join(map(repr, alike[0]))}",
            hint="if they are one class, give them one name",
            code="case-classes",
        )


def _numbers(groups: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    index = {name: k for k, name in enumerate(sorted({g for g in groups if g}))}
    return np.fromiter((index.get(g, -1) for g in groups), np.int64, len(groups))


def part_of(name: str) -> int | None:
    """Return the index into `PARTS` that a folder's or a cell's name stands for, or None."""
    return PART_NAMES.get(name.strip().lower())


def in_part(path: str) -> int:
    """Return the index into `PARTS` that a word of a path stands for, the last one that does; else -1.

    >>> in_part("data/train-00000-of-00002.parquet"), in_part("val2017/1.jpg"), in_part("trainer.tar")
    (0, 1, -1)
    """
    found = [part for word in re.split(r"[^a-z]+", path.lower()) if (part := part_of(word)) is not None]
    return found[-1] if found else -1


def no_pictures(where: str, seen: int = 0) -> DataError:
    """Return the error for a source without pictures; `seen`: files that are no pictures."""
    files = f", only {seen:,} files of other kinds" if seen else ""
    return DataError(
        f"there are no pictures in {where}{files}",
        code="no-pictures",
        hint="give a folder with one folder of pictures per class, a CSV with path,label, or a zip or tar of either",
    )


def no_labels(where: str, n: int) -> DataError:
    """Return the error for a source whose `n` pictures lie in no class folder."""
    return DataError(
        f"the {n:,} pictures in {where} have no labels: they lie in no class folders",
        code="no-labels",
        hint="put the pictures of each class into a folder named after it, or add a CSV with path,label",
    )


def one_class(where: str, classes: Sequence[str]) -> DataError:
    """Return the error for a source with fewer than two classes."""
    what = f"only one class, '{classes[0]}'" if classes else "no class at all"
    return DataError(
        f"{where} has {what}: there is nothing to tell apart",
        code="one-class",
        hint="give two classes or more: one folder of pictures per class, or a CSV with path,label",
    )
