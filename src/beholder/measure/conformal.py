"""Conformal prediction: for each picture a set of classes that holds the right one as often as was promised.

The promise is about the long run over validation parts and new pictures drawn alike, whatever the net is: a threshold fitted on
n pictures keeps it on average, and one validation part's own coverage lies about it as `spread` tells.
Sources: A. Angelopoulos, S. Bates, Conformal prediction: a gentle introduction, Foundations and Trends in ML 16 (2023);
`least` is LAC (M. Sadinle, J. Lei, L. Wasserman, JASA 114, 2019); `adaptive` is APS (Y. Romano, M. Sesia, E. Candès,
NeurIPS 2020) with the mass before a class as its score, which needs no randomness: its sets always hold the guess, and cover
more than was promised where the guesses alone do.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

KINDS = ("least", "adaptive")


@dataclass(frozen=True, eq=False)
class Sets:
    """How sets are made: a class is in the set where its score is at most its threshold.

    kind: least | adaptive; coverage: the promise, in 0..1; thresholds: float64 (K,), 1 where a class is in every set for want
    of pictures; n: validation pictures behind it; counts: int64 (K,), those behind each threshold; per_class: whether each
    class has a promise of its own
    """

    kind: str
    coverage: float
    thresholds: Floats
    n: int
    counts: npt.NDArray[np.int64]
    per_class: bool = False

    def __call__(self, probabilities: npt.NDArray[np.floating]) -> Bools:
        """Return which classes are in the sets of N pictures: bool (N, K) for probabilities (N, K)."""
        return np.asarray(_scores(probabilities, self.kind) <= self.thresholds)

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values, and `spread` of all pictures."""
        return {
            "kind": self.kind,
            "coverage": self.coverage,
            "per_class": self.per_class,
            "thresholds": self.thresholds.tolist(),
            "n": self.n,
            "counts": self.counts.tolist(),
            "spread": list(spread(self.n, self.coverage)),
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Sets:
        """Return what `json` wrote."""
        thresholds, counts = np.array(value["thresholds"], np.float64), np.array(value["counts"], np.int64)
        return Sets(value["kind"], float(value["coverage"]), thresholds, int(value["n"]), counts, bool(value["per_class"]))


def fit(
    probabilities: npt.NDArray[np.floating],
    targets: npt.NDArray[Any],
    *,
    coverage: float,
    multi: bool = False,
    per_class: bool = False,
    kind: str = "least",
) -> Sets:
    """Return the sets that hold the right class with probability `coverage`, fitted on validation pictures.

    probabilities: float (N, K); targets: int (N,), or 0 and 1 (N, K) if `multi`: then each label that a picture has is in its
    set with that probability, class by class, and the kind is "least".
    Raises `UsageError` for another kind or a coverage outside 0..1.
    """
    if kind not in KINDS or not 0 < coverage < 1:
        raise UsageError(f"no sets of kind '{kind}' with coverage {coverage}", code="bad-value", hint="least or adaptive; 0.9")
    kind = "least" if multi else kind
    n, k = np.shape(probabilities)
    scores = _scores(probabilities, kind)
    if multi or per_class:
        truth = targets.astype(bool) if multi else np.eye(k, dtype=bool)[targets]
        columns = [scores[truth[:, c], c] for c in range(k)]
        thresholds = np.array([_quantile(column, coverage) for column in columns])
        return Sets(kind, coverage, thresholds, n, np.array([len(column) for column in columns]), per_class=True)
    threshold = _quantile(scores[np.arange(n), targets], coverage)
    return Sets(kind, coverage, np.full(k, threshold), n, np.full(k, n))


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


def _quantile(scores: Floats, coverage: float) -> float:
    """Return the ⌈(n + 1) coverage⌉-th smallest score; 1, the largest there is, where n is too small for the promise."""
    r = _rank(len(scores), coverage)
    return float(np.sort(scores)[r - 1]) if r <= len(scores) else 1.0


def _scores(probabilities: npt.NDArray[np.floating], kind: str) -> Floats:
    """Return how ill each class fits, float64 (N, K) in 0..1."""
    p = np.asarray(probabilities, np.float64)
    if kind == "least":
        return 1 - p
    order = np.argsort(-p, axis=1, kind="stable")
    before = np.cumsum(np.take_along_axis(p, order, axis=1), axis=1) - np.take_along_axis(p, order, axis=1)
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, np.minimum(before, 1.0), axis=1)
    return scores
