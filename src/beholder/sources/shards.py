"""WebDataset: tars in which the files of one sample share a name: key.jpg, key.cls, key.json.

The format is that of T. Breuel's webdataset: the key of a member is its path up to the first dot of the file's name.
"""

from __future__ import annotations

import itertools
import json
import os
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import Names
from beholder.base.records import Pictures, Store
from beholder.sources import archive, labels
from beholder.sources.division import spread
from beholder.sources.joined import JoinedStore
from beholder.sources.listing import Listing, is_picture, no_labels, no_pictures, tabled
from beholder.sources.parts import in_part

NAMES = ("classes.txt", "classnames.txt", "labels.txt")
"""Files beside the shards that may hold the class names, a line each, in the order of the numbers in the .cls files."""

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_CHOICE = re.compile(r"\{([^{}]*,[^{}]*)\}")
_FEW = 100_000
_JSON = ("cls", "label", "class", "class_name", "category", "target")


def is_pattern(text: str) -> bool:
    """Return True for a path that stands for several: set-{0000..0012}.tar, {a,b}.tar, set-*.tar."""
    return bool(_RANGE.search(text) or _CHOICE.search(text) or has_magic(text))


def expanded(text: str) -> list[Path]:
    """Return the files that a path with braces, * or ? stands for, in order.

    Raises `UsageError` (path-missing, where one that the braces name is not there; too-many-shards).
    """
    paths: list[Path] = []
    for plain in unbraced(text):
        found = [Path(name) for name in sorted(glob(plain))] if has_magic(plain) else [Path(plain)]  # noqa: PTH207
        missing = [str(path) for path in found if not path.is_file()] if found else [plain]
        if missing:
            raise UsageError(
                f"there is no {missing[0]}", code="path-missing", hint=f"it is one of those that {text} stands for"
            )
        paths += found
    return paths


def unbraced(text: str) -> Iterator[str]:
    """Yield the texts that one with braces stands for, in order. Raises `UsageError` (too-many-shards)."""
    both = [found for found in (_RANGE.search(text), _CHOICE.search(text)) if found]
    if not both:
        yield text
        return
    first = min(both, key=lambda found: found.start())
    for word in _words(first):
        yield from unbraced(text[: first.start()] + word + text[first.end() :])


def _words(brace: re.Match[str]) -> list[str]:
    if "," in brace[1]:
        return brace[1].split(",")
    low, high = int(brace[1]), int(brace[2])
    if not 0 <= high - low < _FEW:
        raise UsageError(f"{brace[0]} is no range of shards", code="too-many-shards", hint="write for example {0000..0012}")
    return [f"{i:0{len(brace[1])}}" for i in range(low, high + 1)]


def are_samples(names: Sequence[str]) -> bool:
    """Return True for the files of a WebDataset shard: most pictures have a .cls beside them, or in one folder a .json."""
    labelled = {_key(name)[0] for name in names if name.endswith((".cls", ".json"))}
    pictures = [name for name in names if is_picture(name)] if labelled else []
    found = 2 * sum(_key(name)[0] in labelled for name in pictures) > len(pictures)
    return found and (any(name.endswith(".cls") for name in names) or len({name.rpartition("/")[0] for name in pictures}) == 1)


def from_paths(paths: Sequence[Path], *, name: str, root: Path, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of several shards, tars below `root`, packed or not. Raises as `pictures_of` does."""
    if paths and all(is_picture(path.name) for path in paths):
        raise no_labels(name, len(paths))

    def shards() -> Iterator[tuple[str, Listing]]:
        for done, path in enumerate(paths, start=1):
            yield os.path.relpath(path, root).replace("\\", "/"), archive.listing(path, limits=limits)
            events.progress("reading shards", done, len(paths))

    return pictures_of(shards(), name=name, names=class_names(root))


def pictures_of(shards: Iterable[tuple[str, Listing]], *, name: str, names: Sequence[str] = ()) -> Pictures:
    """Return the pictures of shards by name, each of which is looked through before the next one is asked for.

    name: what the whole is called; names: of the classes, where labels are numbers
    A label is the text of key.cls, or "label", "class" or "cls" in key.json; numbers become names where there is a list.
    Raises `DataError` (no-pictures, no-labels, bad-labels).
    """
    known: dict[str, int] = {}
    targets, parts = array("i"), array("b")
    stores: dict[str, Store] = {}
    notes: list[str] = []
    files = 0

    def keys() -> Iterator[str]:
        nonlocal files
        for shard, listing in shards:
            part = in_part(shard)
            stores[shard] = listing.store
            notes.extend(listing.notes)
            files += len(listing.names)
            for key, label in _samples(listing):
                named = _named(label, names, name)
                targets.append(known.setdefault(named, len(known)) if named else -1)
                parts.append(part)
                yield f"{shard}/{key}"

    found = Names.of(keys())
    if not len(found):
        raise no_pictures(name, files)
    divided, labelled, more = spread(np.array(targets), list(known), where=name)
    return tabled(JoinedStore(name, stores), found, divided, labelled, parts=np.array(parts, np.int8), notes=[*notes, *more])


def _key(name: str) -> tuple[str, str]:
    """Return the key of a member, and what follows the first dot of its name."""
    folder, slash, base = name.rpartition("/")
    stem, _, ending = base.partition(".")
    return folder + slash + stem, ending.lower()


def _samples(listing: Listing) -> Iterator[tuple[str, str]]:
    """Yield (picture, label) of each sample, "" where there is none; in order of name the files of one sample come together."""
    for key, group in itertools.groupby(listing.names, key=lambda name: _key(name)[0]):
        files = list(group)
        pictures = [name for name in files if is_picture(name)]
        if pictures:
            label = _label(listing, key, files)
            yield from ((name, label) for name in pictures)


def _label(listing: Listing, key: str, files: Sequence[str]) -> str:
    if f"{key}.cls" in files:
        return labels.text(_text(listing, f"{key}.cls"))
    if f"{key}.json" not in files:
        return ""
    try:
        found = json.loads(_text(listing, f"{key}.json"))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{listing.store.name}: {key}.json is not JSON: {error}", code="bad-labels", hint="write the shard again"
        ) from error
    values = [found[word] for word in _JSON if word in found] if isinstance(found, dict) else [found]
    return labels.cell(values[0]) if values and isinstance(values[0], (str, int, float, list)) else ""


def _text(listing: Listing, name: str) -> str:
    data = listing.bytes_of(name)
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{listing.store.name}: {name} is not UTF-8", code="bad-labels", hint="write it as UTF-8") from error


def class_names(root: Path) -> list[str]:
    """Return the class names of the list beside shards in the folder `root`, [] where there is none."""
    return next((lines((root / name).read_bytes()) for name in NAMES if (root / name).is_file()), [])


def lines(text: bytes) -> list[str]:
    """Return the lines of a list of class names."""
    return [line.strip() for line in text.decode("utf-8-sig").splitlines() if line.strip()]


def _named(label: str, names: Sequence[str], where: str) -> str:
    if names and label == "-1":
        return ""
    if not names or not (label.isascii() and label.isdecimal()):
        return label
    if int(label) >= len(names):
        text = f"{where} has the label {label}, but its list of class names has {len(names):,} lines"
        hint = "the first line of the list is the name of class 0"
        raise DataError(text, code="bad-labels", hint=hint)
    return names[int(label)]
