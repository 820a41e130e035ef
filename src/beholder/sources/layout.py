"""Labels from the names of folders: class folders, parts above or below them, folders that wrap either."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.arrays import I8
from beholder.base.names import Names, readable
from beholder.base.records import PARTS, Pictures
from beholder.sources import masks, parts, tables
from beholder.sources.listing import Listing, ending, is_picture, is_table, no_labels, no_pictures, some, tabled


def pictures_of(listing: Listing) -> Pictures:
    """Return the labelled pictures of a folder or an archive.

    The labels are the class folders' names (with parts above or below them, if there are), or else those of the tables in it.
    Raises `DataError` (no-pictures, no-labels, one-class, and what a table may raise).
    """
    listing = masks.left_out(listing)
    names = chosen(listing.names, is_picture)
    if not len(names):
        raise no_pictures(listing.store.name, len(listing.names))
    folders = Folders.of(names)
    lists = [name for name in listing.names if is_table(name)]
    rows = _rows(names, folders)
    if len(rows.labels) < 2 and lists:
        found = tables.pictures_of(listing, lists, len(names))
        if found is not None:
            return found
    if not len(rows.keys):
        raise no_labels(listing.store.name, len(names), boxed=_boxed(listing.names))
    folders.tell_empty([*listing.empty, *(name.rpartition("/")[0] for name in listing.names if not is_picture(name))])
    notes = rows.notes
    if lists:
        notes.append(f"not used, for the class folders give the labels: {some(lists)}")
    others = len(listing.names) - len(names) - len(lists)
    if others:
        notes.append(f"{others:,} files that are no pictures were ignored")
    return tabled(listing.store, rows.keys, rows.targets, rows.labels, parts=rows.parts, notes=[*listing.notes, *notes])


def chosen(names: Sequence[str], wanted: Callable[[str], bool]) -> Names:
    """Return the names that are wanted, in few bytes."""
    packed = Names.of(names)
    mask = np.fromiter((wanted(name) for name in packed), np.bool_, len(packed))
    return packed if mask.all() else packed.take(np.flatnonzero(mask))


def _boxed(names: Sequence[str]) -> bool:
    """Return True where text files are named as YOLO's, beside the pictures or in labels/; `yolo` found no boxes in them."""
    texts = {name.rpartition("/")[2][:-4] for name in names if ending(name) == "txt"}
    return any(name.rpartition("/")[2].rpartition(".")[0] in texts for name in names if is_picture(name))


@dataclass(frozen=True)
class _Rows:
    """The pictures that lie in a class folder. targets: int32 (N,) into labels; parts: int8 (N,), -1 = none."""

    keys: Names
    targets: npt.NDArray[np.int32]
    labels: list[str]
    parts: I8
    notes: list[str]


def _rows(names: Names, folders: Folders) -> _Rows:
    """Find label and part of each picture from its folder; two passes over the names, and no list of them."""
    labels: dict[str, int] = {}
    targets, given = np.full(len(names), -1, np.int32), np.full(len(names), -1, np.int8)
    for i, name in enumerate(names):
        place = folders.places.get(name.rpartition("/")[0])
        if place is not None and place.label:
            targets[i] = labels.setdefault(place.label, len(labels))
            given[i] = place.part
    rows = np.flatnonzero(targets >= 0)
    keys = names if len(rows) == len(names) else names.take(rows)
    if len(labels) > 1:
        folders.warn()
    return _Rows(keys, targets[rows], list(labels), given[rows], folders.notes)


@dataclass
class _Place:
    """One folder with pictures. rest: the folders of its path that nothing is known of yet; n: pictures; label: "" = none."""

    rest: list[str]
    n: int
    part: int = -1
    label: str = ""


@dataclass
class Folders:
    """What the folders of a source are: wrapping ones, parts, classes. places: by path; notes: what was decided.

    classes: names of the class folders; above: the folders that they lie in
    """

    places: dict[str, _Place]
    notes: list[str] = field(default_factory=list)
    doubts: list[tuple[str, str, str]] = field(default_factory=list)
    classes: set[str] = field(default_factory=set)
    above: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, names: Names) -> Folders:
        """Return what the folders that pictures lie in are."""
        counts = Counter(name.rpartition("/")[0] for name in names)
        found = cls({path: _Place(path.split("/") if path else [], n) for path, n in counts.items()})
        left = found._descended(list(found.places.values()))
        found._label(left)
        return found

    def warn(self) -> None:
        """Warn of what was decided in doubt."""
        for text, hint, code in self.doubts:
            self.notes.append(events.warn(text, hint=hint, code=code))

    def tell_empty(self, others: Iterable[str]) -> None:
        """Warn of folders beside the class folders that hold no picture; others: folders that are empty or hold other files."""
        found: set[str] = set()
        for path in set(others):
            names = path.split("/") if path else []
            for depth, name in enumerate(names):
                known = name in self.classes or parts.divided(name)[0] is not None or parts.says_nothing(name)
                if "/".join(names[:depth]) in self.above and not known:
                    found.add(name)
        if found:
            text = f"no classes, for there is no picture in them: {some(sorted(found))}"
            self.notes.append(events.warn(text, hint="if they are classes, add their pictures", code="empty-class"))

    def _descended(self, places: list[_Place]) -> list[_Place]:
        """Strip wrapping folders and parts from the places, down to the level of the classes; return those that are left."""
        while True:
            heads = _heads(places)
            named = _parts(heads)
            if named:
                places = self._parted(places, heads, named)
            elif len(heads) == 1 and _wraps(places, heads):
                _strip(places)
            else:
                return places

    def _parted(self, places: list[_Place], heads: Mapping[str, _Head], named: Mapping[str, int]) -> list[_Place]:
        """Give the places their parts, and strip those and the folders that only wrap a part."""
        beside = [head for head in heads if head not in named]
        if beside:
            n = sum(heads[head].n for head in beside)
            text = f"{n:,} pictures in folders beside the parts were ignored: {some(beside)}"
            if any(heads[head].folders for head in beside):
                self.doubts.append((text, "if they are a part or classes, give them such names, or move them", "beside-parts"))
            else:
                self.notes.append(text)
        odd = [name for name in named if parts.divided(name)[0] is None]
        if odd:
            text = f"{some(odd)}: taken for {PARTS[0]}, for the folders in it are those of {some([*(set(named) - set(odd))])}"
            self.doubts.append((text, "name the parts train, valid and test", "beside-parts"))
        inside = [place for place in places if place.rest and place.rest[0] in named]
        for place in inside:
            place.part = named[place.rest[0]]
        _strip(inside)
        for part in sorted(set(named.values())):
            _unwrapped([place for place in inside if place.part == part])
        return inside

    def _label(self, places: list[_Place]) -> None:
        """Read the classes off the first folder that is left of each path, and parts off the second where those are there."""
        heads = _heads(places)
        self._tell_unlabelled(places, heads)
        if len(heads) == 1 and parts.says_nothing(next(iter(heads))):
            return
        left = {id(place) for place in places}
        for path, place in self.places.items():
            if place.rest and id(place) in left:
                self.classes.add(place.rest[0])
                self.above.add("/".join(path.split("/")[: -len(place.rest)]))
        for place in places:
            place.label = readable(place.rest[0]) if place.rest else ""
        self._doubt_parts(heads)
        below = [place for place in places if place.label]
        _strip(below)
        if all(place.part < 0 for place in places):
            self._parts_below(below)
        inner = _heads(below)
        if inner and not all(map(parts.says_nothing, inner)):
            self._tell_level(heads, inner)

    def _parts_below(self, below: list[_Place]) -> None:
        """Give the places below classes the parts of the folders that all of them lie in: cat/train, or cat/images/train."""
        while (inner := _heads(below)) and len(inner) == 1 and all(map(parts.says_nothing, inner)):
            _strip([place for place in below if place.rest])
        named = parts.among(inner)
        if not inner or len(named) < len(inner) or len(set(named.values())) < 2:
            return
        deeper = _repeated(below)
        if deeper:
            sets = sorted({place.label for place in below})
            text = f"classes are the folders below the parts ({some(deeper)}), in each of {some(sets)}"
            self.doubts.append((text, "if the upper folders are the classes, take the lower ones away", "levels"))
        else:
            self.notes.append(f"parts are those of the folders below the classes: {some(sorted(inner))}")
        for place in below:
            place.part = named[place.rest[0]] if place.rest else -1
            if deeper:
                place.label = readable(place.rest[1]) if len(place.rest) > 1 else ""
            del place.rest[: 2 if deeper else 1]

    def _tell_unlabelled(self, places: Sequence[_Place], heads: Mapping[str, _Head]) -> None:
        """Say how many pictures lie in no class folder."""
        known = {id(place) for place in places}
        loose = sum(place.n for place in places if not place.rest and place.part < 0)
        loose += sum(place.n for place in self.places.values() if id(place) not in known and not place.rest)
        if loose and any(heads):
            self.notes.append(f"{loose:,} pictures beside the class folders were ignored, for they have no label")
        for part, name in enumerate(PARTS):
            lost = sum(place.n for place in places if place.part == part and not place.rest)
            if lost:
                self.notes.append(f"{lost:,} pictures of {name} lie in no class folder and were ignored")

    def _doubt_parts(self, heads: Mapping[str, _Head]) -> None:
        odd = [readable(head) for head in heads if parts.part_of(head) is not None]
        if odd:
            text = f"{some(odd)} {'is' if len(odd) == 1 else 'are'} taken for a class, though named as a part"
            self.doubts.append((text, "parts have class folders inside: train/CLASS, test/CLASS", "part-class"))

    def _tell_level(self, heads: Mapping[str, _Head], inner: Mapping[str, _Head]) -> None:
        """Say which level of folders gives the labels where there are more below."""
        n = sum(head.n for head in inner.values())
        text = f"the labels are the upper folders ({some(sorted(heads))}); the {len(inner):,} below them, with {n:,} pictures, "
        text += f"are not told apart: {some(sorted(inner))}"
        self.doubts.append(
            (text, "to learn the lower ones, put their folders side by side, or give a CSV with path,label", "levels")
        )


@dataclass
class _Head:
    """What lies below one folder: n pictures, of them `deep` in folders of its own, with these names."""

    n: int = 0
    deep: int = 0
    folders: set[str] = field(default_factory=set)


def _heads(places: Sequence[_Place]) -> dict[str, _Head]:
    heads: dict[str, _Head] = {}
    for place in places:
        if place.rest:
            head = heads.setdefault(place.rest[0], _Head())
            head.n += place.n
            if len(place.rest) > 1:
                head.deep += place.n
                head.folders.add(place.rest[1])
    return heads


def _parts(heads: Mapping[str, _Head]) -> dict[str, int]:
    """Tell train/cat/1.png from a class that happens to be called "train", and return the part of each folder that is one.

    Folders named as two parts, or no others, are parts, whatever is in them. A single one among others is one if it alone has
    folders in it, or if one or two others have the same folders in them: test/cat beside rest/cat. Those are train then, and
    left out beside a train.
    """
    named = parts.among(heads)
    others = [heads[head] for head in heads if head not in named]
    if len(set(named.values())) > 1 or not others:
        return named
    if not named or any(2 * heads[head].deep <= heads[head].n for head in named):
        return {}
    if not any(other.folders for other in others):
        return named
    inside = set().union(*(heads[head].folders for head in named))
    alike = [head for head in heads if head not in named and len(inside & heads[head].folders) > 1]
    if len(alike) != len(others) or len(alike) > 2:
        return {}
    return named if 0 in named.values() else named | dict.fromkeys(alike, 0)


def _repeated(places: Sequence[_Place]) -> list[str]:
    """Return the folders two levels down that are the same below each label, where most pictures lie in such; else []."""
    below: dict[str, set[str]] = {}
    for place in places:
        below.setdefault(place.label, set()).update(place.rest[1:2])
    shared = sorted(set.intersection(*below.values()))
    held = sum(place.n for place in places if place.rest[1:2] and place.rest[1] in shared)
    most = 2 * held > sum(place.n for place in places)
    return shared if len(shared) > 1 and most and not all(map(parts.says_nothing, shared)) else []


def _wraps(places: Sequence[_Place], heads: Mapping[str, _Head]) -> bool:
    """Return True where the only folder holds most pictures in folders of its own."""
    return 2 * next(iter(heads.values())).deep > sum(place.n for place in places)


def _strip(places: Sequence[_Place]) -> None:
    for place in places:
        del place.rest[:1]


def _unwrapped(places: Sequence[_Place]) -> None:
    """Strip the folders that say nothing inside one part: train/images, or train/train, as some programs unpack."""
    while True:
        heads = _heads(places)
        name = next(iter(heads), "")
        empty = parts.part_of(name) is not None or parts.says_nothing(name)
        if len(heads) != 1 or not empty:
            return
        _strip(places)
