"""Out-of-distribution scores (energy, softmax, kNN), larger for less familiar pictures, and how well they separate.

No out-of-distribution picture is needed to fit them: a threshold accepts a stated share of in-distribution pictures.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64
from beholder.base.records import Score
from beholder.measure.curves import auroc, of_area
from beholder.measure.families import CATEGORICAL, Family
from beholder.measure.intervals import interval
from beholder.measure.neighbours import nearest, unit

NAMES = ("energy", "softmax", "knn")

NEIGHBOURS = 10
"""The distance to this nearest reference is the score `knn`; fewer where there are few."""


def energy(logits: npt.ArrayLike, *, family: Family = CATEGORICAL) -> F64:
    """Return float64 (N,): the free energy of logits (N, W), -log Σ exp; for several labels the sum of each label's own.

    Of ordered classes it is the sum of each binary decision's own, with half the logit for and half against it.

    Source: W. Liu et al., Energy-based out-of-distribution detection, NeurIPS 2020; for several labels H. Wang et al., Can
    multi-label classification networks know what they don't know?, NeurIPS 2021.
    """
    return family.energy(np.asarray(logits, np.float64))


def softmax(logits: npt.ArrayLike, *, family: Family = CATEGORICAL) -> F64:
    """Return float64 (N,): one less the largest probability, of logits (N, W) as they are, not calibrated.

    Source: D. Hendrycks, K. Gimpel, A baseline for detecting misclassified and out-of-distribution examples, ICLR 2017.
    """
    return np.asarray(-np.expm1(family.logs(np.asarray(logits, np.float64)).max(axis=1)))


def knn(features: npt.ArrayLike, references: npt.ArrayLike, *, neighbours: int = NEIGHBOURS, itself: bool = False) -> F64:
    """Return float64 (N,): how far each row of features (N, F) lies from its k-th nearest reference (M, F), all of length 1.

    itself: the features are the references, and no row counts as its own neighbour. 0 where there is no reference.
    Source: Y. Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022.
    """
    rows = unit(features)
    cosines, _ = nearest(rows, unit(references), neighbours, itself=np.arange(len(rows)) if itself else None)
    if not cosines.shape[1]:
        return np.zeros(len(rows))
    return np.sqrt(np.maximum(2 - 2 * cosines[:, -1], 0)).astype(np.float64)


def threshold(scores: npt.ArrayLike, *, accept: float = 0.95) -> float:
    """Return the least score that a share `accept` of the pictures does not exceed: what exceeds it is out-of-distribution."""
    return float(np.quantile(np.asarray(scores, np.float64), accept, method="inverted_cdf"))


def separation(inside: npt.ArrayLike, outside: npt.ArrayLike) -> Score:
    """Return the AUROC of out-of-distribution scores, float (M,), against in-distribution ones, float (N,); `n` is N + M."""
    own, other = np.asarray(inside, np.float64), np.asarray(outside, np.float64)
    area, added = auroc(np.concatenate([own, other]), np.arange(len(own) + len(other)) >= len(own))
    return of_area(area, added, len(added), units=min(len(own), len(other)))


def fpr95(inside: npt.ArrayLike, outside: npt.ArrayLike, *, accept: float = 0.95, seed: int = 0, repeats: int = 500) -> Score:
    """Return the share of out-of-distribution pictures accepted where a share `accept` of the in-distribution ones is.

    The threshold is that of these own pictures, so both are drawn anew in the bootstrap behind the interval. What a draw of all
    gives is drawn itself: the k-th smallest of n places, which has the distribution of an ordered uniform value, and how many
    of m out-of-distribution pictures pass, which has a binomial one.
    """
    own, other = np.sort(np.asarray(inside, np.float64)), np.sort(np.asarray(outside, np.float64))
    n, m = len(own), len(other)
    if not n or not m:
        return Score(math.nan, math.nan, math.nan, m)
    rng = np.random.default_rng(seed)
    limit = threshold(own, accept=accept)
    k = max(1, math.ceil(round(n * accept, 9)))
    limits = own[np.minimum((n * rng.beta(k, n + 1 - k, repeats)).astype(np.int64), n - 1)]
    draws = rng.binomial(m, np.searchsorted(other, limits, "right") / m) / m
    value = float((other <= limit).mean())
    return interval(value, draws, m, units=float(m))
