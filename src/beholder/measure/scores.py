"""Scores of a model on labelled pictures, each with its 95 % interval and the number of pictures behind it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools
from beholder.base.brief import within
from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.measure.counts import Counts, effective, of_confusion, of_labels
from beholder.measure.curves import auroc, average_precision, of_area
from beholder.measure.intervals import (
    FEWEST_GROUPS,
    REPEATS,
    Share,
    cluster_numbers,
    interval,
    joint,
    proportion,
    resamples,
    share_of,
)
from beholder.measure.macro import F1, RECALL, f1_score, joined_by_errors, joined_by_mistakes, mean_over

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
    confusion: int64 (K, K), rows = truth, columns = prediction; None for multi-label
    notes:     what the figures leave out, in sentences
    ranges:    name → (least, most) of the scores over all pictures that are no shares in 0..1
    """

    headline: Mapping[str, Score]
    classes: Mapping[str, Mapping[str, Score]]
    confusion: I64 | None
    n: int
    notes: tuple[str, ...] = ()
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    def __repr__(self) -> str:
        headline = (f"{name}={score.value:.3f}" for name, score in self.headline.items())
        return within("Scores", [*headline, f"{len(self.classes):,} classes", f"n={self.n:,}"])

    @property
    def shares(self) -> dict[str, Score]:
        """Return the scores over all pictures that are shares in 0..1, the most important first."""
        return {name: score for name, score in self.headline.items() if name not in self.ranges}

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
            rows.append([label, str(of["recall"].n), *(of[name].short() for name in shown if name in of)])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


_CLINICAL = ["recall", "specificity", "precision", "f1"]


def single(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    classes: Sequence[str],
    *,
    groups: npt.ArrayLike | None = None,
    answers: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """Score predictions where each picture has one class.

    probabilities: float (N, K); targets: int (N,) in 0..K-1; answers: int (N,), the predictions; None: the class of the
    largest probability, the first among equals.
    groups: int (N,); pictures of one person, and duplicates, share a number, -1 = none. With groups, every interval is based on
    them and not on the pictures, since ten photos of one person are not ten independent tests.

    Headline: accuracy, top5 (where K > 5), macro_f1, balanced_accuracy, auroc (mean over the classes, each against the rest).
    A class without pictures has NaN for recall, F1 and AUROC and is left out of the means.
    Raises `UsageError` for shapes, classes or values that do not fit.

    >>> print(single([[0.9, 0.1], [0.2, 0.8], [0.7, 0.3]], [0, 1, 1], ["cat", "dog"]).headline["accuracy"])
    0.667 [0.208, 0.939] (n=3)
    """
    p = _probabilities(probabilities, classes)
    y = _targets(targets, p)
    n, k = p.shape
    guesses = np.asarray(p.argmax(axis=1) if answers is None else answers, np.int64)
    confusion = np.bincount(y * k + guesses, minlength=k * k).reshape(k, k).astype(np.int64)
    clusters = _clusters(groups, n)
    seen = of_confusion(confusion)
    headline = {"accuracy": proportion(guesses == y, clusters)}
    if k > 5:
        headline["top5"] = proportion(_rank(p, y) < 5, clusters)
    found = [_decided(guesses == c, y == c, clusters) for c in range(k)]
    by_f1, by_recall = _together(y, guesses, seen, clusters)
    headline["macro_f1"] = _macro("f1", found, seen, by_f1 if by_f1 is not None else joined_by_mistakes(confusion), clusters, n)
    headline["balanced_accuracy"] = _macro("recall", found, seen, by_recall, clusters, n)
    headline["auroc"], areas = _areas(p, y[:, None] == np.arange(k), clusters)
    rows = [{**_of_class(shares), "auroc": area} for shares, area in zip(found, areas, strict=True)]
    notes = (*_notes(seen, classes, clusters), *_at_once(classes, [shares["recall"] for shares in found]))
    return Scores(headline, dict(zip(classes, rows, strict=True)), confusion, n, notes)


def _macro(
    name: str, found: Sequence[Mapping[str, Share]], seen: Counts, joined: F64 | None, clusters: I64 | None, n: int
) -> Score:
    """Return the mean of "f1" or "recall" over the classes that are there; joined: how all K vary together, (K, K)."""
    there = np.flatnonzero(seen.truth)
    shares, kind = [found[c][name] for c in there.tolist()], F1 if name == "f1" else RECALL
    correlation = None if joined is None else joined[np.ix_(there, there)]
    return mean_over(shares, kind, n, correlation=correlation, groups=_count(clusters))


def _decided(called: Bools, truth: Bools, clusters: I64 | None) -> dict[str, Share]:
    """Return the shares of a class, of bool (N,): precision, recall, specificity, and hits among all that it concerns (f1)."""
    right = called == truth
    of = {"precision": called, "recall": truth, "specificity": ~truth, "f1": called | truth}
    return {name: share_of(right[rows], None if clusters is None else clusters[rows]) for name, rows in of.items()}


def _of_class(shares: Mapping[str, Share]) -> dict[str, Score]:
    row = {name: shares[name].score() for name in ("precision", "recall", "specificity")}
    return {**row, "f1": f1_score(shares["f1"], shares["recall"].n)}


MANY_SUMS = 20_000_000
"""Of more groups times classes, how classes vary together in groups is not looked at."""


def _together(y: I64, guesses: I64, seen: Counts, clusters: I64 | None) -> tuple[F64 | None, F64 | None]:
    """Return how F1, and how recall, of the classes vary together over groups: float64 (K, K) each, None without groups.

    Where a patient is difficult all pictures of him are, whatever their class.
    """
    k = len(seen.truth)
    if clusters is None or (clusters.max() + 1) * k > MANY_SUMS:
        return None, None
    f1, recall = np.nan_to_num(seen.f1()), np.nan_to_num(seen.recall())
    both = np.maximum(seen.truth + seen.guessed, 1)
    right = (y == guesses).astype(np.float64)

    def summed(own: F64, other: F64) -> F64:
        size = (int(clusters.max()) + 1) * k
        found = np.bincount(clusters * k + y, own, size) + np.bincount(clusters * k + guesses, other, size)
        return joined_by_errors(found.reshape(-1, k).astype(np.float64))

    lost = f1 / both
    return (
        summed((2 * right - f1[y]) / both[y], -lost[guesses]),
        summed((right - recall[y]) / np.maximum(seen.truth[y], 1), np.zeros(len(y))),
    )


def multi(
    probabilities: npt.ArrayLike,
    targets: npt.ArrayLike,
    classes: Sequence[str],
    *,
    thresholds: float | npt.ArrayLike = 0.5,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """Score predictions where a picture may have several classes or none.

    probabilities: float (N, K); targets: 0 or 1 (N, K); a class is guessed where its probability reaches its threshold.
    thresholds: one for all or (K,). groups: as for `single`.

    Headline: map (mean over the classes of average precision), micro_f1, macro_f1, auroc (mean over the classes). A class
    that no picture has is left out of the means. Raises `UsageError` for shapes, classes or values that do not fit.
    """
    p = _probabilities(probabilities, classes)
    n, k = p.shape
    truth = _labels(targets, p)
    guesses = p >= np.asarray(thresholds, np.float64)
    clusters = _clusters(groups, n)
    seen = of_labels(guesses, truth, np.ones(n))
    found = [_decided(guesses[:, c], truth[:, c], clusters) for c in range(k)]
    picture, label = np.nonzero(guesses | truth)
    every = share_of((guesses & truth)[picture, label], picture if clusters is None else clusters[picture])
    mean_precision, precisions = _precisions(p, truth, clusters, seed)
    macro_f1 = _macro("f1", found, seen, _labels_joined(guesses, truth, seen, clusters), clusters, n)
    headline = {"map": mean_precision, "micro_f1": f1_score(every, n), "macro_f1": macro_f1}
    headline["auroc"], areas = _areas(p, truth, clusters)
    rows = [
        {"average_precision": precision, **_of_class(shares), "auroc": area}
        for precision, shares, area in zip(precisions, found, areas, strict=True)
    ]
    notes = (*_notes(seen, classes, clusters), *_at_once(classes, [shares["recall"] for shares in found]))
    return Scores(headline, dict(zip(classes, rows, strict=True)), None, n, notes)


def _precisions(p: F64, truth: Bools, clusters: I64 | None, seed: int) -> tuple[Score, list[Score]]:
    """Return the mean average precision of the classes, and the average precision of each."""
    n, k = p.shape
    count = truth.sum(axis=0)
    support = count.astype(np.float64)
    if clusters is not None:
        support = np.array([len(np.unique(clusters[truth[:, c]])) for c in range(k)], np.float64)
    ap = np.array([float(average_precision(p[:, c], truth[:, c])) for c in range(k)])
    drawn = _redrawn_precisions(p, truth, clusters, seed)
    scores = [interval(float(ap[c]), drawn[:, c], int(count[c]), units=float(support[c])) for c in range(k)]
    rough = support < np.minimum(FEWEST_GROUPS, count)
    scores = [Score(s.value, math.nan, math.nan, s.n) if bad else s for s, bad in zip(scores, rough, strict=True)]
    return _mean_precision(ap, drawn, support, n, groups=_count(clusters)), scores


def _redrawn_precisions(p: F64, truth: Bools, clusters: I64 | None, seed: int) -> F64:
    """Return the average precisions float64 (R, K) of R resamples, 50 at a time to bound memory."""
    found, chunk = [], []
    for i, weights in enumerate(resamples(len(p), clusters=clusters, seed=seed), start=1):
        chunk.append(weights)
        if i % 50 == 0 or i == REPEATS:
            drawn = np.array(chunk, np.float64)
            found.append(np.stack([average_precision(p[:, c], truth[:, c], drawn) for c in range(p.shape[1])], axis=1))
            chunk.clear()
    return np.concatenate(found)


def _mean_precision(ap: F64, precisions: F64, support: F64, n: int, *, groups: int | None) -> Score:
    """Return the mean of average precisions (K,) with its interval, from those of resamples (R, K); support: of each class."""
    there = np.flatnonzero(~np.isnan(ap))
    if not len(there):
        return Score(math.nan, math.nan, math.nan, n)
    found, kept, drawn = ap[there], support[there], precisions[:, there]
    rest = np.nan_to_num(drawn - np.nanmean(drawn, axis=0))
    variance, free = np.square(rest).mean(axis=0), found * (1 - found)
    told = variance > 1e-9 * free / kept
    size = np.where(told, free / np.where(told, variance, 1.0), kept)
    shares = [Share(float(v), n, float(m), int(g)) for v, m, g in zip(found, size, kept, strict=True)]
    return mean_over(shares, RECALL, n, correlation=joined_by_errors(rest), groups=groups)


def _areas(p: F64, truth: Bools, clusters: I64 | None) -> tuple[Score, list[Score]]:
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


def _at_once(classes: Sequence[str], recalls: Sequence[Share]) -> list[str]:
    """Return a note on the intervals of many classes: each holds by itself, and what would hold for all at once."""
    count = sum(share.n > 0 for share in recalls)
    if count < MANY:
        return []
    c = int(np.nanargmin([share.value for share in recalls]))
    wide, missing = recalls[c].score(level=joint(count)), max(1, round(0.05 * count))
    return [
        f"Each interval holds by itself, 95 times of 100: of {count} recalls about {missing} may lie outside theirs. Intervals "
        f"that hold for all of them at once are wider: of the lowest, {classes[c]}, {wide.short()}."
    ]


def _labels_joined(guesses: Bools, truth: Bools, seen: Counts, clusters: I64 | None) -> F64:
    """Return how the F1 of the labels vary together over pictures, or groups: float64 (K, K)."""
    called, own = guesses.astype(np.float64), truth.astype(np.float64)
    errors = (2 * called * own - np.nan_to_num(seen.f1()) * (called + own)) / np.maximum(seen.truth + seen.guessed, 1)
    if clusters is not None:
        summed = np.zeros((int(clusters.max()) + 1, truth.shape[1]))
        np.add.at(summed, clusters, errors)
        errors = summed
    return joined_by_errors(errors)


def _rank(p: F64, y: I64) -> I64:
    """Return how many classes stand before the true one: int64 (N,); equals are in order of their index."""
    own = p[np.arange(len(y)), y][:, None]
    before = (p > own) | ((p == own) & (np.arange(p.shape[1]) < y[:, None]))
    return np.asarray(before.sum(axis=1), np.int64)


def _notes(seen: Counts, classes: Sequence[str], clusters: I64 | None) -> tuple[str, ...]:
    notes = []
    absent = [label for label, count in zip(classes, seen.truth, strict=True) if count == 0]
    if absent:
        names = _some(absent)
        notes.append(f"No picture here is of {names}: left out of the means over classes.")
    few = [f"{label} ({count:.0f})" for label, count in zip(classes, seen.truth, strict=True) if 0 < count < FEW]
    if few:
        notes.append(f"Fewer than {FEW} pictures of {_some(few)}: their figures, and means over classes, are rough.")
    if clusters is not None:
        count = int(clusters.max()) + 1
        notes.append(f"Intervals rest on {count} groups of pictures, not on single pictures.")
        if count < FEWEST_GROUPS:
            notes.append(f"Of fewer than {FEWEST_GROUPS} groups no interval can be estimated: give pictures of more groups.")
    return tuple(notes)


def _some(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _count(clusters: I64 | None) -> int | None:
    return None if clusters is None else int(clusters.max()) + 1


def _clusters(groups: npt.ArrayLike | None, n: int) -> I64 | None:
    numbers = cluster_numbers(n, groups)
    return numbers if groups is not None and len(np.unique(numbers)) < n else None


def _probabilities(probabilities: npt.ArrayLike, classes: Sequence[str]) -> F64:
    p = np.asarray(probabilities, np.float64)
    if p.ndim != 2 or p.shape[1] != len(classes) or len(set(classes)) != len(classes) or not len(classes):
        hint = f"they are (pictures, {len(classes)}), one column for each class, and class names differ from each other"
        raise UsageError(f"probabilities of shape {p.shape} for {len(classes)} classes", code="bad-probabilities", hint=hint)
    if not np.isfinite(p).all():
        rows = int((~np.isfinite(p)).any(axis=1).sum())
        hint = "the net's output is not finite: train with a lower learning rate or in fp32"
        raise UsageError(f"the probabilities of {rows} pictures are not finite", code="bad-probabilities", hint=hint)
    return p


def _targets(targets: npt.ArrayLike, p: F64) -> I64:
    n, k = p.shape
    y = np.asarray(targets)
    if y.shape != (n,) or (n and (y.dtype.kind not in "iu" or y.min() < 0 or y.max() >= k)):
        hint = f"give a class index in 0..{k - 1} for each of {n} pictures"
        raise UsageError(f"targets of shape {y.shape} and type {y.dtype} do not fit", code="bad-targets", hint=hint)
    return y.astype(np.int64)


def _labels(targets: npt.ArrayLike, p: F64) -> Bools:
    truth = np.asarray(targets)
    if truth.shape != p.shape or not np.isin(truth, (0, 1)).all():
        hint = f"give 0 or 1 for each of {len(p)} pictures and {p.shape[1]} classes"
        raise UsageError(f"multi-label targets have shape {truth.shape}", code="bad-targets", hint=hint)
    return truth.astype(bool)
