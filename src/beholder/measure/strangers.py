"""How strange a picture is to a recogniser: three scores, the larger the stranger, and how well they tell strangers.

Strangers are pictures of none of the classes. Scores need no stranger to be fitted: a threshold lets a stated share of the
recogniser's own kind of pictures pass.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from beholder.base.records import Score
from beholder.measure.intervals import interval, wilson

Floats = npt.NDArray[np.float64]

NAMES = ("energy", "softmax", "knn")

NEIGHBOURS = 10
"""The distance to this nearest reference is the score `knn`; fewer where there are few."""

_ROWS = 1024


def energy(logits: npt.ArrayLike, *, multi: bool = False) -> Floats:
    """Return float64 (N,): the free energy of logits (N, K), -log Σ exp; for several labels the sum of each label's own.

    Source: W. Liu et al., Energy-based out-of-distribution detection, NeurIPS 2020; for several labels H. Wang et al., Can
    multi-label classification networks know what they don't know?, NeurIPS 2021.
    """
    values = np.asarray(logits, np.float64)
    found = np.logaddexp(0, values).sum(axis=1) if multi else _log_sum(values)
    return np.asarray(-found, np.float64)


def softmax(logits: npt.ArrayLike, *, multi: bool = False) -> Floats:
    """Return float64 (N,): one less the largest probability, of logits (N, K) as they are, not calibrated.

    Source: D. Hendrycks, K. Gimpel, A baseline for detecting misclassified and out-of-distribution examples, ICLR 2017.
    """
    values = np.asarray(logits, np.float64)
    best = values.max(axis=1)
    return np.asarray(1 / (1 + np.exp(best)) if multi else -np.expm1(best - _log_sum(values)), np.float64)


def knn(features: npt.ArrayLike, references: npt.ArrayLike, *, neighbours: int = NEIGHBOURS, itself: bool = False) -> Floats:
    """Return float64 (N,): how far each row of features (N, F) lies from its k-th nearest reference (M, F), all of length 1.

    itself: the features are the references, and no row counts as its own neighbour. 0 where there is no reference.
    Source: Y. Sun et al., Out-of-distribution detection with deep nearest neighbors, ICML 2022.
    """
    rows, others = _unit(features), _unit(references)
    kth = min(neighbours, len(others) - itself)
    if kth < 1:
        return np.zeros(len(rows))
    found = np.empty(len(rows))
    for start in range(0, len(rows), _ROWS):
        squared = np.maximum(2 - 2 * (rows[start : start + _ROWS] @ others.T), 0)
        if itself:
            squared[np.arange(len(squared)), start + np.arange(len(squared))] = np.inf
        found[start : start + _ROWS] = np.sqrt(np.partition(squared, kth - 1, axis=1)[:, kth - 1])
    return found


def threshold(scores: npt.ArrayLike, *, accept: float = 0.95) -> float:
    """Return the least score that a share `accept` of the pictures does not exceed: what exceeds it is called a stranger."""
    return float(np.quantile(np.asarray(scores, np.float64), accept, method="inverted_cdf"))


def auroc(inside: npt.ArrayLike, outside: npt.ArrayLike) -> Score:
    """Return how often a stranger has the larger score than one of the own pictures, ties counting half, with its interval.

    inside: float (N,); outside: float (M,). The interval is Wilson's at the n at which a share has DeLong's variance, but at
    most twice the smaller of N and M, for near 1 that variance is too small; where nothing overlaps, at the smaller one.
    `n` is N + M.
    Source: E. DeLong et al., Biometrics 44 (1988).
    """
    own, other = np.asarray(inside, np.float64), np.asarray(outside, np.float64)
    n, m = len(own), len(other)
    if not n or not m:
        return Score(math.nan, math.nan, math.nan, n + m)
    of_other, of_own = _below(own, other), 1 - _below(other, own)
    area = float(of_other.mean())
    variance = of_other.var(ddof=1) / m + of_own.var(ddof=1) / n if min(n, m) > 1 else 0.0
    units = min(area * (1 - area) / variance, 2.0 * min(n, m)) if variance > 1e-12 and 0 < area < 1 else float(min(n, m))
    found = wilson(area * units, units)
    return Score(area, min(found.low, area), max(found.high, area), n + m)


def fpr95(inside: npt.ArrayLike, outside: npt.ArrayLike, *, accept: float = 0.95, seed: int = 0, repeats: int = 500) -> Score:
    """Return the share of strangers that pass where a share `accept` of the own pictures passes, with its interval.

    The threshold is that of these own pictures, so both are drawn anew in the bootstrap behind the interval. What a draw of all
    gives is drawn itself: the k-th smallest of n places, which has the distribution of an ordered uniform value, and how many
    of m strangers pass, which has a binomial one.
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


def _below(values: Floats, than: Floats) -> Floats:
    """Return for each of `than` the share of `values` that is less, ties counting half."""
    ordered = np.sort(values)
    both = np.searchsorted(ordered, than, "left") + np.searchsorted(ordered, than, "right")
    return np.asarray(both / (2 * len(values)), np.float64)


def _log_sum(values: Floats) -> Floats:
    most = values.max(axis=1)
    return np.asarray(most + np.log(np.exp(values - most[:, None]).sum(axis=1)), np.float64)


def _unit(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    values = np.asarray(rows, np.float32)
    return np.asarray(values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-12), np.float32)
