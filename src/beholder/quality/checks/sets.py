"""Checks of the whole set: imbalance, and classes too small to test."""

from __future__ import annotations

import numpy as np

from beholder.base.records import PARTS
from beholder.measure.intervals import wilson
from beholder.quality.checks import Check, Evidence, Remark

SHARE = 0.15
"""Share of a class that the test gets where the source has no test part of its own."""


def imbalance(evidence: Evidence) -> list[Remark]:
    """Remark on classes that are rare: score = 1 - (pictures of the class) / (pictures of the largest class).

    With several labels a picture, each class stands by itself: the rarer against the commoner of its presence and absence.
    """
    pictures, counts = evidence.pictures, evidence.pictures.counts()
    if pictures.multi:
        return [_lopsided(name, int(n), len(pictures)) for name, n in zip(pictures.classes, counts, strict=True)]
    if len(counts) < 2 or not counts.any():
        return []
    small, large = int(counts.argmin()), int(counts.argmax())
    words = (
        f"'{pictures.classes[large]}' has {counts[large]:,} pictures and '{pictures.classes[small]}' {counts[small]:,}: "
        f"an answer that is always the former looks good"
    )
    return [Remark(float(1 - counts[small] / counts[large]), words)]


def _lopsided(name: str, n: int, total: int) -> Remark:
    rare = min(n, total - n)
    kind = "present" if n > total - n else "absent"
    words = f"'{name}' is in {n:,} of {total:,} pictures: an answer that always says {kind} looks good"
    return Remark(1 - rare / max(total - rare, 1), words)


IMBALANCE = Check(
    imbalance,
    limit=0.9,
    sentence="one class is ten times as frequent as another",
    hint="collect more of the rare one, report balanced accuracy, or train with class_weights=balanced",
    group="set",
    needs=("labels",),
)


def few(evidence: Evidence) -> list[Remark]:
    """Remark on classes that are too small to test: score = width of the 95 % interval of a recall of 0.9 on its test pictures.

    These are the ones of the given test part, or else 15 % of the class.
    """
    pictures = evidence.pictures
    part = pictures.parts == PARTS.index("test")
    counts = pictures.counts()
    tested = pictures.take(np.flatnonzero(part)).counts() if part.any() else np.round(SHARE * counts)
    remarks = []
    for name, n, held in zip(pictures.classes, counts.tolist(), tested.tolist(), strict=True):
        words = f"'{name}' has {n:,} pictures, about {int(held)} of them for the test"
        recall = wilson(0.9 * held, held)
        remarks.append(Remark(recall.high - recall.low if held else 1.0, words))
    return remarks


FEW = Check(
    few,
    limit=0.32,
    sentence="it has too few pictures to estimate its recall to within 16 points",
    hint="collect more of it (a hundred in all give about 15 for the test), or merge it with another class",
    group="set",
    needs=("labels",),
)
