"""Clusters of features: principal components, and spherical k-means in memory that grows with the rows alone.

Directions count, not lengths: rows are compared by cosine, as everywhere (`measure.neighbours`).
Sources: I. Dhillon, D. Modha, Concept decompositions for large sparse text data using clustering, Machine Learning 42 (2001);
D. Arthur, S. Vassilvitskii, k-means++: the advantages of careful seeding, SODA 2007.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F32, F64, I64
from beholder.measure.neighbours import nearest, unit

COMPONENTS = 128
"""Principal components that clusters are made of: of 1,280 features they hold nearly all that tells pictures apart."""

SAMPLE = 2048
"""Rows, at most, of which the components are found, so that no matrix has more rows and columns, however wide features are."""

ROUNDS = 10
"""Rounds of k-means at most."""

AT_ONCE = 20_000_000
"""Rows times clusters beyond which the rows are divided by chance into blocks, each with its share of the clusters."""


@dataclass(frozen=True, eq=False)
class Axes:
    """The principal axes of standardised features. mean, std: float64 (F,); axes: float64 (F, C)."""

    mean: F64
    std: F64
    axes: F64

    @classmethod
    def of(cls, rows: F32, *, most: int = COMPONENTS) -> Axes:
        """Return the axes of features, float32 (N, F): C is `most`, or less where there are fewer rows or columns."""
        from scipy.linalg import eigh

        values = rows[:SAMPLE].astype(np.float64)
        mean, std = values.mean(axis=0), np.maximum(values.std(axis=0), 1e-4)
        values = (values - mean) / std
        few, size = len(values) < values.shape[1], min(values.shape)
        square = values @ values.T if few else values.T @ values
        count = min(most, size)
        found = eigh(square, subset_by_index=[size - count, size - 1], driver="evr")[1][:, ::-1]
        axes = values.T @ found if few else found
        return cls(mean, std, axes / np.maximum(np.linalg.norm(axes, axis=0), 1e-12))

    def __call__(self, rows: F32) -> F32:
        """Return the coordinates of features (N, F) along the axes, float32 (N, C)."""
        out = np.empty((len(rows), self.axes.shape[1]), np.float32)
        for at in range(0, len(rows), SAMPLE):
            out[at : at + SAMPLE] = ((rows[at : at + SAMPLE] - self.mean) / self.std) @ self.axes
        return out


def kmeans(rows: F32, count: int, *, seed: int = 0) -> tuple[I64, F32]:
    """Return the cluster of each row, int64 (N,) in 0..count-1, and its cosine to the centre, float32 (N,).

    rows: float32 (N, C), of length 1 each; 1 ≤ count ≤ N. Some clusters may be empty where rows are equal.
    Of many rows and clusters, blocks of the rows drawn by chance are clustered apart (`AT_ONCE`).
    """
    home, near = np.zeros(len(rows), np.int64), np.ones(len(rows), np.float32)
    for number, (block, first, size) in enumerate(blocks(len(rows), count, seed)):
        theirs, cosine = _clustered(rows[block], size, np.random.default_rng([seed, number]))
        home[block], near[block] = first + theirs, cosine
    return home, near


def blocks(n: int, count: int, seed: int) -> Iterator[tuple[I64, int, int]]:
    """Yield (rows of a block, number of its first cluster, its clusters)."""
    blocks = max(1, min(count, math.ceil(math.sqrt(n * count / AT_ONCE))))
    order = np.random.default_rng(seed).permutation(n) if blocks > 1 else np.arange(n)
    ends = np.linspace(0, count, blocks + 1).astype(np.int64)
    rows = (ends * n) // count
    for k in range(blocks):
        yield np.sort(order[rows[k] : rows[k + 1]]), int(ends[k]), int(ends[k + 1] - ends[k])


def _clustered(rows: F32, count: int, rng: np.random.Generator) -> tuple[I64, F32]:
    if count >= len(rows):
        return np.arange(len(rows)), np.ones(len(rows), np.float32)
    centres, home = _seeds(rows, count, rng), np.full(len(rows), -1, np.int64)
    for _ in range(ROUNDS):
        cosine, found = nearest(rows, centres, 1)
        if (found[:, 0] == home).all():
            break
        home = found[:, 0]
        centres = _means(rows, home, centres, cosine[:, 0])
    cosine, found = nearest(rows, centres, 1)
    return found[:, 0], cosine[:, 0]


def _seeds(rows: F32, count: int, rng: np.random.Generator) -> F32:
    """Return the first centres, float32 (count, C): each a row drawn by its distance to those before it."""
    places = [int(rng.integers(len(rows)))]
    away = np.maximum(1 - rows @ rows[places[0]], 0)
    for _ in range(count - 1):
        total = away.cumsum(dtype=np.float64)
        drawn = int(np.searchsorted(total, rng.random() * total[-1], side="right")) if total[-1] > 0 else len(places)
        places.append(min(drawn, len(rows) - 1))
        away = np.minimum(away, np.maximum(1 - rows @ rows[places[-1]], 0))
    return rows[places]


def _means(rows: F32, home: I64, centres: F32, cosine: F32) -> F32:
    """Return the directions of the means of the clusters; an empty one takes the row that is farthest from its own centre."""
    order = np.argsort(home, kind="stable")
    names, starts = np.unique(home[order], return_index=True)
    found = centres.copy()
    found[names] = unit(np.add.reduceat(rows[order], starts, axis=0))
    empty = np.setdiff1d(np.arange(len(centres)), names)
    found[empty] = rows[np.argsort(cosine, kind="stable")[: len(empty)]]
    return found


def firsts(home: I64, key: F32 | F64, count: int) -> I64:
    """Return `count` rows, int64 (count,): of each cluster the row with the least key, then, where clusters are empty, others.

    home: int64 (N,), as `kmeans` gives it for so many clusters; key: float (N,). The rows come by their key.
    """
    order = np.lexsort((key, home))
    starts = np.unique(home[order], return_index=True)[1]
    best = order[starts][:count]
    rest = np.setdiff1d(np.arange(len(home)), best)
    more = rest[np.argsort(key[rest], kind="stable")][: count - len(best)]
    return np.concatenate([best[np.argsort(key[best], kind="stable")], more]).astype(np.int64)
