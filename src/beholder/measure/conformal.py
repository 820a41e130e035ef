"""Conformal prediction: for each picture a prediction set that holds the right one as often as was promised.

The promise is about the long run over validation parts and new pictures drawn alike, whatever the net is: a threshold fitted on
n pictures keeps it on average, and one validation part's own coverage lies about it as `spread` tells.
Sources: A. Angelopoulos, S. Bates, Conformal prediction: a gentle introduction, Foundations and Trends in ML 16 (2023);
`least` is LAC (M. Sadinle, J. Lei, L. Wasserman, JASA 114, 2019); `adaptive` is APS (Y. Romano, M. Sesia, E. Candès,
NeurIPS 2020) with the mass before a class as its score, which needs no randomness: its sets always contain the prediction, and
cover more than was asked for where the predictions alone do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from beholder.base.arrays import F64, Bools, Floating, Values
from beholder.base.brief import shown
from beholder.base.errors import UsageError

KINDS = ("least", "adaptive")


@dataclass(frozen=True)
class Sets:
    """How sets are made: a class is in the set where its score is at most its threshold.

    kind: least | adaptive; coverage: the promise, in 0..1; thresholds: K numbers, 1 where a class is in every set for want
    of pictures; n: validation pictures behind it; counts: those behind each threshold; per_class: whether each
    class has a promise of its own
    """

    kind: str
    coverage: float
    thresholds: tuple[float, ...]
    n: int
    counts: tuple[int, ...]
    per_class: bool = False

    __repr__ = shown

    def __call__(self, probabilities: Floating) -> Bools:
        """Return which classes are in the sets of N pictures: bool (N, K) for probabilities (N, K)."""
        return np.asarray(_scores(probabilities, self.kind) <= np.array(self.thresholds))


def fit(probabilities: Floating, targets: Values, *, coverage: float, per_class: bool = False, kind: str = "least") -> Sets:
    """Return the sets that hold the right class with probability `coverage`, fitted on validation pictures.

    probabilities: float (N, K); targets: int (N,), or 0 and 1 (N, K): then each label that a picture has is in its
    set with that probability, class by class, and the kind is "least".
    Raises `UsageError` for another kind or a coverage outside 0..1.
    """
    if kind not in KINDS or not 0 < coverage < 1:
        raise UsageError(f"no sets of kind '{kind}' with coverage {coverage}", code="bad-value", hint="least or adaptive; 0.9")
    several = targets.ndim == 2
    kind = "least" if several else kind
    n, k = np.shape(probabilities)
    scores = _scores(probabilities, kind)
    if several or per_class:
        truth = targets.astype(bool) if several else np.eye(k, dtype=bool)[targets]
        columns = [scores[truth[:, c], c] for c in range(k)]
        thresholds = tuple(_quantile(column, coverage) for column in columns)
        return Sets(kind, coverage, thresholds, n, tuple(map(len, columns)), per_class=True)
    threshold = _quantile(scores[np.arange(n), targets], coverage)
    return Sets(kind, coverage, (threshold,) * k, n, (n,) * k)


def spread(n: int, coverage: float, *, level: float = 0.95) -> tuple[float, float]:
    """Return between what the coverage of a threshold lies that was fitted on n pictures, in `level` of all validation parts.

    It has a Beta(r, n + 1 - r) distribution with r = ⌈(n + 1) coverage⌉ (where no two scores are equal).
    Source: V. Vovk, Conditional validity of inductive conformal predictors, ACML (2012).
    """
    from scipy.special import betaincinv  # scipy.stats, which has the same, takes half a second to import

    r = _rank(n, coverage)
    if r > n:
        return 1.0, 1.0
    low, high = betaincinv(r, n + 1 - r, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _rank(n: int, coverage: float) -> int:
    # Rounding keeps (n + 1) · 0.95 at the whole number that it is.
    return math.ceil(round((n + 1) * coverage, 9))


def _quantile(scores: F64, coverage: float) -> float:
    """Return the ⌈(n + 1) coverage⌉-th smallest score; 1, the largest there is, where n is too small for the promise."""
    r = _rank(len(scores), coverage)
    return float(np.sort(scores)[r - 1]) if r <= len(scores) else 1.0


def _scores(probabilities: Floating, kind: str) -> F64:
    """Return how ill each class fits, float64 (N, K) in 0..1."""
    p = np.asarray(probabilities, np.float64)
    if kind == "least":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1) - np.take_along_axis(p, order, axis=1)
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, np.minimum(before, 1.0), axis=1)
    return scores
