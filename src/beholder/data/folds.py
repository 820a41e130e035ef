"""Folds for out-of-fold predictions: stratified, seeded; duplicates and groups are never split."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from beholder.base.arrays import I64, U8
from beholder.base.order import numbered
from beholder.base.records import Pictures
from beholder.data.split import unit_of
from beholder.duplicates.near import Twins


def folds(pictures: Pictures, *, count: int = 5, seed: int = 0, same: U8 | None = None, twins: Twins | None = None) -> I64:
    """Return the fold of each picture, int64 (N,) in 0..count-1; each fold has about the same share of every class.

    same: uint8 (N, B), such as a digest of the pixels: pictures of equal rows stay together, like those of equal digests and
    of one group; rows of zeros say nothing. twins: near ones. The pictures must have digests.
    """
    unit = unit_of(_tied(pictures, same), twins)
    kind = numbered(pictures.targets)
    sizes = np.bincount(unit)
    order = np.random.default_rng(seed).permutation(len(sizes))
    first = np.full(len(sizes), -1, np.int64)
    first[unit[::-1]] = np.arange(len(unit))[::-1]  # a picture that stands for its unit
    held = np.zeros((count, int(kind.max(initial=0)) + 1), np.int64)
    chosen = np.full(len(sizes), -1, np.int64)
    large = order[sizes[order] > 1]
    for u in large[np.argsort(-sizes[large], kind="stable")].tolist():
        label = kind[first[u]]
        chosen[u] = np.lexsort((held.sum(axis=1), held[:, label]))[0]
        held[chosen[u], label] += sizes[u]
    single = order[sizes[order] == 1]
    labels = kind[first[single]]
    for label in np.unique(labels):
        mine = single[labels == label]
        chosen[mine] = _dealt(held, int(label), len(mine))
    return np.asarray(chosen[unit], np.int64)


def _tied(pictures: Pictures, same: U8 | None) -> Pictures:
    """Return the pictures with the content codes in place of their digests, where there are some."""
    if same is None or pictures.digests is None:
        return pictures
    codes = np.zeros_like(pictures.digests)
    codes[:, : same.shape[1]] = same
    nothing = ~same.any(axis=1)
    codes[nothing] = pictures.digests[nothing]
    return replace(pictures, digests=codes)


def _dealt(held: I64, label: int, n: int) -> I64:
    """Return folds for `n` pictures of one class, int64 (n,), the emptiest first; counts them in `held` (count, kinds)."""
    fullness = np.argsort(np.argsort(held.sum(axis=1), kind="stable"))
    slots = held[:, label][:, None] + np.arange(n) + fullness[:, None] / len(held)
    found = np.argsort(slots, axis=None, kind="stable")[:n] // n
    held[:, label] += np.bincount(found, minlength=len(held))
    return found
