"""Which pictures to ask a person about next, and as what: a linear head on the features of a frozen net, clusters before it.

A grid is of pictures that are likely of one class. Those more likely of it than not are ticked; a few that are less likely stand
behind them unticked, for a look at them is cheap: a click takes one along, none says that it is of another class. What a person
did not take for a class is never proposed as that class again.
Start from clusters, then a head: M. Hacohen, A. Dekel, D. Weinshall, Active learning on a budget (2022); S. Gupte et al.,
Revisiting active learning in the era of vision foundation models (2024).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F16, F32, I64, Bools
from beholder.base.order import spread
from beholder.data.clusters import kmeans
from beholder.measure.neighbours import unit

DECAY = 3e-4
"""Strength of the L2 penalty, of features with mean 0 and variance 1 divided by the square root of their number."""

LOOKED = 4096
"""Pictures that mean and variance of the features are taken from, and that are clustered, at most."""

LEARNT = 4000
"""Labels that the head is fitted on at most, the same number of each class if it can be: a fit takes a fraction of a second."""

BLOCK = 8192
"""Pictures whose features are float32 at a time."""

FIRST = 8
"""Labels from which on a head is fitted, if they are of two classes at least."""

PERHAPS = 0.25
"""Probability from which on a picture stands in a grid of a class, unticked below `TICKED`."""

TICKED = 0.5


@dataclass(frozen=True, eq=False)
class Grid:
    """What is shown next. asked: the class it is thought to show, -1 = alike, but of which class nobody knows

    rows: of the pictures, int64 (M,); ticked: bool (M,), those that a key takes unless the person changes that
    p: probability of the class, float32 (M,), NaN where there is none
    """

    asked: int
    rows: I64
    ticked: Bools
    p: F32


def no_grid() -> Grid:
    """Return the grid of nothing."""
    return Grid(-1, np.zeros(0, np.int64), np.zeros(0, np.bool_), np.zeros(0, np.float32))


class Presorter:
    """Knows the features of N pictures, float16 (N, F), rows of NaN where they are not known, F = 0: of none."""

    def __init__(self, features: F16, classes: int, *, seed: int = 0) -> None:
        self._features, self.classes, self._seed = features, classes, seed
        self.known: Bools = np.zeros(len(features), np.bool_)
        if features.shape[1]:
            for start in range(0, len(features), BLOCK):
                self.known[start : start + BLOCK] = np.isfinite(features[start : start + BLOCK]).all(axis=1)
        some = np.flatnonzero(self.known)
        some = some[spread(len(some), LOOKED)] if len(some) else some
        looked = features[some].astype(np.float32)
        self._mean = looked.mean(axis=0) if len(some) else np.zeros(features.shape[1], np.float32)
        scale = looked.std(axis=0) if len(some) else np.ones(features.shape[1], np.float32)
        self._scale = np.maximum(scale, 1e-3) * np.sqrt(max(features.shape[1], 1))

    def of(self, rows: I64) -> F32:
        """Return the features of some pictures as the head and the clusters see them, float32 (M, F)."""
        found: F32 = (self._features[rows].astype(np.float32) - self._mean) / self._scale
        return found

    def fitted(self, rows: I64, labels: I64) -> Head | None:
        """Return a head that has learnt from pictures with these labels, int64 (M,) both; None where they are too few."""
        there = self.known[rows]
        rows, labels = rows[there], labels[there]
        if len(rows) < FIRST or len(np.unique(labels)) < 2:
            return None
        from torch import from_numpy

        from beholder.nets.head import regressed
        from beholder.tasks.single import SINGLE

        chosen = _balanced(labels, LEARNT, self._seed)
        hot = np.eye(self.classes, dtype=np.float32)[labels[chosen]]
        weight, bias = regressed(from_numpy(self.of(rows[chosen])), from_numpy(hot), task=SINGLE, decay=DECAY)
        return Head(self, weight.numpy(), bias.numpy(), np.unique(labels))

    def clusters(self, rows: I64, count: int) -> tuple[I64, F32]:
        """Return the cluster of each picture, int64 (M,), and its cosine to the centre, float32 (M,)."""
        return kmeans(unit(self.of(rows)), min(count, len(rows)), seed=self._seed)


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head: weight (K, F), bias (K,). seen: the classes it has learnt of."""

    presorter: Presorter
    weight: F32
    bias: F32
    seen: I64

    def probabilities(self, rows: I64) -> F32:
        """Return the probabilities of the classes, float32 (M, K), rows of NaN where there are no features."""
        p = np.full((len(rows), len(self.bias)), np.nan, np.float32)
        for start in range(0, len(rows), BLOCK):
            some = rows[start : start + BLOCK]
            logits = self.presorter.of(some) @ self.weight.T + self.bias
            odds = np.exp(logits - logits.max(axis=1, keepdims=True))
            p[start : start + BLOCK] = odds / odds.sum(axis=1, keepdims=True)
        return p


def _balanced(labels: I64, most: int, seed: int) -> I64:
    """Return positions of `most` labels, or all where there are fewer: as many of each class, if it has them."""
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.random.default_rng(seed).permutation(len(labels))
    inside = np.empty(len(labels), np.int64)
    for k in np.unique(labels):
        rows = order[labels[order] == k]
        inside[rows] = np.arange(len(rows))
    return np.sort(np.argsort(inside, kind="stable")[:most])


def without(p: F32, rows: I64, rejected: Mapping[int, set[int]]) -> F32:
    """Return probabilities (M, K) without the classes that a person did not take a picture for; all gone: as they were."""
    p = p.copy()
    for at, row in enumerate(rows.tolist()):
        gone = rejected.get(row)
        if gone and len(gone) < p.shape[1]:
            p[at, list(gone)] = 0
            p[at] /= max(float(p[at].sum()), 1e-9)
    return p


def alike(presorter: Presorter, rows: I64, size: int, *, per: int) -> Grid:
    """Return `size` pictures at most that look alike, the nearest to their cluster's centre; those without features last.

    per: pictures that a cluster is to have about
    """
    known = rows[presorter.known[rows]]
    if not len(known):
        return _unasked(rows[:size])
    known = known[spread(len(known), LOOKED)]
    count = max(1, round(len(known) / per))
    found, near = presorter.clusters(known, count)
    sizes = np.bincount(found, minlength=count)
    mean = np.bincount(found, near, minlength=count) / np.maximum(sizes, 1)
    best = int(np.lexsort((-mean, -np.minimum(sizes, size)))[0])
    there = np.flatnonzero(found == best)
    return _unasked(known[there[np.argsort(-near[there], kind="stable")]][:size])


def _unasked(rows: I64) -> Grid:
    return Grid(-1, rows, np.ones(len(rows), np.bool_), np.full(len(rows), np.nan, np.float32))


def likely(p: F32, rows: I64, size: int) -> Grid:
    """Return the grid of the class of which the most pictures are expected among `size`; p: float32 (M, K) of the rows."""
    best = p.max(axis=1)
    fit = np.where(p >= np.minimum(PERHAPS, best)[:, None], p, 0)
    ordered = -np.sort(-fit, axis=0)[:size]
    asked = int(np.argmax(np.maximum(ordered, 0).sum(axis=0)))
    order = np.argsort(-fit[:, asked], kind="stable")[:size]
    order = order[fit[order, asked] > 0]
    share = p[order, asked]
    ticked = (share >= TICKED) | (p[order].argmax(axis=1) == asked) & (share >= PERHAPS)
    if not ticked.any():
        ticked = p[order].argmax(axis=1) == asked
    return Grid(asked, rows[order], np.asarray(ticked), share.astype(np.float32))
