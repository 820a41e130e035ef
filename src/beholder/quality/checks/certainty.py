"""The posterior probability that a label is wrong, estimated from the set itself.

A net that never saw a picture says how probable each class is. It errs, and so may the label; where the two disagree, one of
them is wrong. They differ in where: a net errs the less often the surer it is, while a label is wrong as often where the net is
sure as anywhere. How fast the one falls, and whether there is a floor under it, is read from the set itself; what it cannot say
(it is small, the net is sure of little, people err where the net errs) stays open, and no label is then called wrong.

The floor is the uniform noise of Dawid & Skene (1979), with the net in the place of the other raters; that sureness says how
often a net errs is Platt's scaling (1999; Guo et al. 2017) with one shape more. What was compared is in docs/LOG.md.
"""

from __future__ import annotations

import numpy as np

from beholder.base.arrays import F64, I64, Bools, Floating

WIDTHS = np.geomspace(0.3, 4.0, 18)
SHAPES = (0.7, 0.85, 1.0, 1.2, 1.45, 1.75, 2.1)
"""How a net's errors may fall: by exp(-(behind / width) ** shape), the given class being `behind` the net's own in log-odds."""

SHARES = np.concatenate([[0.0], np.geomspace(0.0003, 0.6, 40)])
"""Shares of wrong labels that are weighed against each other."""

CLEAN = 0.5
"""Belief, before anything is seen, that no label of a set is wrong; the rest is spread over the other `SHARES` alike."""

TRUST = 0.5
"""Weight of what pictures say: each is asked about every pair of classes, and many are of one kind (composite likelihood)."""

BINS = np.concatenate([np.linspace(0.0, 8.0, 65), [9.0, 10.0, 12.0, 14.0]])
"""Edges within which pictures count as equally far behind: 14 is the most there is of probabilities of a millionth at least."""

FAINT = 0.0001
"""Weight beside the largest below which a way of falling is left out."""

TINY = 1e-300
"""Odds at least, so that no logarithm is of nothing."""

BLOCK = 1 << 21
"""Probabilities that are worked on at a time."""

Way = tuple[float, float, float, float]
"""How much it is believed, the width and the shape by which the net's errors fall, the share of wrong labels."""


def settled(probabilities: Floating, given: I64) -> F64:
    """Return how probable each class is given both the picture and its label, float64 (N, K); rows sum to 1.

    probabilities: (N, K), out of fold, without NaN, K at least 2; given: int64 (N,) in 0..K-1.
    Every way in which the net's errors may fall and every share of wrong labels (`_ways`) has its say by how probable it makes
    the labels of the set: so a small set, which fits many of them, gives no label up.
    """
    n, k = probabilities.shape
    logs = np.log(np.clip(probabilities.astype(np.float64), 1e-6, 1.0))
    behind = logs.max(axis=1, keepdims=True) - logs
    own = behind.argmin(axis=1)
    hard = _hard(own, given, k)
    ways = _ways(behind, own, given, hard)
    classes = np.empty((n, k))
    step = max(1, BLOCK // k)
    for kind, those in enumerate(ways):
        members = np.flatnonzero(hard[own, given] == kind)
        for start in range(0, len(members), step):
            some = members[start : start + step]
            classes[some] = sum(weight * _given(behind[some], given[some], *way) for weight, *way in those)
    return classes


def _hard(own: I64, given: I64, k: int) -> Bools:
    """Return which pairs of the net's class and the given one, (K, K), are confused oftenest: they have half of all confusions.

    There the net errs in a way of its own, more and surer than elsewhere, so that what it says counts for less.
    """
    counts = np.bincount(own * k + given, minlength=k * k).reshape(k, k).astype(np.float64)
    rates = counts / np.maximum(np.diag(counts), 1.0)[:, None]
    np.fill_diagonal(counts, 0.0)
    np.fill_diagonal(rates, 0.0)
    order = np.argsort(-rates, axis=None, kind="stable")
    before = np.cumsum(counts.ravel()[order]) - counts.ravel()[order]
    hard = np.zeros(k * k, bool)
    hard[order[(before < counts.sum() / 2) & (counts.ravel()[order] > 0)]] = True
    return hard.reshape(k, k)


def _given(behind: F64, given: I64, width: float, shape: float, share: float) -> F64:
    """Return the probability of each class, (N, K), given the label, under one way of falling and one share of wrong labels."""
    rows = np.arange(len(given))
    joint = np.exp(-((behind / width) ** shape))
    own = joint[rows, given]
    joint *= share / (behind.shape[1] - 1)
    joint[rows, given] = (1 - share) * own + TINY
    return np.asarray(joint / joint.sum(axis=1, keepdims=True))


def _ways(behind: F64, own: I64, given: I64, hard: Bools) -> tuple[list[Way], list[Way]]:
    """Return the ways of pairs of classes that are not `hard`, and of those that are; the weights of each sum to 1.

    behind: (N, K), how far each class is behind the net's own, in log-odds. The net's own class and one other are weighed where
    the label is one of the two: a picture whose label is the net's own speaks for it against every other class, another one for
    its label. Both are counted by how far behind the other class is. Errors between hard pairs fall in a way of their own; the
    share of wrong labels is one for all.
    """
    rows, k = np.arange(len(given)), behind.shape[1]
    agree = own == given
    others = np.repeat(agree[:, None], k, axis=1)
    others[rows, own] = False
    width, shape = (axis.ravel()[:, None, None] for axis in np.meshgrid(WIDTHS, SHAPES, indexing="ij"))
    floor = (SHARES / ((k - 1) * (1 - SHARES)))[None, :, None]
    fits = []
    for kind in (False, True):
        kept, at_kept = _counted(behind[others & (hard[own] == kind)])
        lost, at_lost = _counted(behind[rows, given][~agree & (hard[own, given] == kind)])
        for_own, for_given = (np.exp(-((at / width) ** shape)) + floor + TINY for at in (at_kept, at_lost))
        fit = (lost * np.log(for_given / (1 + for_given))).sum(axis=2) - (kept * np.log1p(for_own)).sum(axis=2)
        fits.append(TRUST * fit)
    evidence = [np.logaddexp.reduce(fit, axis=0) for fit in fits]
    belief = np.exp(sum(evidence) - np.max(sum(evidence))) * np.where(SHARES == 0, CLEAN, (1 - CLEAN) / (len(SHARES) - 1))
    plain, often = (np.exp(fit - seen) * belief for fit, seen in zip(fits, evidence, strict=True))
    return _listed(plain, width.ravel(), shape.ravel()), _listed(often, width.ravel(), shape.ravel())


def _listed(weights: F64, width: F64, shape: F64) -> list[Way]:
    """Return the ways with weights, (widths and shapes, shares), that are not too `FAINT`."""
    rows, columns = np.nonzero(weights >= FAINT * weights.max())
    some = weights[rows, columns] / weights[rows, columns].sum()
    return list(zip(some.tolist(), width[rows].tolist(), shape[rows].tolist(), SHARES[columns].tolist(), strict=True))


def _counted(values: F64) -> tuple[F64, F64]:
    """Return how many values are within each pair of `BINS` that has any, and their means."""
    counts = np.histogram(values, BINS)[0].astype(np.float64)
    sums = np.histogram(values, BINS, weights=values)[0]
    some = counts > 0
    return counts[some], sums[some] / counts[some]
