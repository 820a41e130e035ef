"""Calibration: whether a probability of 0.8 is right in eight of ten cases, and the scaling of logits that makes it so.

Temperature scaling divides all logits by one number; vector scaling has a factor and an offset for each class; where a picture
may carry several labels each class may have a temperature of its own. What is fitted has to prove itself on pictures
that it was not fitted on, or nothing is changed.
Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On calibration of modern neural networks, ICML (2017), sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Floating, Values
from beholder.base.brief import shown
from beholder.base.errors import UsageError
from beholder.measure.families import Family
from beholder.measure.intervals import cluster_numbers
from beholder.measure.reliability import calibration_error, certainties

METHODS = ("none", "temperature", "vector")
FOLDS = 5
LIMITS = (0.01, 100.0)
"""Factors on logits lie within these."""
VECTOR_CLASSES = 256
"""Vector scaling is tried up to so many classes, and with ten pictures or more for each: beyond, it fits noise."""


@dataclass(frozen=True)
class Calibration:
    """How logits become calibrated ones: logits · scale + bias, W of them; then follows what the family makes of them.

    method: none | temperature | vector; scale, bias: W numbers each; n: pictures it was fitted on; reason: why this method
    """

    method: str
    scale: tuple[float, ...]
    bias: tuple[float, ...]
    n: int
    reason: str = ""

    __repr__ = shown

    def __call__(self, logits: Floating) -> F64:
        """Return calibrated logits float64 (N, W)."""
        return np.asarray(logits, np.float64) * self.scale + self.bias

    @property
    def temperature(self) -> float:
        """Return what a person asks for: 1 / the mean factor."""
        return len(self.scale) / sum(self.scale)


def fit(logits: Floating, targets: Values, *, family: Family, method: str) -> Calibration:
    """Return the scaling with the least negative log likelihood on logits (N, W) with targets (N,) or (N, K).

    One picture's worth of labels spread evenly is added, as in Laplace's rule of succession, so that N pictures which are all
    right lead to a certainty of about 1 - 1/N and not of 1. Every problem is convex. Raises `UsageError` for another method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no calibration '{method}'", code="bad-value", hint=", ".join(METHODS))
    z = np.asarray(logits, np.float64)
    n, width = z.shape
    if method == "none" or n == 0:
        return Calibration("none", (1.0,) * width, (0.0,) * width, n)
    k = family.classes(z)
    level = 0.5 if family.several else 1 / k
    truth = (n * family.hot(targets, k) + level) / (n + 1)
    scale, bias = _least(z, truth, family=family, method=method)
    return Calibration(method, tuple(scale.tolist()), tuple(bias.tolist()), n)


def choose(
    logits: Floating,
    targets: Values,
    *,
    family: Family,
    methods: Sequence[str] = METHODS,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Calibration:
    """Return the simplest scaling that proves itself on pictures which it was not fitted on, or none.

    Each method is fitted in turn on four fifths and tried on the rest. A method takes the place of the simpler one before it if
    its loss there is lower by more than one standard error of the difference, its calibration error there is not higher,
    and no more predictions are wrong. Pictures of one group stay in one fold. Fewer than 20 pictures decide nothing.
    """
    z = np.asarray(logits, np.float64)
    n, k = z.shape
    if n < 4 * FOLDS:
        return Calibration("none", (1.0,) * k, (0.0,) * k, n, f"{n} validation pictures are too few to calibrate on")
    folds = _folds(n, targets, groups, seed=seed)
    best, now, reason = "none", z, "no scaling proved better than none on validation"
    for method in METHODS[1:]:
        if method not in methods or (method == "vector" and not 10 * k <= n <= n * VECTOR_CLASSES // k):
            continue
        tried = _out_of_fold(z, targets, folds, family=family, method=method)
        gain = family.losses(now, targets) - family.losses(tried, targets)
        if gain.mean() > gain.std() / np.sqrt(n) and _no_worse(now, tried, targets, family=family):
            reason = f"{method} scaling lowers the loss on held-out validation pictures by {gain.mean():.4f}"
            best, now = method, tried
    found = fit(z, targets, family=family, method=best)
    return replace(found, reason=reason)


def _no_worse(now: F64, tried: F64, targets: Values, *, family: Family) -> bool:
    before, after = (certainties(family.probabilities(z), targets, family=family) for z in (now, tried))
    hits = family.several or after[1].sum() >= before[1].sum()
    return calibration_error(*after) <= calibration_error(*before) and bool(hits)


def _out_of_fold(z: F64, targets: Values, folds: I64, *, family: Family, method: str) -> F64:
    """Return calibrated logits (N, W), each row by a scaling fitted on the other folds."""
    out = np.empty_like(z)
    for fold in np.unique(folds):
        here = folds == fold
        out[here] = fit(z[~here], targets[~here], family=family, method=method)(z[here])
    return out


def _folds(n: int, targets: Values, groups: npt.ArrayLike | None, *, seed: int) -> I64:
    """Return the fold of each row, int64 (N,) in 0..4: classes spread evenly, groups kept whole."""
    units = cluster_numbers(n, groups)
    _, first = np.unique(units, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    kind = np.asarray(targets.sum(axis=1) if targets.ndim == 2 else targets)[first[shuffled]]
    place = np.empty(len(first), np.int64)
    place[shuffled[np.argsort(kind, kind="stable")]] = np.arange(len(first)) % FOLDS
    return place[units]


def _least(z: F64, truth: F64, *, family: Family, method: str) -> tuple[F64, F64]:
    """Return (scale, bias), each (W,), of the least mean loss against soft targets (N, K)."""
    from scipy.optimize import minimize

    n, k = z.shape
    shared = method == "temperature" and not family.several
    offset = method == "vector"

    def unpacked(x: F64) -> tuple[F64, F64]:
        scale = np.full(k, x[0]) if shared else x[:k]
        return scale, x[-k:] if offset else np.zeros(k)

    def loss(x: F64) -> tuple[float, F64]:
        scale, bias = unpacked(x)
        losses, slope = family.cost(z * scale + bias, truth)
        steep = np.asarray((slope * z).sum(axis=0))
        parts = [steep.sum(keepdims=True) if shared else steep, *([slope.sum(axis=0)] if offset else [])]
        return float(losses.mean()), np.concatenate(parts) / n

    start = np.concatenate([np.ones(1 if shared else k), *([np.zeros(k)] if offset else [])])
    bounds = [LIMITS] * (1 if shared else k) + [(-LIMITS[1], LIMITS[1])] * (k if offset else 0)
    options = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return unpacked(np.asarray(found.x, np.float64))
