"""How far boxes overlap: intersection over union, the pairs that do, and non-maximum suppression."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from beholder.base.arrays import F64, I64, Bools
from beholder.base.boxes import Boxes
from beholder.measure.detections import Found

BLOCK = 128
"""Boxes that non-maximum suppression decides on before it drops what they suppress."""


class Pairs(NamedTuple):
    """Pairs of a found and a true box of one picture, in the order of the found boxes.

    found, truth: int64 (P,), rows in `Found` and in `Boxes`; overlap: float64 (P,) in 0..1
    """

    found: I64
    truth: I64
    overlap: F64


def areas(corners: F64) -> F64:
    """Return the areas of boxes (M, 4): float64 (M,)."""
    return np.asarray((corners[:, 2] - corners[:, 0]) * (corners[:, 3] - corners[:, 1]))


def overlaps(a: F64, b: F64, crowd: Bools | None = None) -> F64:
    """Return the intersection over union of each box of a with each of b: float64 (n, m) in 0..1, 0 of boxes without area.

    a: float64 (n, 4); b: float64 (m, 4): left, top, right, bottom.
    crowd: bool (m,), where b stands for several objects; there the intersection is taken over the area of a alone (IoF).
    Source: T.-Y. Lin et al., Microsoft COCO: common objects in context, ECCV (2014), and its pycocotools.

    >>> overlaps(np.array([[0.0, 0, 2, 2]]), np.array([[1.0, 0, 3, 2]])).round(3).tolist()
    [[0.333]]
    """
    width = np.minimum(a[:, None, 2], b[:, 2]) - np.maximum(a[:, None, 0], b[:, 0])
    height = np.minimum(a[:, None, 3], b[:, 3]) - np.maximum(a[:, None, 1], b[:, 1])
    common = np.maximum(width, 0, out=width)
    common *= np.maximum(height, 0, out=height)
    of_a, of_b = areas(a)[:, None], areas(b)
    whole = of_a + of_b - common
    if crowd is not None and crowd.any():
        whole = np.where(crowd, of_a, whole)
    shares: F64 = np.divide(common, whole, out=common, where=common > 0)
    return shares


def pairs(truth: Boxes, found: Found, *, least: float, rows: Bools | None = None, alike: bool = True) -> Pairs:
    """Return the pairs of a found and a true box whose overlap is at least `least`, > 0; with a crowd it is IoF.

    rows: bool (M,), the found boxes to look at, None: all; alike: only pairs of one class.
    """
    parts: list[tuple[I64, I64, F64]] = []
    ends, bounds = found.starts, truth.starts
    busy = np.flatnonzero((np.diff(ends) > 0) & (np.diff(bounds) > 0))
    for k in busy.tolist():
        mine = np.arange(ends[k], ends[k + 1])
        if rows is not None:
            mine = mine[rows[mine]]
        there = slice(bounds[k], bounds[k + 1])
        table = overlaps(found.corners[mine], truth.corners[there], truth.crowd[there])
        near = table >= least
        if alike:
            near &= found.classes[mine, None] == truth.classes[there]
        i, j = np.nonzero(near)
        parts.append((mine[i], j + bounds[k], table[i, j]))
    if not parts:
        return Pairs(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def suppressed(corners: F64, scores: F64, classes: I64, *, overlap: float, most: int) -> I64:
    """Return the rows that non-maximum suppression keeps, class by class, from the surest on and at most `most`: int64.

    corners: float64 (M, 4); scores: float64 (M,); classes: int64 (M,). A box goes where its intersection over union with a
    surer one of its class that stays is more than `overlap`; among equal scores the first row is the surer one.
    The same as `torchvision.ops.batched_nms`.
    """
    order = np.argsort(-scores, kind="stable")
    stays = np.zeros(len(scores), bool)
    for c in np.unique(classes):
        rows = order[classes[order] == c]
        while len(rows):
            block, rows = rows[:BLOCK], rows[BLOCK:]
            kept = block[_first_come(overlaps(corners[block], corners[block]) > overlap)]
            stays[kept] = True
            if len(rows):
                rows = rows[~(overlaps(corners[kept], corners[rows]) > overlap).any(axis=0)]
    return order[stays[order]][:most].astype(np.int64)


def _first_come(clash: Bools) -> Bools:
    """Return which of some boxes stay, bool (n,), where an earlier one that stays suppresses those it clashes with, (n, n)."""
    stays = np.ones(len(clash), bool)
    for i in range(len(clash)):
        if stays[i]:
            stays[i + 1 :] &= ~clash[i, i + 1 :]
    return stays
