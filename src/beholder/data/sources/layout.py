"""Labels from the names of folders: class folders, parts above them, a wrapping folder above those."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from beholder.base.errors import DataError
from beholder.base.records import PARTS, Pictures
from beholder.data.sources import table
from beholder.data.sources.listing import Listing, assemble, is_picture, is_table, no_labels, no_pictures, part_of, some


def pictures_of(listing: Listing) -> Pictures:
    """Return the labelled pictures of a folder or an archive.

    The labels are the class folders' names (with parts above them, if there are), or else those of the one table at its root.
    Raises `DataError` (no-pictures, one-class, and what a table may raise).
    """
    names = [name for name in listing.names if is_picture(name)]
    if not names:
        raise no_pictures(listing.store.name, len(listing.names))
    prefix = descend(names)
    tables = [name for name in listing.names if is_table(name) and prefix.startswith(name[: name.rfind("/") + 1])]
    rows, notes = _rows(names, prefix)
    if len({label for _, label, _ in rows}) < 2 and tables:
        if len(tables) > 1:
            raise DataError(
                f"{listing.store.name} has no class folders but several tables: {some(tables)}",
                code="several-tables",
                hint="give the CSV itself as the source, or leave just one",
            )
        return table.from_listing(listing, tables[0])
    if not rows:
        raise no_labels(listing.store.name, len(names))
    if tables:
        notes.append(f"not used, for the class folders give the labels: {some(tables)}")
    others = len(listing.names) - len(names) - len(tables)
    if others:
        notes.append(f"{others:,} files that are no pictures were ignored")
    return assemble(
        listing.store,
        [key for key, _, _ in rows],
        [(label,) for _, label, _ in rows],
        parts=[part for _, _, part in rows],
        notes=[*listing.notes, *notes],
    )


def descend(names: Sequence[str]) -> str:
    """Return the folders, each the only one in the one above, that wrap the class folders or parts: "" or "a/b/".

    >>> descend(["set/cat/1.png", "set/dog/2.png"])
    'set/'
    """
    prefix = ""
    while True:
        tails = [name[len(prefix) :] for name in names if name.startswith(prefix)]
        heads = Counter(tail.partition("/")[0] for tail in tails if "/" in tail)
        deep = sum(tail.count("/") >= 2 for tail in tails)
        if len(heads) != 1 or 2 * deep <= len(tails) or part_of(next(iter(heads))) is not None:
            return prefix
        prefix += next(iter(heads)) + "/"


Row = tuple[str, str, int]


def _rows(names: Sequence[str], prefix: str) -> tuple[list[Row], list[str]]:
    """Return (key, label, part) of each picture that lies in a class folder, and notes on those that do not."""
    inside: dict[str, list[str]] = {}
    loose = 0
    for name in names:
        head, slash, tail = name[len(prefix) :].partition("/")
        if slash:
            inside.setdefault(head, []).append(tail)
        else:
            loose += 1
    notes = [f"{loose:,} pictures beside the class folders were ignored, for they have no label"] if loose else []
    if _are_parts(inside):
        rows, more = _part_rows(inside, prefix)
        return rows, notes + more
    return [(f"{prefix}{head}/{tail}", head, -1) for head, tails in inside.items() for tail in tails], notes


def _are_parts(inside: dict[str, list[str]]) -> bool:
    """Tell train/cat/1.png from a class that happens to be called "train": parts have folders in them."""
    parts = [head for head in inside if part_of(head) is not None]
    deep = all(sum("/" in tail for tail in inside[head]) * 2 > len(inside[head]) for head in parts)
    return bool(parts) and deep and (len(parts) == len(inside) or len({part_of(head) for head in parts}) >= 2)


def _part_rows(inside: dict[str, list[str]], prefix: str) -> tuple[list[Row], list[str]]:
    rows: list[Row] = []
    notes = []
    beside = [head for head in inside if part_of(head) is None]
    if beside:
        n = sum(len(inside[head]) for head in beside)
        notes.append(f"{n:,} pictures in folders beside the parts were ignored: {some(beside)}")
    for head, tails in inside.items():
        part = part_of(head)
        if part is None:
            continue
        wrap = _doubled(tails)
        labelled = [tail for tail in tails if "/" in tail[len(wrap) :] and tail.startswith(wrap)]
        if len(labelled) < len(tails):
            notes.append(f"{len(tails) - len(labelled):,} pictures of {PARTS[part]} lie in no class folder and were ignored")
        rows += [(f"{prefix}{head}/{tail}", tail[len(wrap) :].partition("/")[0], part) for tail in labelled]
    return rows, notes


def _doubled(tails: Sequence[str]) -> str:
    """Return "train/" for the inside of a folder train/train, which some programs make as they unpack, else ""."""
    heads = {tail.partition("/")[0] for tail in tails if "/" in tail}
    head = heads.pop() if len(heads) == 1 else ""
    return head + "/" if part_of(head) is not None else ""
