"""Reliability: how far stated certainty and the share of right answers lie apart, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools, Floating, Values
from beholder.base.records import Score
from beholder.measure.families import Family
from beholder.measure.intervals import cluster_numbers, wilson

BINS = 15
EACH = 10
"""Certainties in each bin of a reliability diagram, at least."""

NAMES = ("ece", "ece_plain", "brier", "nll")


def certainties(probabilities: Floating, targets: Values, *, family: Family) -> tuple[F64, Bools]:
    """Return what was said and whether it was so: certainty float64 (N, C) and truth bool (N, C).

    One class a picture: C = 1, the probability of the answer and whether that is the right one. Several labels: C = K, every
    probability and whether the picture carries that label.
    """
    p = np.asarray(probabilities, np.float64)
    if family.several:
        return p, targets.astype(bool)
    return family.certainty(p)[:, None], (family.answers(p) == targets)[:, None]


def calibration_error(certainty: F64, right: Bools, *, bins: int = BINS, debiased: bool = True) -> float:
    """Return the expected calibration error of `certainties`, in 0..1; NaN without pictures.

    All certainties fall into `bins` bins of equal numbers (equal ones share a bin), and |mean certainty - share right| is
    averaged over them. Even of a perfect model that is above 0, by the chance of few in a bin; debiased: less what chance
    adds on average, where the error of a bin's share is normal.
    Sources: M. Naeini et al., AAAI (2015); A. Kumar, P. Liang, T. Ma, Verified uncertainty calibration, NeurIPS (2019).
    """
    if not len(certainty):
        return float("nan")
    sums = _table(certainty, right, bins).sum(axis=0)
    return float(_error(sums[None], debiased=debiased)[0])


@dataclass(frozen=True, eq=False)
class Measures:
    """How well calibrated some models are on the same N pictures.

    values: float64 (S, 4), by model and in the order of `NAMES`; draws: float64 (R, S, 4), redrawn for all at once
    """

    values: F64
    draws: F64
    n: int

    def scores(self, which: int) -> dict[str, Score]:
        """Return the score of each name of `NAMES` for model `which`."""
        return self._scored(self.values[which], self.draws[:, which], least=0.0)

    def difference(self, which: int, other: int) -> dict[str, Score]:
        """Return model `which` less `other`: below 0 is better."""
        return self._scored(self.values[which] - self.values[other], self.draws[:, which] - self.draws[:, other])

    def _scored(self, values: F64, draws: F64, *, least: float = -np.inf) -> dict[str, Score]:
        return {name: _centred(float(values[i]), draws[:, i], self.n, least=least) for i, name in enumerate(NAMES)}


def measures(
    recognisers: Sequence[tuple[Floating, F64]],
    targets: Values,
    *,
    family: Family,
    groups: npt.ArrayLike | None = None,
    seed: int = 0,
    repeats: int = 2000,
) -> Measures:
    """Return the measures `NAMES` of models, each given by its probabilities (N, K) and its losses (N,).

    ece, ece_plain: the calibration error, debiased and not; brier: the squared distance of the probabilities from the truth,
    summed over the classes (0..2), for multi-label their mean; nll: the mean loss, which is the negative log likelihood.
    groups: int (N,), pictures that share a number vary together.
    Draws are of the sums in each bin: normal, with the covariance that a bootstrap of pictures (or groups) gives them.
    """
    n, width = len(targets), 3 * BINS
    columns = []
    for p, losses in recognisers:
        table = _table(*certainties(p, targets, family=family), BINS).reshape(n, width)
        columns.append(np.concatenate([table, _brier(p, targets)[:, None], losses[:, None]], axis=1))
    rows = np.concatenate(columns, axis=1)
    drawn = _redrawn(rows, groups, seed=seed, repeats=repeats).reshape(repeats, len(columns), width + 2)
    seen = rows.sum(axis=0).reshape(1, len(columns), width + 2)
    return Measures(_four(seen, n)[0], _four(drawn, n), n)


def _redrawn(rows: F64, groups: npt.ArrayLike | None, *, seed: int, repeats: int) -> F64:
    """Return draws float64 (R, D) of the sum of rows (N, D): normal, about it, groups of rows varying together."""
    units = cluster_numbers(len(rows), groups)
    count = int(units.max(initial=-1)) + 1
    if count < len(rows):
        order = np.argsort(units, kind="stable")
        starts = np.searchsorted(units[order], np.arange(count))
        summed = np.add.reduceat(rows[order], starts, axis=0)
    else:
        summed = rows
    off = summed - summed.mean(axis=0)
    values, vectors = np.linalg.eigh(off.T @ off)
    root = vectors * np.sqrt(np.maximum(values, 0.0))
    normal = np.random.default_rng(seed).standard_normal((repeats, rows.shape[1]))
    return np.asarray(rows.sum(axis=0) + normal @ root.T)


def _four(sums: F64, n: int) -> F64:
    """Return float64 (..., 4) in the order of `NAMES` from sums (..., 3 · bins + 2)."""
    tables = sums[..., :-2].reshape(*sums.shape[:-1], BINS, 3)
    errors = [_error(tables, debiased=debiased) for debiased in (True, False)]
    return np.concatenate([np.stack(errors, axis=-1), sums[..., -2:] / n], axis=-1)


def _centred(value: float, draws: F64, n: int, *, least: float, level: float = 0.95) -> Score:
    """Return `value` with the interval of `draws` about their own mean: each draw adds the error of chance once more."""
    tail = (1 - level) / 2
    low, high = np.quantile(draws - draws.mean(), [tail, 1 - tail]).tolist()
    return Score(value, max(least, value + min(low, 0.0)), value + max(high, 0.0), n)


def diagram(certainty: F64, right: Bools, *, bins: int = BINS) -> list[dict[str, Any]]:
    """Return the bins of a reliability diagram, from the least certain on: low, high, certainty (mean), right (a score), n.

    The columns of `certainties` are thrown together; a share's interval is Wilson's. Of few certainties there are fewer than
    `bins`, of `EACH` each: smaller ones would show nothing but chance.
    """
    said, so = certainty.ravel(), right.ravel()
    if not len(said):
        return []
    bins = max(2, min(bins, len(said) // EACH))
    place = _places(said, bins)
    rows = []
    for b in np.unique(place):
        here = place == b
        share = wilson(int(so[here].sum()), int(here.sum()))
        low, high = float(said[here].min()), float(said[here].max())
        rows.append({"low": low, "high": high, "certainty": float(said[here].mean()), "right": share.json(), "n": share.n})
    return rows


def _places(values: F64, bins: int) -> I64:
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1)))
    return np.searchsorted(edges[1:-1], values, side="right").astype(np.int64)


def _table(certainty: F64, right: Bools, bins: int) -> F64:
    """Return float64 (N, bins, 3): how many certainties of a picture are in each bin, their sum, how many were right."""
    n, columns = certainty.shape
    place = _places(certainty.ravel(), bins) + bins * np.repeat(np.arange(n), columns)
    counted = [np.bincount(place, weights, n * bins) for weights in (None, certainty.ravel(), right.ravel())]
    return np.stack(counted, axis=-1).reshape(n, bins, 3).astype(np.float64)


def _error(sums: F64, *, debiased: bool) -> F64:
    """Return the calibration error float64 (...) of sums (..., bins, 3): count, certainty, right."""
    from scipy.special import ndtr

    n = np.maximum(sums[..., 0], 1e-12)
    share = np.clip(sums[..., 2] / n, 0.0, 1.0)
    gap = np.abs(sums[..., 1] / n - share)
    if debiased:
        spread = np.sqrt(share * (1 - share) / n)
        ratio = np.divide(gap, spread, out=np.full_like(gap, np.inf), where=spread > 0)
        folded = spread * np.sqrt(2 / np.pi) * np.exp(-(ratio**2) / 2) + gap * (1 - 2 * ndtr(-ratio))
        gap = 2 * gap - folded
    error: F64 = np.maximum((gap * sums[..., 0]).sum(-1) / sums[..., 0].sum(-1), 0.0)
    return error


def _brier(probabilities: Floating, targets: Values) -> F64:
    p = np.asarray(probabilities, np.float64)
    several = targets.ndim == 2
    squares = (p - (targets if several else np.eye(p.shape[1])[targets])) ** 2
    return np.asarray(squares.mean(axis=1) if several else squares.sum(axis=1))
