"""Which pictures to ask a person about next, and as what: a linear head on the features of a frozen net, clusters before it.

A grid is of pictures that are thought to be of one class, or typical of all while there is no head. It is ordered so that what
looks alike lies side by side: the mistakes of a head are alike too, and a run of them is marked at once. What a person did not
take for a class is never proposed as that class again.
Typical ones first, then a head: M. Hacohen, A. Dekel, D. Weinshall, Active learning on a budget (2022); S. Gupte et al.,
Revisiting active learning in the era of vision foundation models (2024). Order: Z. Bar-Joseph, D. Gifford, T. Jaakkola, Fast
optimal leaf ordering for hierarchical clustering, Bioinformatics 17 (2001).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F16, F32, I64, Bools
from beholder.base.order import spread
from beholder.data.clusters import firsts, kmeans
from beholder.measure.neighbours import unit

DECAY = 1e-4
"""Strength of the L2 penalty, of features centred and of length 1."""

LOOKED = 4096
"""Pictures that the mean of the features is taken from, and among which the typical ones are looked for, at most."""

LEARNT = 4000
"""Labels that the head is fitted on at most, the same number of each class if it can be: a fit takes a fraction of a second."""

BLOCK = 8192
"""Pictures whose features are float32 at a time."""

FIRST, EACH = 8, 6
"""Labels from which on a head is fitted, if all classes are among them; if not, so many times as many as there are classes."""


@dataclass(frozen=True, eq=False)
class Grid:
    """What is shown next.

    asked: the class it is thought to show, -1 = nobody knows
    rows: of the pictures, int64 (M,); p: probability of the class, float32 (M,), NaN where there is none
    """

    asked: int
    rows: I64
    p: F32


def unasked(rows: I64) -> Grid:
    """Return the grid of pictures of which nobody knows the class."""
    return Grid(-1, rows, np.full(len(rows), np.nan, np.float32))


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
        self._mean = features[some].astype(np.float32).mean(axis=0) if len(some) else np.zeros(features.shape[1], np.float32)

    def of(self, rows: I64) -> F32:
        """Return the features of some pictures as the head and the clusters see them: centred, of length 1, float32 (M, F)."""
        return unit(self._features[rows].astype(np.float32) - self._mean)

    def fitted(self, rows: I64, labels: I64) -> Head | None:
        """Return a head that has learnt from pictures with these labels, int64 (M,) both; None where they are too few."""
        there = self.known[rows]
        rows, labels = rows[there], labels[there]
        seen = len(np.unique(labels))
        if len(rows) < FIRST or seen < 2 or (seen < self.classes and len(rows) < EACH * self.classes):
            return None
        from torch import from_numpy

        from beholder.nets.head import regressed
        from beholder.tasks.single import SINGLE

        chosen = _balanced(labels, LEARNT, self._seed)
        hot = np.eye(self.classes, dtype=np.float32)[labels[chosen]]
        weight, bias = regressed(from_numpy(self.of(rows[chosen])), from_numpy(hot), task=SINGLE, decay=DECAY)
        return Head(self, weight.numpy(), bias.numpy())

    def clusters(self, rows: I64, count: int) -> tuple[I64, F32]:
        """Return the cluster of each picture, int64 (M,), and its cosine to the centre, float32 (M,)."""
        return kmeans(self.of(rows), min(count, len(rows)), seed=self._seed)


@dataclass(frozen=True, eq=False)
class Head:
    """A fitted head: weight (K, F), bias (K,)."""

    presorter: Presorter
    weight: F32
    bias: F32

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


def typical(presorter: Presorter, rows: I64, size: int) -> Grid:
    """Return one picture of each of `size` clusters, the nearest to its centre; without features the first ones.

    A head that learns from so varied a start is soon right about the rest: one that begins with a single cluster is not.
    """
    known = rows[presorter.known[rows]]
    if not len(known):
        return unasked(rows[:size])
    if len(known) > size:
        known = known[spread(len(known), LOOKED)]
        home, near = presorter.clusters(known, size)
        known = known[firsts(home, -near, size)]
    return unasked(known[_ordered(presorter.of(known))])


def likely(presorter: Presorter, p: F32, rows: I64, size: int) -> Grid:
    """Return the grid of the class that is expected to take the fewest clicks a picture; p: float32 (M, K) of the rows."""
    best, found, least = p.argmax(axis=1), np.zeros(0, np.int64), np.inf
    for k in np.unique(best).tolist():
        there = np.flatnonzero(best == k)
        there = there[np.argsort(-p[there, k], kind="stable")][:size]
        right = float(p[there, k].sum())
        cost = (1 + len(there) - right) / right
        if cost < least:
            asked, found, least = k, there, cost
    order = found[_ordered(np.concatenate([presorter.of(rows[found]), np.sqrt(p[found])], axis=1))]
    return Grid(asked, rows[order], p[order, asked])


def _ordered(points: F32) -> I64:
    """Return the order of points (M, D) in which neighbours are alike, int64 (M,)."""
    if len(points) < 3:
        return np.arange(len(points))
    from scipy.cluster.hierarchy import leaves_list, linkage

    return np.asarray(leaves_list(linkage(points, "average", optimal_ordering=True)), np.int64)
