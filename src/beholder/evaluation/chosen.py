"""Which pictures of a source a bundle is scored on: those of a part, in the bundle's classes and groups."""

from __future__ import annotations

import numpy as np

from beholder.base import events
from beholder.base.errors import DataError, UsageError, did_you_mean
from beholder.base.records import PARTS, Pictures
from beholder.bundle.bundle import Bundle
from beholder.bundle.kept import Kept
from beholder.data.groups import grouped
from beholder.tasks.targets import in_classes


def part_named(name: str) -> str:
    """Return the part that `name` means: a name of `PARTS`, "val" for "valid", or "all". Raises `UsageError` (unknown-part)."""
    part = {"val": "valid", "validation": "valid"}.get(name, name)
    if part not in (*PARTS, "all"):
        raise UsageError(f"there is no part '{name}'", code="unknown-part", hint=did_you_mean(name, (*PARTS, "val", "all")))
    return part


def chosen(bundle: Bundle, pictures: Pictures, part: str) -> tuple[Pictures, list[str], list[str]]:
    """Return the pictures of `part` ("all": every one), the part that the bundle's split has each in ("": none), and notes.

    pictures: with digests. Raises `DataError` where none is left, or the classes do not fit.
    """
    pictures, known, notes = of_part(bundle, pictures, part)
    return in_classes(pictures, bundle.classes, bundle.task), known, notes


def of_part(bundle: Kept, pictures: Pictures, part: str) -> tuple[Pictures, list[str], list[str]]:
    """Return what `chosen` does, in the classes of the source. Raises `DataError` (empty-part) where no picture is left."""
    pictures, notes = _grouped(bundle, pictures), list[str]()
    known = bundle.part_of(pictures.hexdigests) or [""] * len(pictures)
    if part != "all":
        rows = np.flatnonzero(np.array(parts_of(bundle, pictures)) == part)
        if not len(rows):
            hint = "--part all scores every picture; those it was trained on flatter it"
            raise DataError(f"no picture of {pictures.store.name} is in the {part} part", code="empty-part", hint=hint)
        if len(rows) < len(pictures):
            notes.append(f"{len(rows)} of {len(pictures)} pictures are in the {part} part; the others are not scored.")
        pictures, known = pictures.take(rows), [known[i] for i in rows.tolist()]
    if not len(pictures):
        raise DataError("there is no picture to score", code="empty-part", hint="give more pictures, or a larger data.test")
    return pictures, known, notes


def _grouped(bundle: Kept, pictures: Pictures) -> Pictures:
    """Return the pictures in the groups by which the bundle's own were divided, where the source names none."""
    pattern = bundle.recipe.data.group_from
    if not pattern or (pictures.groups >= 0).any():
        return pictures
    try:
        with events.only("warn"):
            return grouped(pictures, pattern)
    except UsageError:  # other pictures may have other names
        return pictures


def parts_of(bundle: Kept, pictures: Pictures) -> list[str]:
    """Return the part of each picture: by the bundle's split, else by the source's; what neither knows counts as test."""
    own = [PARTS[p] if p >= 0 else "test" for p in pictures.parts.tolist()]
    return [known or given for known, given in zip(bundle.part_of(pictures.hexdigests) or own, own, strict=True)]
