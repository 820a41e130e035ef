"""Scores of a recogniser on labelled pictures, each with its 95 % interval and the number of pictures behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.measure.counts import Counts, effective, mean_of_defined, of_confusion, of_labels, redrawn, weighted
from beholder.measure.curves import auroc, average_precision, of_area
from beholder.measure.intervals import (
    REPEATS,
    cluster_numbers,
    interval,
    joint,
    proportion,
    resamples,
    wilson,
)

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

TABLE_CLASSES = 20
"""Printed scores show one line per class up to this many classes."""

MANY = 6
"""From this many classes on a note says what holds for all of them at once."""

FEW = 10
"""Below this many pictures of a class a note warns; intervals of means over classes may then be too short."""


@dataclass(frozen=True, eq=False)
class Scores:
    """What a test found.

    headline:  name → score over all pictures, the most important first
    classes:   class → name → score: precision, recall (sensitivity), specificity, f1, auroc, for multi-label average_precision
    confusion: int64 (K, K), rows = truth, columns = guess; None for multi-label
    notes:     what the figures leave out, in sentences
    """

    headline: Mapping[str, Score]
    classes: Mapping[str, Mapping[str, Score]]
    confusion: Ints | None
    n: int
    notes: tuple[str, ...] = ()

    def json(self) -> dict[str, Any]:
        """Return {"scores", "classes", "confusion", "n", "notes"} as plain JSON values; undefined values are None."""
        return {
            "scores": {name: score.json() for name, score in self.headline.items()},
            "classes": {label: {name: score.json() for name, score in of.items()} for label, of in self.classes.items()},
            "confusion": None if self.confusion is None else self.confusion.tolist(),
            "n": self.n,
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        lines = [f"{name} {score}" for name, score in self.headline.items()]
        if len(self.classes) <= TABLE_CLASSES:
            lines += ["", *self._table()]
        return "\n".join([*lines, *(["", *self.notes] if self.notes else [])])

    def _table(self) -> list[str]:
        # With two classes specificity is the recall of the other one, with many it is always near 1: shown where it tells.
        shown = ["recall", "precision", "f1"] if self.confusion is not None and len(self.classes) > 2 else _CLINICAL
        rows = [["class", "n", *(name.replace("_", " ") for name in shown)]]
        for label, of in self.classes.items():
            rows.append([label, str(of["recall"].n), *(_short(of[name]) for name in shown if name in of)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


_CLINICAL = ["recall", "specificity", "precision", "f1"]


def single(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    classes: Sequence[str],
    *,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """Score guesses where each picture has one class.

    probabilities: float (N, K); targets: int (N,) in 0..K-1; the guess is the largest probability, the first among equals.
    groups: int (N,); pictures of one person, and twins, share a number, -1 = none. Where there are groups every interval rests
    on them and not on the pictures, since ten photos of one person are not ten independent tests.

    Headline: accuracy, top5 (where K > 5), macro_f1, balanced_accuracy, auroc (mean over the classes, each against the rest).
    A class without pictures has NaN for recall, F1 and AUROC and is left out of the means.
    Raises `UsageError` for shapes, classes or values that do not fit.

    >>> print(single([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], [0, 1, 1], ["cat", "dog"]).headline["accuracy"])
    0.667 [0.208, 0.939] (n=3)
    """
    p = _probabilities(probabilities, classes)
    y = _targets(targets, p)
    n, k = p.shape
    guesses = p.argmax(axis=1).astype(np.int64)
    confusion = np.bincount(y * k + guesses, minlength=k * k).reshape(k, k).astype(np.int64)
    clusters = _clusters(groups, n)
    seen = of_confusion(confusion)
    if clusters is None:
        drawn, units = redrawn(confusion, seed=seed, repeats=REPEATS), None
    else:
        drawn = weighted(y, guesses, k, resamples(n, strata=y, clusters=clusters, seed=seed))
        units = np.array([len(np.unique(clusters[y == c])) for c in range(k)], np.float64)
    headline = {"accuracy": proportion(guesses == y, clusters)}
    if k > 5:
        headline["top5"] = proportion(_rank(p, y) < 5, clusters)
    independent = effective(seen.truth if units is None else units)
    for name, value, draws in (
        ("macro_f1", seen.f1(), drawn.f1()),
        ("balanced_accuracy", seen.recall(), drawn.recall()),
    ):
        headline[name] = interval(float(mean_of_defined(value)), mean_of_defined(draws), n, units=independent)
    headline["auroc"], areas = _areas(p, y[:, None] == np.arange(k), clusters)
    rows = [{**row, "auroc": area} for row, area in zip(_of_classes(seen, drawn, units), areas, strict=True)]
    notes = (*_notes(seen, classes, clusters), *_at_once(classes, seen, drawn, units))
    return Scores(headline, dict(zip(classes, rows, strict=True)), confusion, n, notes)


def multi(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    classes: Sequence[str],
    *,
    thresholds: float | npt.ArrayLike = 0.5,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """Score guesses where a picture may have several classes or none.

    probabilities: float (N, K); targets: 0 or 1 (N, K); a class is guessed where its probability reaches its threshold.
    thresholds: one for all or (K,). groups: as for `single`.

    Headline: map (mean over the classes of average precision), micro_f1, macro_f1, auroc (mean over the classes). A class
    that no picture has is left out of the means. Raises `UsageError` for shapes, classes or values that do not fit.
    """
    p = _probabilities(probabilities, classes)
    n, k = p.shape
    truth = np.asarray(targets)
    if truth.shape != p.shape or not np.isin(truth, (0, 1)).all():
        hint = f"give 0 or 1 for each of {n} pictures and {k} classes"
        raise UsageError(f"multi-label targets have shape {truth.shape}", code="bad-targets", hint=hint)
    truth = truth.astype(bool)
    guesses = p >= np.asarray(thresholds, np.float64)
    clusters = _clusters(groups, n)
    seen = of_labels(guesses, truth, np.ones(n))
    drawn, precisions = _redraw_labels(p, guesses, truth, clusters, seed)
    units = None
    if clusters is not None:
        units = np.array([len(np.unique(clusters[truth[:, c]])) for c in range(k)], np.float64)
    support = seen.truth if units is None else units
    ap = np.array([float(average_precision(p[:, c], truth[:, c])) for c in range(k)])
    headline = {
        "map": interval(float(mean_of_defined(ap)), mean_of_defined(precisions), n, units=effective(support)),
        "micro_f1": interval(float(seen.micro_f1()), drawn.micro_f1(), n, units=float(support.sum())),
        "macro_f1": interval(float(mean_of_defined(seen.f1())), mean_of_defined(drawn.f1()), n, units=effective(support)),
    }
    headline["auroc"], areas = _areas(p, truth, clusters)
    rows = _of_classes(seen, drawn, units)
    for c, row in enumerate(rows):
        score = interval(float(ap[c]), precisions[:, c], int(seen.truth[c]), units=float(support[c]))
        rows[c] = {"average_precision": score, **row, "auroc": areas[c]}
    notes = (*_notes(seen, classes, clusters), *_at_once(classes, seen, drawn, units))
    return Scores(headline, dict(zip(classes, rows, strict=True)), None, n, notes)


def _redraw_labels(
    p: Floats, guesses: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_], clusters: Ints | None, seed: int
) -> tuple[Counts, Floats]:
    """Return the counts and the average precisions float64 (R, K) of R resamples, 50 at a time to bound memory."""
    n, k = p.shape
    counts, precisions, chunk = [], [], []
    for i, weights in enumerate(resamples(n, clusters=clusters, seed=seed), start=1):
        chunk.append(weights)
        if i % 50 == 0 or i == REPEATS:
            drawn = np.array(chunk, np.float64)
            counts.append(of_labels(guesses, truth, drawn))
            precisions.append(np.stack([average_precision(p[:, c], truth[:, c], drawn) for c in range(k)], axis=1))
            chunk.clear()
    names = ("hits", "guessed", "truth", "total")
    return Counts(*(np.concatenate([getattr(c, name) for c in counts]) for name in names)), np.concatenate(precisions)


def _of_classes(seen: Counts, drawn: Counts, units: Floats | None) -> list[dict[str, Score]]:
    """Return the scores of each class; `units` float64 (K,): the groups behind it, where there are any."""
    shares = {
        "precision": (seen.hits, seen.guessed, drawn.precision()),
        "recall": (seen.hits, seen.truth, drawn.recall()),
        "specificity": (seen.rejected(), seen.total - seen.truth, drawn.specificity()),
    }
    f1, f1_drawn = seen.f1(), drawn.f1()
    rows: list[dict[str, Score]] = []
    for c in range(len(seen.truth)):
        row = {}
        for name, (part, whole, draws) in shares.items():
            score = wilson(float(part[c]), float(whole[c]))
            row[name] = score if units is None else interval(score.value, draws[:, c], score.n, units=float(units[c]))
        support = float(seen.truth[c] if units is None else units[c])
        row["f1"] = interval(float(f1[c]), f1_drawn[:, c], int(seen.truth[c]), units=support)
        rows.append(row)
    return rows


def _areas(p: Floats, truth: npt.NDArray[np.bool_], clusters: Ints | None) -> tuple[Score, list[Score]]:
    """Return the mean area under the ROC curve of the classes, each against the rest, and that of each class."""
    n, k = p.shape
    clusters = np.arange(n) if clusters is None else clusters
    total, defined, scores, values = np.zeros(n), 0, [], []
    support = np.zeros(k)
    for c in range(k):
        value, added = auroc(p[:, c], truth[:, c])
        groups = [len(np.unique(clusters[truth[:, c] == side])) for side in (True, False)]
        support[c] = min(groups)
        scores.append(of_area(value, added, int(truth[:, c].sum()), units=float(support[c]), clusters=clusters))
        if not math.isnan(value):
            total, defined = total + added, defined + 1
            values.append(value)
    if not defined:
        return Score(math.nan, math.nan, math.nan, n), scores
    return of_area(float(np.mean(values)), total / defined, n, units=effective(support), clusters=clusters), scores


def _at_once(classes: Sequence[str], seen: Counts, drawn: Counts, units: Floats | None) -> list[str]:
    """Return a note on the intervals of many classes: each holds by itself, and what would hold for all at once."""
    recall = seen.recall()
    count = int((seen.truth > 0).sum())
    if count < MANY:
        return []
    c, level = int(np.nanargmin(recall)), joint(count)
    if units is None:
        wide = wilson(float(seen.hits[c]), float(seen.truth[c]), level=level)
    else:
        wide = interval(float(recall[c]), drawn.recall()[:, c], int(seen.truth[c]), units=float(units[c]), level=level)
    missing = max(1, round(0.05 * count))
    return [
        f"Each interval holds by itself, 95 times of 100: of {count} recalls about {missing} may lie outside theirs. Intervals "
        f"that hold for all of them at once are wider: of the lowest, {classes[c]}, {_short(wide)}."
    ]


def _rank(p: Floats, y: Ints) -> Ints:
    """Return how many classes stand before the true one: int64 (N,); equals are in order of their index."""
    own = p[np.arange(len(y)), y][:, None]
    before = (p > own) | ((p == own) & (np.arange(p.shape[1]) < y[:, None]))
    return np.asarray(before.sum(axis=1), np.int64)


def _notes(seen: Counts, classes: Sequence[str], clusters: Ints | None) -> tuple[str, ...]:
    notes = []
    absent = [label for label, count in zip(classes, seen.truth, strict=True) if count == 0]
    if absent:
        names = _some(absent)
        notes.append(f"No picture here is of {names}: left out of the means over classes.")
    few = [f"{label} ({count:.0f})" for label, count in zip(classes, seen.truth, strict=True) if 0 < count < FEW]
    if few:
        notes.append(f"Fewer than {FEW} pictures of {_some(few)}: their figures, and means over classes, are rough.")
    if clusters is not None:
        notes.append(f"Intervals rest on {clusters.max() + 1} groups of pictures, not on single pictures.")
    return tuple(notes)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _clusters(groups: npt.ArrayLike | None, n: int) -> Ints | None:
    numbers = cluster_numbers(n, groups)
    return numbers if groups is not None and len(np.unique(numbers)) < n else None


def _probabilities(probabilities: npt.ArrayLike, classes: Sequence[str]) -> Floats:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] != len(classes) or len(set(classes)) != len(classes) or not len(classes):
        hint = f"they are (pictures, {len(classes)}), one column for each class, and class names differ from each other"
        raise UsageError(f"probabilities of shape {p.shape} for {len(classes)} classes", code="bad-probabilities", hint=hint)
    if not np.isfinite(p).all():
        rows = int((~np.isfinite(p)).any(axis=1).sum())
        hint = "the net's output is not finite: train with a lower learning rate or in fp32"
        raise UsageError(f"the probabilities of {rows} pictures are not finite", code="bad-probabilities", hint=hint)
    return p


def _targets(targets: npt.ArrayLike, p: Floats) -> Ints:
    n, k = p.shape
    y = np.asarray(targets)
    if y.shape != (n,) or (n and (y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= k)):
        hint = f"give a class index in 0..{k - 1} for each of {n} pictures"
        raise UsageError(f"targets of shape {y.shape} and type {y.dtype} do not fit", code="bad-targets", hint=hint)
    return y.astype(np.int64)


def _short(score: Score) -> str:
    return "-" if score.value != score.value else f"{score.value:.3f} [{score.low:.3f}, {score.high:.3f}]"
