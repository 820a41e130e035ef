"""Calibration: whether a probability of 0.8 is right in eight of ten cases, and the scaling of logits that makes it so.

Temperature scaling divides all logits by one number; vector scaling has a factor and an offset for each class; where a picture
may carry several labels each class may have a temperature of its own. What is fitted has to prove itself on pictures
that it was not fitted on, or nothing is changed.
Source: C. Guo, G. Pleiss, Y. Sun, K. Weinberger, On calibration of modern neural networks, ICML (2017), sections 4.1 and 4.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError
from beholder.measure.intervals import cluster_numbers
from beholder.measure.reliability import calibration_error, certainties

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

METHODS = ("none", "temperature", "vector")
FOLDS = 5
LIMITS = (0.01, 100.0)
"""Factors on logits lie within these."""
VECTOR_CLASSES = 256
"""Vector scaling is tried up to so many classes, and with ten pictures or more for each: beyond, it fits noise."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """How logits become calibrated ones: logits · scale + bias, then softmax or sigmoid.

    method: none | temperature | vector; scale, bias: float64 (K,); n: pictures it was fitted on; reason: why this method
    """

    method: str
    scale: Floats
    bias: Floats
    n: int
    reason: str = ""

    def __call__(self, logits: npt.NDArray[np.floating]) -> Floats:
        """Return calibrated logits float64 (N, K)."""
        return np.asarray(logits, np.float64) * self.scale + self.bias

    def json(self) -> dict[str, Any]:
        """Return it as plain JSON values, with the temperature that a person asks for: 1 / the mean factor."""
        return {
            "method": self.method,
            "temperature": float(1 / self.scale.mean()),
            "scale": self.scale.tolist(),
            "bias": self.bias.tolist(),
            "n": self.n,
            "reason": self.reason,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> Calibration:
        """Return what `json` wrote."""
        scale, bias = np.array(value["scale"], np.float64), np.array(value["bias"], np.float64)
        return Calibration(value["method"], scale, bias, int(value["n"]), str(value.get("reason", "")))


def probabilities(logits: npt.NDArray[np.floating], *, multi: bool) -> Floats:
    """Return float64 (N, K) of logits (N, K): softmax over classes, or one sigmoid per class if `multi`."""
    return np.asarray(np.exp(_logs(np.asarray(logits, np.float64), multi=multi)[0]), np.float64)


def losses(logits: npt.NDArray[np.floating], targets: npt.NDArray[Any], *, multi: bool) -> Floats:
    """Return the negative log likelihood of each picture: float64 (N,); for multi-label the sum over its K labels.

    logits: (N, K), calibrated or not; targets: int (N,), or 0 and 1 (N, K) if `multi`
    """
    yes, no = _logs(np.asarray(logits, np.float64), multi=multi)
    if multi:
        return np.asarray(-np.where(targets.astype(bool), yes, no).sum(axis=1), np.float64)
    return np.asarray(-yes[np.arange(len(yes)), targets], np.float64)


def fit(logits: npt.NDArray[np.floating], targets: npt.NDArray[Any], *, multi: bool, method: str) -> Calibration:
    """Return the scaling with the least negative log likelihood on logits (N, K) with targets (N,) or (N, K).

    One picture's worth of labels spread evenly is added, as in Laplace's rule of succession, so that N pictures which are all
    right lead to a certainty of about 1 - 1/N and not of 1. Both problems are convex. Raises `UsageError` for another method.
    """
    if method not in METHODS:
        raise UsageError(f"there is no calibration '{method}'", code="bad-value", hint=", ".join(METHODS))
    z = np.asarray(logits, np.float64)
    n, k = z.shape
    if method == "none" or n == 0:
        return Calibration("none", np.ones(k), np.zeros(k), n)
    truth = targets.astype(np.float64) if multi else np.eye(k)[targets]
    level = 0.5 if multi else 1 / k
    truth = (n * truth + level) / (n + 1)
    scale, bias = _least(z, truth, multi=multi, method=method)
    return Calibration(method, scale, bias, n)


def choose(
    logits: npt.NDArray[np.floating],
    targets: npt.NDArray[Any],
    *,
    multi: bool,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Calibration:
    """Return the simplest scaling that proves itself on pictures which it was not fitted on, or none.

    Each method is fitted in turn on four fifths and tried on the rest. A method takes the place of the simpler one before it if
    its loss there is lower by more than one standard error of the difference, its calibration error there is not higher,
    and no more guesses are wrong. Pictures of one group stay in one fold. Fewer than 20 pictures decide nothing.
    """
    z = np.asarray(logits, np.float64)
    n, k = z.shape
    if n < 4 * FOLDS:
        return Calibration("none", np.ones(k), np.zeros(k), n, f"{n} validation pictures are too few to calibrate on")
    folds = _folds(n, targets, groups, multi=multi, seed=seed)
    best, now, reason = "none", z, "no scaling proved better than none on validation"
    for method in METHODS[1:]:
        if method == "vector" and not 10 * k <= n <= n * VECTOR_CLASSES // k:
            continue
        tried = _out_of_fold(z, targets, folds, multi=multi, method=method)
        gain = losses(now, targets, multi=multi) - losses(tried, targets, multi=multi)
        if gain.mean() > gain.std() / np.sqrt(n) and _no_worse(now, tried, targets, multi=multi):
            reason = f"{method} scaling lowers the loss on held-out validation pictures by {gain.mean():.4f}"
            best, now = method, tried
    found = fit(z, targets, multi=multi, method=best)
    return Calibration(found.method, found.scale, found.bias, n, reason)


def _no_worse(now: Floats, tried: Floats, targets: npt.NDArray[Any], *, multi: bool) -> bool:
    before, after = (certainties(probabilities(z, multi=multi), targets, multi=multi) for z in (now, tried))
    return calibration_error(*after) <= calibration_error(*before) and (multi or after[1].sum() >= before[1].sum())


def _out_of_fold(z: Floats, targets: npt.NDArray[Any], folds: Ints, *, multi: bool, method: str) -> Floats:
    """Return calibrated logits (N, K), each row by a scaling fitted on the other folds."""
    out = np.empty_like(z)
    for fold in np.unique(folds):
        here = folds == fold
        out[here] = fit(z[~here], targets[~here], multi=multi, method=method)(z[here])
    return out


def _folds(n: int, targets: npt.NDArray[Any], groups: npt.ArrayLike | None, *, multi: bool, seed: int) -> Ints:
    """Return the fold of each row, int64 (N,) in 0..4: classes spread evenly, groups kept whole."""
    units = cluster_numbers(n, groups)
    _, first = np.unique(units, return_index=True)
    shuffled = np.random.default_rng(seed).permutation(len(first))
    kind = np.asarray(targets.sum(axis=1) if multi else targets)[first[shuffled]]
    place = np.empty(len(first), np.int64)
    place[shuffled[np.argsort(kind, kind="stable")]] = np.arange(len(first)) % FOLDS
    return place[units]


def _logs(z: Floats, *, multi: bool) -> tuple[Floats, Floats]:
    """Return log p and, if `multi`, log (1 - p), each (N, K)."""
    if multi:
        return -np.logaddexp(0, -z), -np.logaddexp(0, z)
    shifted = z - z.max(axis=1, keepdims=True)
    logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs, logs


def _least(z: Floats, truth: Floats, *, multi: bool, method: str) -> tuple[Floats, Floats]:
    """Return (scale, bias), each (K,), of the least mean loss against soft targets (N, K)."""
    from scipy.optimize import minimize

    n, k = z.shape
    shared = method == "temperature" and not multi
    offset = method == "vector"

    def unpacked(x: Floats) -> tuple[Floats, Floats]:
        scale = np.full(k, x[0]) if shared else x[:k]
        return scale, x[-k:] if offset else np.zeros(k)

    def loss(x: Floats) -> tuple[float, Floats]:
        scale, bias = unpacked(x)
        yes, no = _logs(z * scale + bias, multi=multi)
        total = -(truth * yes).sum() - (((1 - truth) * no).sum() if multi else 0.0)
        slope = np.exp(yes) - truth
        steep = np.asarray((slope * z).sum(axis=0))
        parts = [steep.sum(keepdims=True) if shared else steep, *([slope.sum(axis=0)] if offset else [])]
        return float(total / n), np.concatenate(parts) / n

    start = np.concatenate([np.ones(1 if shared else k), *([np.zeros(k)] if offset else [])])
    bounds = [LIMITS] * (1 if shared else k) + [(-LIMITS[1], LIMITS[1])] * (k if offset else 0)
    options = {"ftol": 1e-12, "gtol": 1e-8, "maxiter": 500}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
    return unpacked(np.asarray(found.x, np.float64))
