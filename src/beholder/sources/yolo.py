"""YOLO: a text file beside each picture, or in labels/ beside images/, with a row `class cx cy width height` for each box.

The numbers are parts of the picture's sides, 0 to 1. Rows of polygons stand for the boxes around them. A picture without a
text file, or with an empty one, shows none of the classes.
The form of Darknet (J. Redmon, 2013) and of Ultralytics, https://docs.ultralytics.com/datasets/detect/.
"""

from __future__ import annotations

import itertools
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from beholder.base import events
from beholder.base.limits import Limits
from beholder.base.names import composed
from beholder.base.records import PARTS
from beholder.sources import outside, voc
from beholder.sources.annotated import Annotated, bad
from beholder.sources.crops import Box
from beholder.sources.described import Described, bad_yaml, described, root_of
from beholder.sources.finding import Finder
from beholder.sources.listing import Listing, ending, is_picture, some
from beholder.sources.parts import in_part
from beholder.sources.sizes import upright

__all__ = ["Labelled", "bad_yaml", "described", "found", "labelled", "root_of"]

_IMAGES = frozenset({"images", "image", "imgs", "img", "jpegimages"})
"""Folders of pictures that have labels/ beside them, in lower case."""

_LISTS = ("classes.txt", "obj.names", "classes.names", "_darknet.labels")
"""Files of names, one a line, where no .yaml gives them."""

_LOOKED = 20
"""Text files that are looked into to tell YOLO's from others."""

_YAMLS = 16
_ROW = "a row is: class cx cy width height, the class a number and the others from 0 to 1"


@dataclass(frozen=True)
class Labelled:
    """Pictures with their text files. texts: by key, "" = none; parts: by key; names: of the classes, None = unknown."""

    listing: Listing
    images: Listing
    texts: dict[str, str]
    parts: dict[str, int]
    names: dict[int, str] | None
    points: bool = False
    notes: tuple[str, ...] = field(default=())

    def rows(self, limits: Limits, notes: list[str]) -> list[Annotated]:
        """Return the pictures with their boxes in pixels; the head of each with boxes is read, for the text has no sizes.

        Raises `DataError` (bad-annotations).
        """
        notes += self.notes
        told, bare, lost = [], [], []
        for done, (key, text) in enumerate(self.texts.items(), start=1):
            lines = self._lines(text)
            size = upright(self.images.store, key, limits) if lines else None
            bare += [] if lines else [key]
            lost += [key] if lines and size is None else []
            boxes = tuple(_box(self._label(number), corners, size) for number, corners in lines) if size else ()
            unboxed = tuple(self._label(number) for number, _ in lines) if size is None else ()
            told.append(Annotated(key, "", boxes, self.parts.get(key, -1), size or (0, 0), unboxed, measured=True))
            if done % 1_000 == 0:
                events.progress("reading annotations", done, len(self.texts))
        if bare:
            text = f"{len(bare):,} pictures have no text file, or an empty one: as YOLO means it, they show none of the classes"
            notes.append(f"{text}: {some(bare)}")
        if lost:
            text = f"{len(lost):,} pictures cannot be read, so that where their boxes lie is not known: {some(lost)}"
            notes.append(events.warn(text, hint="check these files", code="unreadable"))
        return told

    def _label(self, number: int) -> str:
        return str(number) if self.names is None else self.names[number]

    def _lines(self, text: str) -> list[tuple[int, tuple[float, float, float, float]]]:
        """Return class and corners, in parts of the sides, of each row of a text file. Raises `DataError` (bad-annotations)."""
        if not text:
            return []
        found = []
        for n, line in enumerate(self.listing.bytes_of(text).decode("utf-8-sig", "replace").splitlines(), start=1):
            if line.strip():
                try:
                    number, corners = _row(line, points=self.points)
                except ValueError as error:
                    raise bad(text, f"line {n}: {error}", _ROW) from error
                if number < 0 or (self.names is not None and number not in self.names):
                    known = "" if self.names is None else f": there are {len(self.names):,}, the first of them 0"
                    raise bad(text, f"line {n}: class {number} is not among the names{known}", "check names in data.yaml")
                found.append((number, corners))
        return found


def _row(line: str, *, points: bool = False) -> tuple[int, tuple[float, float, float, float]]:
    """Return class and left, top, right, bottom of one row; points: what follows the box are key points, no polygon.

    >>> _row("3 0.5 0.5 0.2 0.4"), _row("0 0.1 0.1 0.3 0.1 0.3 0.5")
    ((3, (0.4, 0.3, 0.6, 0.7)), (0, (0.1, 0.1, 0.3, 0.5)))
    """
    first, *rest = line.split()
    number = float(first)
    if not (number.is_integer() and abs(number) < 1e9):  # is_integer is False of what is not finite
        raise ValueError(f"'{first[:20]}' is no class")
    values = [float(cell) for cell in rest]
    if len(values) == 4 or (points and len(values) > 4):
        across, down, width, height = values[:4]
        return int(number), (across - width / 2, down - height / 2, across + width / 2, down + height / 2)
    if len(values) < 6 or len(values) % 2:
        raise ValueError(f"it has {len(values) + 1:,} numbers, which are neither a box nor a polygon")
    xs, ys = np.array(values[::2]), np.array(values[1::2])  # of numpy, for which NaN is the least and the largest
    return int(number), (float(xs.min()), float(ys.min()), float(xs.max()), float(ys.max()))


def _box(label: str, corners: tuple[float, float, float, float], size: tuple[int, int]) -> Box:
    left, top, right, bottom = corners
    return Box(label, left * size[0], top * size[1], right * size[0], bottom * size[1])


def found(listing: Listing, images: Listing, *, boxes: bool) -> Labelled | None:
    """Return the pictures of a folder or an archive that have text files of YOLO, None where there are none.

    images: where the pictures are. Where no .yaml names the classes, the text files have to be rows of numbers, and without
    `boxes` class folders come first. Raises `DataError` (bad-annotations).
    """
    if not any(ending(name) == "txt" for name in listing.names):
        return None
    yamls = {}
    for name in [name for name in listing.names if ending(name) in ("yaml", "yml")][:_YAMLS]:
        data = described(listing.bytes_of(name), name)
        if data is not None and data.names is not None:
            yamls[name] = data
        elif posixpath.basename(name).lower() in ("data.yaml", "data.yml"):
            raise bad_yaml(name)
    return labelled(listing, images, yamls, boxes=boxes)


def labelled(listing: Listing, images: Listing, yamls: Mapping[str, Described], *, boxes: bool = True) -> Labelled | None:
    """Return pictures with their text files, None where there are none. yamls: by name, that of data.yaml is preferred."""
    pictures = [name for name in images.names if is_picture(name)]
    paired = _paired(pictures, listing, apart=images is not listing)
    texts = [text for text in paired.values() if text]
    if not texts:
        return None
    if not yamls:
        beside = any(posixpath.dirname(key) == posixpath.dirname(text) for key, text in paired.items() if text)
        if not _are_rows(listing, texts) or (beside and not boxes and voc.in_class_folders(pictures)):
            return None
    name = min(yamls, key=lambda name: (not posixpath.basename(name).startswith("data."), name.count("/"), name), default="")
    data = yamls.get(name)
    names, notes = _names(listing, data)
    if len(yamls) > 1:
        notes.append(f"classes and parts are those of {name}; not used: {some([other for other in yamls if other != name])}")
    parts, more = _parts(images, listing, name, data) if data is not None else ({}, [])
    if parts:
        chosen = {key: paired[key] for key in pictures if key in parts}
    else:
        homes = {posixpath.dirname(key) for key, text in paired.items() if text}
        mirrored = any(_mirror(key) for key, text in paired.items() if text)
        chosen = {key: paired[key] for key in pictures if posixpath.dirname(key) in homes or (mirrored and _mirror(key))}
        parts = {key: in_part(posixpath.dirname(key)) for key in chosen}
    left = len(pictures) - len(chosen)
    if left:
        few = [key for key in pictures if key not in chosen]
        text = f"{left:,} pictures lie where no text files or parts of {name or 'the set'} are, and were left out: {some(few)}"
        more.append(events.warn(text, hint="name their folder in data.yaml, or give them text files", code="no-annotation"))
    points = data is not None and data.points
    return Labelled(listing, images, chosen, parts, names, points, (*notes, *more))


def _mirror(key: str) -> list[str]:
    """Return where a picture's text file may lie but beside it, without its ending: labels/ for images/, the last first."""
    *folders, base = key.rpartition(".")[0].split("/")
    at = [i for i in range(len(folders) - 1, -1, -1) if folders[i].lower() in _IMAGES]
    return ["/".join([*folders[:i], "labels", *folders[i + 1 :], base]) for i in at]


def _paired(pictures: Sequence[str], listing: Listing, *, apart: bool) -> dict[str, str]:
    """Return the text file of each picture, "" = none; apart: it may be any that alone is named as the picture is."""
    texts = {composed(name.rpartition(".")[0]): name for name in listing.names if ending(name) == "txt"}
    bases: dict[str, list[str]] = {}
    for name in texts.values() if apart else ():
        bases.setdefault(composed(posixpath.basename(name)), []).append(name)
    paired = {}
    for key in pictures:
        own = key.rpartition(".")[0]
        ways = (texts.get(composed(way)) for way in (*_mirror(key), own))
        text = next(filter(None, ways), "")
        if not text and apart:
            near = bases.get(composed(posixpath.basename(own)) + ".txt", [])
            part = in_part(posixpath.dirname(key))
            near = near if len(near) < 2 else [name for name in near if in_part(posixpath.dirname(name)) == part]
            text = near[0] if len(near) == 1 else ""
        paired[key] = text
    return paired


def _are_rows(listing: Listing, texts: Sequence[str]) -> bool:
    """Return True where text files that are not empty hold rows of a class and numbers, and there are such."""
    full = (lines for text in texts if (lines := listing.bytes_of(text).decode("utf-8-sig", "replace").split("\n", 3)[:3]))
    known = 0
    for lines in itertools.islice((lines for lines in full if any(map(str.strip, lines))), _LOOKED):
        for line in filter(str.strip, lines):
            try:
                _row(line)
            except ValueError:
                return False
            known += 1
    return known > 0


def _names(listing: Listing, data: Described | None) -> tuple[dict[int, str] | None, list[str]]:
    """Return the names of the classes by number, None where nothing gives any, and what is to be said of it."""
    if data is not None and data.names is not None:
        return data.names, []
    for name in sorted(listing.names, key=lambda name: name.count("/")):
        if posixpath.basename(name).lower() in _LISTS:
            lines = [line.strip() for line in listing.bytes_of(name).decode("utf-8-sig", "replace").splitlines()]
            while lines and not lines[-1]:
                lines.pop()
            return dict(enumerate(lines)), [f"the names of the classes are those of {name}"]
    text = "neither a data.yaml nor a classes.txt names the classes: they are called by their numbers"
    return None, [events.warn(text, hint="add classes.txt with a name a line", code="no-names")]


def _parts(images: Listing, listing: Listing, name: str, data: Described) -> tuple[dict[str, int], list[str]]:
    """Return the part of each picture that the .yaml names, and what is to be said; nothing where none of its paths is here."""
    above = posixpath.dirname(name)
    parts: dict[str, int] = {}
    missing, twice = [], 0
    finder = Finder(images.names)
    for part, paths in data.parts.items():
        for path in paths:
            keys = list(_under(images, listing, finder, [*data.bases(above)], path))
            missing += [] if keys else [f"{path} ({PARTS[part]})"]
            twice += sum(parts.setdefault(key, part) != part for key in keys)
    notes = []
    if twice:
        text = f"{twice:,} pictures are in several parts of {name}; each counts to the first, of train, valid and test"
        notes.append(events.warn(text, hint="give the parts folders of their own", code="same-parts"))
    if missing:
        notes.append(f"{name} names folders or lists in which no picture is: {some(missing)}")
    if missing and not parts:
        notes.append("parts are those that the folders are named after, if they are")
    return parts, notes


def _under(images: Listing, listing: Listing, finder: Finder, bases: Sequence[str], path: str) -> Iterator[str]:
    """Yield the pictures in the folder that a path of a .yaml means, or in the list that it names.

    Where it is not found from the .yaml on, it is looked for by what its end is called: what it begins with is of another
    machine, and nothing outside is opened.
    """
    names = path.replace("\\", "/").split("/")
    tails = ["/".join(names[i:]) for i in range(len(names))]
    for way in dict.fromkeys(posixpath.normpath(posixpath.join(base, tail)).lstrip("/") for tail in tails for base in bases):
        if way.startswith(".."):
            continue
        if ending(way) == "txt" and way in listing.names:
            yield from _listed(listing, finder, bases, way)
            return
        keys = [key for key in images.names if is_picture(key) and (way == "." or key.startswith(f"{way}/"))]
        if keys:
            yield from keys
            return


def _listed(listing: Listing, finder: Finder, bases: Sequence[str], way: str) -> Iterator[str]:
    """Yield the pictures that a list names, a path a line, from the .yaml or from the list on."""
    lines = [line.strip() for line in listing.bytes_of(way).decode("utf-8-sig", "replace").splitlines() if line.strip()]
    above = posixpath.dirname(way)
    outside.check([(line, above) for line in lines], where=listing.store.name, foreign=listing.foreign)
    for line in lines:
        plain = line.replace("\\", "/")
        ways = (finder.at(posixpath.normpath(posixpath.join(base, plain)).lstrip("/")) for base in (*bases, above))
        key = next(filter(None, ways), None) or finder.one(plain.lstrip("./")) or finder.one(posixpath.basename(plain))
        if key:
            yield key
