"""Shortcuts: classes that can be predicted without what the picture shows."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools, Integer
from beholder.base.records import PARTS
from beholder.data.folds import folds
from beholder.measure.curves import auroc
from beholder.quality.checks import Check, Evidence, Remark

FACETS = ("brightness", "size", "file type", "border", "corners", "source folder")
"""What a class should not be predictable from alone."""

LEAVES = 16
LEAST = 20
"""Pictures of a class, and of the others, below which nothing is said of it."""


MOST = 5000
"""Pictures that are asked, a random sample where there are more: the interval says what that costs."""


def shortcut(evidence: Evidence) -> list[Remark]:
    """Remark on classes that a small tree tells from the rest by one of `FACETS` alone.

    Cross-validated in five folds that tear no duplicates or groups apart. score = lower end of the 95 % interval of the AUROC
    (Hanley & McNeil 1982), widened for the number of questions asked (Bonferroni); 0.5 = chance.
    """
    rows = np.flatnonzero(evidence.readable)
    if len(rows) > MOST:
        rows = np.sort(np.random.default_rng(0).permutation(rows)[:MOST])
    pictures = evidence.pictures.take(rows)
    facts = evidence.facts[rows]
    if pictures.digests is None or len(rows) < 2 * LEAST:
        return []
    fold = folds(pictures, same=facts["pixels"])
    asked = list(_classes(pictures.targets, pictures.classes))
    remarks = []
    for facet in FACETS:
        columns = _columns(facet, facts, pictures.keys, pictures.classes)
        if columns is None:
            continue
        for name, truth in asked:
            remarks.append(_judged(name, facet, columns, truth, fold, questions=len(asked) * len(FACETS)))
    return remarks


def _classes(targets: Integer, classes: tuple[str, ...]) -> Iterator[tuple[str, Bools]]:
    for k, name in enumerate(classes):
        truth = targets[:, k] > 0 if targets.ndim == 2 else targets == k
        if min(np.count_nonzero(truth), np.count_nonzero(~truth)) >= LEAST:
            yield name, np.asarray(truth)


def _columns(facet: str, facts: npt.NDArray[np.void], keys: Sequence[str], classes: tuple[str, ...]) -> F64 | None:
    """Return the columns of a facet, float64 (N, C), None where all pictures are alike in it."""
    height, width = facts["height"].astype(np.float64), facts["width"].astype(np.float64)
    if facet == "brightness":
        found = np.column_stack([facts["light"], facts["spread"]])
    elif facet == "size":
        found = np.column_stack([height, width, width / np.maximum(height, 1)])
    elif facet == "file type":
        found = np.column_stack([_codes(facts["format"]), facts["channels"]])
    elif facet in ("border", "corners"):
        found = np.asarray(facts[facet])
    else:
        found = _codes(np.array([folder_of(str(key), classes) for key in keys]))[:, None]
    return found.astype(np.float64) if (found != found[:1]).any() else None


def folder_of(key: str, classes: tuple[str, ...]) -> str:
    """Return the folders of a picture's name that do not name a class or a part."""
    return "/".join(part for part in key.split("/")[:-1] if part not in classes and part not in PARTS)


def _codes(values: npt.NDArray[np.generic]) -> I64:
    return np.asarray(np.unique(values, return_inverse=True)[1], np.int64).ravel()


def _judged(name: str, facet: str, columns: F64, truth: Bools, fold: I64, *, questions: int) -> Remark:
    from sklearn.tree import DecisionTreeClassifier

    guess = np.full(len(truth), 0.5)
    for k in np.unique(fold):
        held = fold == k
        if held.all() or truth[~held].all() or not truth[~held].any():
            continue
        tree = DecisionTreeClassifier(max_leaf_nodes=LEAVES, min_samples_leaf=5, class_weight="balanced", random_state=0)
        guess[held] = tree.fit(columns[~held], truth[~held]).predict_proba(columns[held])[:, 1]
    area, _ = auroc(guess, truth)
    low = max(0.0, area - _critical(questions) * _error(area, int(truth.sum()), int((~truth).sum())))
    return Remark(low, Shortcut(name, facet, area, low).sentence())


@dataclass(frozen=True)
class Shortcut:
    """A class that a facet alone tells: its AUROC, cross-validated, and what that is surely above."""

    label: str
    facet: str
    area: float
    low: float

    def sentence(self) -> str:
        """Return it as a verdict; `stated` reads it back."""
        return (
            f"'{self.label}' can be told by {self.facet} alone: cross-validated AUROC {self.area:.3f}, "
            f"surely above {self.low:.3f} (chance is 0.5)"
        )


_SENTENCE = re.compile(
    rf"'(.+)' can be told by ({'|'.join(FACETS)}) alone: cross-validated AUROC (\S+), surely above (\S+) \(chance is 0\.5\)",
    re.DOTALL,
)


def stated(sentence: str) -> Shortcut | None:
    """Return the shortcut that a verdict of this check states, None for any other sentence.

    >>> stated(Shortcut("Covid-19", "file type", 0.999, 0.99).sentence())
    Shortcut(label='Covid-19', facet='file type', area=0.999, low=0.99)
    """
    found = _SENTENCE.fullmatch(sentence)
    return None if found is None else Shortcut(found[1], found[2], float(found[3]), float(found[4]))


def _error(area: float, n: int, m: int) -> float:
    """Return the standard error of an AUROC from n positives and m negatives. Source: Hanley & McNeil, Radiology 143 (1982)."""
    one, two = area / (2 - area), 2 * area**2 / (1 + area)
    variance = area * (1 - area) + (n - 1) * (one - area**2) + (m - 1) * (two - area**2)
    return float(np.sqrt(max(variance, 0.0) / (n * m)))


def _critical(questions: int) -> float:
    return NormalDist().inv_cdf(1 - 0.025 / max(questions, 1))


SHORTCUT = Check(
    shortcut,
    limit=0.8,
    sentence="a class can be predicted without what the picture shows",
    hint="take the pictures of all classes in the same way, or make them alike: size, file type, border, brightness",
    group="set",
    needs=("labels",),
)
