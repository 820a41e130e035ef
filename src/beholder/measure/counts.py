"""Hits, predictions and truths per class, and the shares that follow; observed once, or redrawn many times."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F64, I64, Bools


@dataclass(frozen=True, eq=False)
class Counts:
    """Per class, how many pictures were hit, guessed and true; a leading axis, where there is one, runs over resamples.

    hits, guessed, truth: float64 (..., K); total: float64 (..., 1), all pictures.
    Every share is float64 (..., K) in 0..1, NaN where nothing is there to divide by.
    """

    hits: F64
    guessed: F64
    truth: F64
    total: F64

    def precision(self) -> F64:
        """Return the share of the predictions of a class that are right."""
        return _share(self.hits, self.guessed)

    def recall(self) -> F64:
        """Return the share of the pictures of a class that are found; doctors say sensitivity."""
        return _share(self.hits, self.truth)

    def specificity(self) -> F64:
        """Return the share of the pictures not of a class that are not called so."""
        return _share(self.rejected(), self.total - self.truth)

    def rejected(self) -> F64:
        """Return how many pictures not of a class were not called so: true negatives."""
        return self.total - self.truth - self.guessed + self.hits

    def f1(self) -> F64:
        """Return the harmonic mean of precision and recall; NaN for a class that no picture has."""
        return np.where(self.truth > 0, _share(2 * self.hits, self.truth + self.guessed), np.nan)


def of_confusion(confusion: I64) -> Counts:
    """Return the counts in a confusion matrix int64 (K, K), rows = truth."""
    table = confusion.astype(np.float64)
    return Counts(np.diagonal(table), table.sum(0), table.sum(1), table.sum(keepdims=True)[0])


def weighted(targets: I64, guesses: I64, classes: int, weights: Iterable[I64]) -> Counts:
    """Return the counts of the resamples `weights`, each int64 (N,): how often each picture was drawn."""
    right = targets == guesses
    hit = targets[right]
    rows = [
        np.stack([np.bincount(hit, w[right], classes), np.bincount(guesses, w, classes), np.bincount(targets, w, classes)])
        for w in weights
    ]
    stacked = np.array(rows, np.float64).reshape(-1, 3, classes)
    return Counts(stacked[:, 0], stacked[:, 1], stacked[:, 2], stacked[:, 2].sum(axis=1, keepdims=True))


def of_labels(guesses: Bools, truth: Bools, weights: F64) -> Counts:
    """Return the counts of multi-label decisions bool (N, K) under weights float64 (..., N)."""
    hits, guessed, true = (weights @ table.astype(np.float64) for table in (guesses & truth, guesses, truth))
    return Counts(hits, guessed, true, weights.sum(axis=-1, keepdims=True))


def mean_of_defined(values: F64) -> F64:
    """Return the mean over the last axis of what is defined: NaN is left out, and all NaN gives NaN."""
    defined = ~np.isnan(values)
    count = defined.sum(axis=-1)
    total = np.where(defined, values, 0.0).sum(axis=-1)
    means: F64 = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=np.asarray(count > 0))
    return means


def effective(support: F64) -> float:
    """Return the n for which a share has the variance of a mean of shares over classes of `support` pictures each."""
    present = support[support > 0]
    return float(len(present) ** 2 / (1 / present).sum()) if len(present) else 0.0


def _share(part: F64, whole: F64) -> F64:
    part, whole = np.broadcast_arrays(part, whole)
    shares: F64 = np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0)
    return shares
