"""Which picture of a folder or an archive an annotation file means."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterable, Iterator, Sequence

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.names import composed
from beholder.sources import outside
from beholder.sources.annotated import Annotated
from beholder.sources.finding import Finder
from beholder.sources.listing import Listing, is_picture, some


def keyed(
    listing: Listing, rows: Sequence[Annotated], notes: list[str], *, images: Listing | None = None
) -> Iterator[tuple[str, Annotated]]:
    """Yield each annotated picture with its key. It lies where its path leads to, or is the one file of that name.

    listing: where the annotations are; images: where the pictures are, if they lie apart.
    An .xml is of the picture of its own name, whatever name it says inside: files are renamed, what is in them is forgotten.
    Raises `DataError` (missing-files, unsafe-names).
    """
    held = images or listing
    finder = Finder(held.names)
    stale = []
    named_from = ((row.path, posixpath.dirname(row.place)) for row in rows)
    notes += outside.check(named_from, where=listing.store.name, foreign=listing.foreign)
    keys: list[str | None] = []
    for row in rows:
        own = _of_xml(row, finder) if row.place.endswith(".xml") else None
        if own and not _names(row.path, own):
            stale.append(f"{row.place} ({row.path})")
        keys.append(own or place(row, finder))
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
        notes.append(_missing(missing, len(rows), held.store.name))


def _missing(missing: Sequence[str], n: int, where: str) -> str:
    what = f"of the {n:,} pictures that the annotations name"
    hint = "put the pictures beside the annotations, give the folder that holds both, or say where they are: images="
    if len(missing) == n:
        raise DataError(f"none {what} is in {where}: {some(missing)}", code="missing-files", hint=hint)
    said = f"{len(missing):,} {what} are not there and were left out: {some(missing)}"
    return events.warn(said, hint=hint, code="missing-files")


def without(names: Iterable[str], annotated: Collection[str]) -> list[str]:
    """Say how many pictures lie beside annotated ones and have no annotation."""
    folders = {posixpath.dirname(key) for key in annotated}
    bare = [name for name in names if is_picture(name) and name not in annotated and posixpath.dirname(name) in folders]
    if not bare:
        return []
    said = f"{len(bare):,} pictures beside those have no annotation and were left out: {some(bare)}"
    return [events.warn(said, hint="if they show none of the classes, annotate them as that", code="no-annotation")]


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


def place(row: Annotated, finder: Finder) -> str | None:
    """Return the picture that the path of a row leads to, or that alone is named so, or None."""
    above = posixpath.dirname(row.place)
    path = row.path.replace("\\", "/")
    tries = [posixpath.join(above, path), posixpath.join(posixpath.dirname(above), "JPEGImages", path), path]
    tries.append(posixpath.join(above, posixpath.basename(path)))
    exact = next((key for way in tries if (key := finder.at(posixpath.normpath(way)))), None)
    return exact or finder.one(path.lstrip("./"), part=row.part) or finder.one(posixpath.basename(path), part=row.part)
