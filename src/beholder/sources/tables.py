"""The tables of a folder or an archive whose folders are no classes: train.csv beside train/, metadata.csv in each part."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from beholder.base import events
from beholder.base.errors import DataError
from beholder.base.records import PARTS, Pictures
from beholder.sources import outside, parts, table
from beholder.sources.finding import found
from beholder.sources.listing import Listing, some


@dataclass(frozen=True)
class _Used:
    """A table that gives labels. keys: of each row, None = not there; notes: how its columns and paths were read."""

    name: str
    rows: list[table.Row]
    keys: list[str | None]
    notes: list[str]


def pictures_of(listing: Listing, names: Sequence[str], n: int) -> Pictures:
    """Return the pictures that the tables `names` of a folder or an archive with `n` pictures give labels.

    Tables without labels, and those of which no picture is there, are left out, and that is said. Several are read together
    where the name or folder of each says of which part it is. Raises `DataError` (several-tables, no-labels, …).
    """
    used: list[_Used] = []
    errors: dict[str, DataError] = {}
    for name in names:
        try:
            used.append(_used(listing, name))
        except DataError as error:
            if error.code == outside.UNSAFE:
                raise
            errors[name] = error
    if not used:
        raise _none(listing, errors, n)
    given = [parts.in_part(one.name) for one in used]
    where = f"{listing.store.name}: {some([one.name for one in used])}"
    if len(used) > 1 and min(given) < 0:
        text = f"{listing.store.name} has no class folders but several tables: {some([one.name for one in used])}"
        hint = "give the CSV itself as the source, leave just one, or name each after its part: train.csv, test.csv"
        raise DataError(text, code="several-tables", hint=hint)
    rows = [replace(row, part=part) if row.part < 0 else row for one, part in zip(used, given, strict=True) for row in one.rows]
    keys = [key for one in used for key in one.keys]
    notes = [*listing.notes, *_says(used, given), *(note for one in used for note in one.notes)]
    notes += [f"not used, for {error.message.partition(': ')[2] or error.message}" for error in errors.values()]
    pictures = table.of_rows(listing.store, rows, keys, where=where, notes=notes)
    return _without_others(pictures, n)


def _used(listing: Listing, name: str) -> _Used:
    """Return a table whose rows have labels and pictures. Raises `DataError` where they have not."""
    where = f"{listing.store.name}: {name}"
    data = listing.bytes_of(name)
    read = table.parsed(table.cells(data, name, where=where), where=where)
    if "submission" in name.rpartition("/")[2].lower():
        raise DataError(f"{where} is an example of what to hand in", code="no-labels", hint="it has no labels to learn from")
    if not any(row.labels for row in read.rows):
        raise DataError(f"{where} has no label in any row", code="no-labels", hint="fill the label column")
    above = name[: name.rfind("/") + 1]
    paths = [row.path for row in read.rows]
    said = outside.check([(path, above) for path in paths], where=where, foreign=listing.foreign)
    keys, notes = found(paths, [None] * len(paths), listing.names, above=above, part=parts.in_part(name), where=where)
    said += outside.absolute(paths, keys, where=where, foreign=listing.foreign)
    if not any(keys):
        raise DataError(
            f"none of the {len(keys):,} files that {where} names is there: {some(paths)}", code="missing-files", hint=table.WAYS
        )
    return _Used(name, read.rows, keys, [*read.notes, *said, *notes])


def _none(listing: Listing, errors: dict[str, DataError], n: int) -> DataError:
    if len(errors) == 1:
        return next(iter(errors.values()))
    why = "; ".join(error.message.removeprefix(f"{listing.store.name}: ") for error in list(errors.values())[:3])
    where = listing.store.name
    text = f"the {n:,} pictures in {where} have no labels: they lie in no class folders, and no table gives any ({why})"
    hint = "put the pictures of each class into a folder named after it, or add a CSV with path,label"
    return DataError(text, code="no-labels", hint=hint)


def _says(used: Iterable[_Used], given: Sequence[int]) -> list[str]:
    """Say which tables the labels are those of, and of which part each is."""
    named = [f"{one.name} ({PARTS[part]})" if part >= 0 else one.name for one, part in zip(used, given, strict=True)]
    return [f"the folders are no classes: labels are those of {', '.join(named)}"]


def _without_others(pictures: Pictures, n: int) -> Pictures:
    """Say how many pictures no table has a row for."""
    others = n - len(pictures)
    if others <= 0:
        return pictures
    text = f"{others:,} of the {n:,} pictures have no label in the tables and were left out"
    events.warn(text, hint="add rows for them, if they are to be learnt from", code="no-labels")
    return replace(pictures, notes=(*pictures.notes, text))
