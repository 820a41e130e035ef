"""Which pictures are kept where not all can be, and which are worth a label next: plain selections of rows.

Every selection is a pure function of its arguments. A stratum is a class; of several labels it is the rarest that a picture
has, so that rare labels keep a place (`strata_of`). Each stratum keeps its share of the budget, one picture at least.
Of near-duplicates one stands for all: the others are taken only where a stratum has nothing else left.

random  of each stratum rows drawn by chance
hard    of each stratum the highest scores (EL2N: M. Paul, S. Ganguli, G. K. Dziugaite, Deep learning on a data diet, NeurIPS
        2021)
spread  of each stratum the rows nearest to the centres of as many clusters of its features (B. Sorscher et al., Beyond neural
        scaling laws: beating power law scaling via data pruning, NeurIPS 2022, has the k-means)
mixed   coverage-centric: the highest scores are dropped, and the rest is drawn evenly over the range of scores (H. Zheng et
        al., Coverage-centric coreset selection for high pruning rates, ICLR 2023, algorithm 1), within each stratum
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F32, F64, I64, Values
from beholder.data.clusters import blocks, firsts, kmeans

WAYS = ("random", "hard", "spread", "mixed")

SCORED, FEATURED = ("hard", "mixed"), ("spread",)
"""The ways that go by scores, and those that go by features."""

SEEN, AT_A_TIME = 2048, 64
"""Rows, drawn by chance, by whose covering others are judged, at least, and how many are judged at a time."""

SURE = 0.3
"""What a row weighs of which the model has no doubt: with little learnt it is sure of much that it has wrong (docs/LOG.md)."""

BINS = 50
"""Equal ranges of scores that a stratum is drawn from, as in the paper."""


def strata_of(targets: Values) -> I64:
    """Return the stratum of each picture, int64 (N,): its class; of several labels the rarest it has, K where it has none.

    targets: int (N,), or 0 and 1 (N, K)

    >>> strata_of(np.array([[1, 1], [1, 0], [0, 0]]))
    array([1, 0, 2])
    """
    if targets.ndim == 1:
        return targets.astype(np.int64)
    counts = targets.sum(axis=0, dtype=np.int64)
    rarity = np.where(targets > 0, counts, np.iinfo(np.int64).max)
    return np.asarray(np.where(targets.any(axis=1), rarity.argmin(axis=1), targets.shape[1]), np.int64)


def quotas(sizes: npt.ArrayLike, count: int, *, balanced: bool = False) -> I64:
    """Return how many of `count` each stratum gets, int64 (K,): by its share, one at least.

    sizes: int (K,), what there is of each, `count` in all at least; with a count below K not each can have one
    balanced: as many of each instead, as far as there are; what small ones lack goes to the others

    >>> quotas([70, 20, 10], 10), quotas([70, 20, 2], 12, balanced=True)
    (array([7, 2, 1]), array([5, 5, 2]))
    """
    there = np.asarray(sizes, np.int64)
    return _evenly(there, count) if balanced else _by_share(there, count)


def _evenly(sizes: I64, count: int) -> I64:
    found, left = np.zeros(len(sizes), np.int64), count
    order = np.argsort(sizes, kind="stable")
    order = order[sizes[order] > 0]
    for place, k in enumerate(order.tolist()):
        found[k] = min(int(sizes[k]), left // (len(order) - place))
        left -= int(found[k])
    return found


def _by_share(sizes: I64, count: int) -> I64:
    exact = count * sizes / max(1, int(sizes.sum()))
    found = np.floor(exact).astype(np.int64)
    if count >= np.count_nonzero(sizes):
        found = np.maximum(found, sizes > 0)
    while (lacking := count - int(found.sum())) > 0:
        order = np.argsort(np.where(found < sizes, found - exact, np.inf), kind="stable")
        order = order[(found < sizes)[order]][:lacking]
        if not len(order):
            break
        found[order] += 1
    while found.sum() > count and (found > 1).any():  # small strata had to have one each
        found[np.argmax(np.where(found > 1, found - exact, -np.inf))] -= 1
    return found


@dataclass(frozen=True, eq=False)
class Ground:
    """What is chosen from: N pictures.

    strata: int64 (N,); units: int64 (N,), near-duplicates share a number (None: there are none)
    scores: float (N,), how hard each is, for `hard` and `mixed`; features: float32 (N, C) of length 1, for `spread`
    """

    strata: I64
    units: I64 | None = None
    scores: F32 | F64 | None = None
    features: F32 | None = None


Pick = Callable[[Ground, I64, int, np.random.Generator], I64]
"""(ground, rows int64 (M,), how many, generator) → so many of the rows."""


def select(by: str, ground: Ground, count: int, *, seed: int = 0, balanced: bool = False) -> I64:
    """Return `count` rows, int64 (count,) rising.

    by: one of `WAYS`; balanced: as many of each stratum, as far as there are, instead of each one's share
    """
    sizes = np.bincount(ground.strata)
    wanted, chosen = quotas(sizes, count, balanced=balanced), [np.zeros(0, np.int64)]
    for k in np.flatnonzero(wanted).tolist():
        rng = np.random.default_rng([seed, k])
        first, doubles = _apart(np.flatnonzero(ground.strata == k), ground.units, rng)
        n = int(wanted[k])
        if n < len(first):
            chosen.append(_PICKS[by](ground, first, n, rng))
        else:
            chosen += [first, rng.permutation(doubles)[: n - len(first)]]
    return np.sort(np.concatenate(chosen))


def _apart(rows: I64, units: I64 | None, rng: np.random.Generator) -> tuple[I64, I64]:
    """Return the rows of which one stands for each unit, drawn by chance, rising, and the others."""
    if units is None:
        return rows, rows[:0]
    order = rng.permutation(rows)
    first = np.sort(order[np.unique(units[order], return_index=True)[1]])
    return first, np.setdiff1d(rows, first)


def _random(ground: Ground, rows: I64, count: int, rng: np.random.Generator) -> I64:
    return rng.permutation(rows)[:count]


def _hard(ground: Ground, rows: I64, count: int, rng: np.random.Generator) -> I64:
    assert ground.scores is not None
    return rows[np.argsort(-ground.scores[rows], kind="stable")[:count]]


def _spread(ground: Ground, rows: I64, count: int, rng: np.random.Generator) -> I64:
    assert ground.features is not None
    home, near = kmeans(ground.features[rows], count, seed=int(rng.integers(2**31)))
    return rows[firsts(home, -near, count)]


def cut_of(kept: float) -> float:
    """Return which share of the hardest pictures `mixed` drops where the share `kept` is kept: none from a half on.

    The fewer are kept, the more of what is hard is beyond what they could teach. The paper searches it on a grid for each rate.

    >>> cut_of(0.7), round(cut_of(0.1), 3)
    (0.0, 0.3)
    """
    return 0.75 * max(0.0, 0.5 - kept)


def _mixed(ground: Ground, rows: I64, count: int, rng: np.random.Generator) -> I64:
    assert ground.scores is not None
    return covering(ground.scores, rows, count, cut=cut_of(count / len(rows)), rng=rng)


def covering(scores: F32 | F64, rows: I64, count: int, *, cut: float, rng: np.random.Generator) -> I64:
    """Return `count` of the rows, drawn evenly over the range of their scores without the hardest share `cut` of them."""
    order = rows[np.argsort(scores[rows], kind="stable")]
    order = order[: max(count, len(order) - int(cut * len(order)))]
    low, high = float(scores[order[0]]), float(scores[order[-1]])
    place = (scores[order] - low) / max(high - low, 1e-12) * min(BINS, count)
    bins = np.minimum(place.astype(np.int64), min(BINS, count) - 1)
    wanted = quotas(np.bincount(bins), count, balanced=True)
    return np.concatenate([rng.permutation(order[bins == k])[: wanted[k]] for k in np.flatnonzero(wanted)])


_PICKS: dict[str, Pick] = {"random": _random, "hard": _hard, "spread": _spread, "mixed": _mixed}


def el2n(probabilities: Values, targets: Values) -> F32:
    """Return the length of the error vector of each picture, float32 (N,): probabilities and hot targets (N, K)."""
    return np.asarray(np.linalg.norm(np.asarray(probabilities, np.float32) - targets, axis=1), np.float32)


def to_label(features: F32, margins: F32 | F64, count: int, *, known: F32 | None = None, seed: int = 0) -> I64:
    """Return the rows that are worth a label, int64 (count,), the most worthwhile first: what is doubtful gets covered.

    features: float32 (N, C) of length 1; margins: float (N,) in 0..1, how much surer a model is of its answer than of the next
    known: features of what is labelled, float32 (M, C) of length 1
    The most alike labelled row covers a row, by exp(-d²), d their distance. One after the other the row is taken that adds most
    to the covering of all, each weighing from `SURE` to 1 by its doubt, in memory that grows with the rows alone.
    Source: W. Bae, G. L. Oliveira, D. J. Sutherland, Uncertainty herding: one active learning method for all label budgets,
    ICLR 2025, here with a kernel of one width, and margins as they are.
    """
    doubts = 1 - (1 - SURE) * np.asarray(margins, np.float32)
    others = features[:0] if known is None else known
    found, gains = [np.zeros(0, np.int64)], [np.zeros(0)]
    for number, (block, _, size) in enumerate(blocks(len(features), count, seed)):
        rows, gained = _covering(features[block], doubts[block], size, others, np.random.default_rng([seed, number]))
        found.append(block[rows])
        gains.append(gained)
    return np.concatenate(found)[np.argsort(-np.concatenate(gains), kind="stable")]


def _covering(rows: F32, doubts: F32, count: int, known: F32, rng: np.random.Generator) -> tuple[I64, F64]:
    """Return `count` rows, int64 (count,), each adding most to what those before it cover, and how much each adds, float64.

    The more is covered, the less is left to add: so a row of which it was once too little is not looked at again (M. Minoux,
    Accelerated greedy algorithms for maximizing submodular set functions, 1978).
    """
    if count >= len(rows):
        return np.arange(len(rows)), doubts.astype(np.float64)
    seen = rng.permutation(len(rows))[: max(SEEN, 2 * count)]
    theirs, weights, covered = rows[seen], doubts[seen] / len(seen), np.zeros(len(seen), np.float32)
    for at in range(0, len(known), AT_A_TIME):
        covered = np.maximum(covered, _alike(known[at : at + AT_A_TIME], theirs).max(axis=0))
    most, found, gains = np.full(len(rows), np.inf), [], []
    for _ in range(count):
        best = -1
        while best < 0 or most[best] < most.max():
            likely = np.argpartition(-most, min(AT_A_TIME, len(most)) - 1)[:AT_A_TIME]
            likely = likely[most[likely] >= 0]
            alike = _alike(rows[likely], theirs)
            most[likely] = np.maximum(alike - covered, 0) @ weights
            place = int(most[likely].argmax())
            best = int(likely[place])
        found.append(best)
        gains.append(float(most[best]))
        covered, most[best] = np.maximum(covered, alike[place]), -1
    return np.array(found, np.int64), np.array(gains)


def _alike(rows: F32, others: F32) -> F32:
    """Return how alike rows of length 1 are, float32 (N, M): 1 where they are the same, 0.14 where they are at right angles."""
    return np.asarray(np.exp(2 * (rows @ others.T) - 2), np.float32)
