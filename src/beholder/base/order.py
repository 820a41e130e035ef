"""Which pictures are taken, and in which order, where there may be time for only some."""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import I64, Values


def stratified(targets: Values, *, seed: int = 0) -> I64:
    """Return a fixed order of the positions, int64 (N,): of any first n, each class has nearly its share of the whole.

    targets: int (N,), or uint8 (N, K) of several labels, where pictures with the same labels count as a class

    >>> stratified(np.array([0, 0, 0, 0, 1, 1]))[:3] // 4
    array([0, 1, 0])
    """
    names = numbered(targets)
    draws = np.random.default_rng(seed)
    shuffled = draws.permutation(len(names))
    inside = np.empty(len(names))
    for name in np.unique(names):
        rows = shuffled[names[shuffled] == name]
        inside[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return np.lexsort((shuffled.argsort(), inside)).astype(np.int64)


def numbered(targets: Values) -> I64:
    """Return a number for the label, or set of labels, of each picture, int64 (N,); targets: int (N,), or uint8 (N, K)."""
    if not len(targets):
        return np.zeros(0, np.int64)
    return np.unique(targets, axis=0, return_inverse=True)[1].astype(np.int64).ravel()


def spread(n: int, most: int) -> I64:
    """Return `most` of n positions, or all where there are fewer, at even distances: int64 (M,), rising.

    >>> spread(10, 4)
    array([0, 3, 6, 9])
    """
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64))
