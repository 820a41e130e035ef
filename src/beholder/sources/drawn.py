"""From annotated pictures to `Boxes`: what has no place is left out, what reaches over an edge is clipped, both are said."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, I64, Bools
from beholder.base.boxes import Boxes
from beholder.sources.annotated import Annotated, bad
from beholder.sources.crops import FAR
from beholder.sources.listing import some

_ROUNDING = 0.5
"""Pixels that a box may reach over the edge of its picture without a word: files round."""


def drawn(keyed: Sequence[tuple[str, Annotated]], classes: Mapping[str, int], *, where: str) -> tuple[Boxes | None, list[str]]:
    """Return the boxes of pictures, None where there are none, and what is to be said of them.

    keyed: each picture with its key, none twice; classes: index by label.
    Boxes without area or place are left out, which `marked` tells; so are those outside their pictures, where their size is
    known; there the others are clipped. Raises `DataError` (bad-annotations) where not one box lies in its picture.
    """
    found = [(i, box) for i, (_, row) in enumerate(keyed) for box in (*row.boxes, *row.crowds)]
    if not found:
        return None, []
    sizes = np.array([row.size for _, row in keyed], np.int64).reshape(-1, 2)
    corners = np.array([(box.left, box.top, box.right, box.bottom) for _, box in found], np.float64)
    labels = np.fromiter((classes[box.label] for _, box in found), np.int64, len(found))
    crowd = np.fromiter((box.crowd for _, box in found), np.bool_, len(found))
    pictures = np.fromiter((i for i, _ in found), np.int64, len(found))
    placed = _placed(corners)
    edges = np.where(sizes > 0, sizes, FAR)[pictures].astype(np.float64)
    lows = np.where(sizes > 0, 0, -FAR)[pictures].astype(np.float64)
    outside = placed & ((corners[:, :2] >= edges) | (corners[:, 2:] <= lows)).any(axis=1)
    names = [f"{keyed[i][0]} ({found[k][1].label})" for k in np.flatnonzero(outside)[:3].tolist() for i in [found[k][0]]]
    clipped = np.clip(corners, np.tile(lows, 2), np.tile(edges, 2))
    over = placed & ~outside & (np.abs(clipped - corners) > _ROUNDING).any(axis=1)
    kept = np.flatnonzero(placed & ~outside)
    if not len(kept) and outside.any():
        raise bad(where, f"not one box lies in its picture: {some(names, of=int(outside.sum()))}", "boxes are in pixels")
    notes = _told(
        names, int(outside.sum()), [keyed[found[k][0]][0] for k in np.flatnonzero(over)[:3].tolist()], int(over.sum())
    )
    return _sorted(clipped[kept], labels[kept], crowd[kept], pictures[kept], sizes), notes


def _placed(corners: F64) -> Bools:
    """Return which boxes, float64 (M, 4), have a place and an area: bool (M,)."""
    with np.errstate(invalid="ignore"):
        kept = np.abs(corners) <= FAR
        kept[:, :2] &= corners[:, 2:] > corners[:, :2]
    return np.asarray(kept.all(axis=1))


def _sorted(corners: F64, classes: I64, crowd: Bools, pictures: I64, sizes: I64) -> Boxes | None:
    """Return boxes that are in the order of their pictures already, None where there are none."""
    counts = np.bincount(pictures, minlength=len(sizes))
    starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Boxes(corners, classes, crowd, starts, sizes) if len(classes) else None


def _told(outside: Sequence[str], lost: int, over: Sequence[str], clipped: int) -> list[str]:
    notes = []
    if lost:
        text = f"{lost:,} boxes outside their pictures were left out: {some(outside, of=lost)}"
        notes.append(events.warn(text, hint="check that these are the pictures that were annotated", code="box-outside"))
    if clipped:
        notes.append(f"{clipped:,} boxes reach over the edges of their pictures and were clipped: {some(over, of=clipped)}")
    return notes


def placeless(keyed: Sequence[tuple[str, Annotated]], *, where: str) -> list[str]:
    """Return the names of boxes without area or place. Raises `DataError` (bad-annotations) where no box is four numbers."""
    every = [(key, box) for key, row in keyed for box in (*row.boxes, *row.crowds)]
    empty = [(key, box) for key, box in every if box.empty]
    names = [f"{key} ({box.label})" for key, box in empty]
    numbers = (math.isnan(box.left + box.top + box.right + box.bottom) for _, box in empty)
    if empty and len(empty) == len(every) and all(numbers):
        raise bad(where, f"not one box has four numbers: {some(names)}", "boxes are four numbers")
    return names
