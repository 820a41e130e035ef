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
from beholder.measure.intervals import FEWEST_GROUPS, by_variance, cluster_numbers, mean_variance, wilson

BINS = 15
EACH = 10
"""Certainties in each bin of a reliability diagram, at least."""

NAMES = ("ece", "ece_plain", "brier", "nll")

TELLING = 5
"""With fewer pictures (or groups) that hold a mistake, or a right answer, draws do not show what one more costs."""

ROUNDED = 1e-12
"""A lower end that is no larger is 0."""

LEAST = 1e-15
"""A probability is taken as at least this where a logarithm is."""


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


@dataclass(frozen=True)
class Unseen:
    """What the share of right answers allows where draws of the pictures show no spread: no mistake was seen, or little else.

    share: of right answers, certainties below 0.5 taken as ones of the opposite; certainty: the mean of these
    costs: (brier, nll) that a right answer gains over a mistake, on average; few: (mistakes, right answers) are few
    """

    share: Score
    certainty: float
    costs: tuple[float, float]
    few: tuple[bool, bool]

    @property
    def ends(self) -> tuple[float, float]:
        """Return the interval of the share."""
        return self.share.low, self.share.high

    @property
    def gap(self) -> tuple[float, float, float]:
        """Return |certainty - share|, and the least and largest that the interval of the share allows.

        However certainties are grouped, the calibration error is at least this gap.
        """
        seen, low, high = (abs(self.certainty - at) for at in (self.share.value, self.share.low, self.share.high))
        inside = self.share.low <= self.certainty <= self.share.high
        return seen, 0.0 if inside else min(low, high), max(low, high)

    def more(self, name: str) -> tuple[float, float]:
        """Return by how much brier or nll may be smaller and larger, for mistakes that were met, or not, by chance."""
        cost = self.costs[name == "nll"]
        return (
            cost * (self.share.high - self.share.value) if self.few[1] else 0.0,
            cost * (self.share.value - self.share.low) if self.few[0] else 0.0,
        )


@dataclass(frozen=True, eq=False)
class Measures:
    """How well calibrated some models are on the same N pictures.

    values: float64 (S, 4), by model and in the order of `NAMES`; draws: float64 (R, S, 4), redrawn for all at once
    unseen: of each model; units: pictures or groups behind it: of fewer than `FEWEST_GROUPS` groups there is no interval
    """

    values: F64
    draws: F64
    n: int
    unseen: tuple[Unseen, ...]
    units: int

    def scores(self, which: int) -> dict[str, Score]:
        """Return the score of each name of `NAMES` for model `which`."""
        return {name: self._score(which, i, name) for i, name in enumerate(NAMES)}

    def difference(self, which: int, other: int) -> dict[str, Score]:
        """Return model `which` less `other`: below 0 is better."""
        one, two = self.unseen[which], self.unseen[other]
        found = {}
        for i, name in enumerate(NAMES):
            gaps = [abs(one.certainty - x) - abs(two.certainty - y) for x, y in zip(one.ends, two.ends, strict=True)]
            apart = [abs(x - y) for x, y in zip(one.more(name), two.more(name), strict=True)]
            value, draws = self.values[which, i] - self.values[other, i], self.draws[:, which, i] - self.draws[:, other, i]
            score = self._centred(float(value), draws)
            ends = (score.low, score.high)
            if not name.startswith("ece"):
                ends = (min(ends[0], score.value - max(apart)), max(ends[1], score.value + max(apart)))
            elif one.few[0] or one.few[1]:
                ends = (min(ends[0], *gaps), max(ends[1], *gaps))
            found[name] = Score(score.value, *ends, score.n)
        return found

    def _score(self, which: int, i: int, name: str) -> Score:
        unseen, score = self.unseen[which], self._centred(float(self.values[which, i]), self.draws[:, which, i])
        if name.startswith("ece"):
            gap, least, most = unseen.gap
            low, high = score.value - (gap - least), most
        else:
            less, more = unseen.more(name)
            low, high = score.value - less, score.value + more
        if np.isnan(score.low):
            return score
        least = min(score.low, low)
        return Score(score.value, least if least > ROUNDED else 0.0, max(score.high, high), score.n)

    def _centred(self, value: float, draws: F64, *, level: float = 0.95) -> Score:
        """Return `value` with the interval of `draws` about their own mean: each draw adds the error of chance once more."""
        if self.units < min(FEWEST_GROUPS, self.n):
            return Score(float(value), float("nan"), float("nan"), self.n)
        tail = (1 - level) / 2
        low, high = np.quantile(draws - draws.mean(), [tail, 1 - tail]).tolist()
        return Score(float(value), value + min(low, 0.0), value + max(high, 0.0), self.n)


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
    Draws are of the sums in each bin: normal, with the covariance that a bootstrap of pictures (or groups) gives them. Where
    all is right that has no spread, though the next picture may be wrong: see `Unseen`.
    """
    n, width = len(targets), 3 * BINS
    units = cluster_numbers(n, groups)
    columns, unseen = [], []
    for p, losses in recognisers:
        certainty, right = certainties(p, targets, family=family)
        table = _table(certainty, right, BINS).reshape(n, width)
        unseen.append(_unseen(np.asarray(p, np.float64), certainty, right, units, several=family.several))
        columns.append(np.concatenate([table, _brier(p, targets)[:, None], losses[:, None]], axis=1))
    rows = np.concatenate(columns, axis=1)
    drawn = _redrawn(rows, groups, seed=seed, repeats=repeats).reshape(repeats, len(columns), width + 2)
    seen = rows.sum(axis=0).reshape(1, len(columns), width + 2)
    return Measures(_four(seen, n)[0], _four(drawn, n), n, tuple(unseen), int(units.max(initial=-1)) + 1)


def _unseen(p: F64, certainty: F64, right: Bools, units: I64, *, several: bool) -> Unseen:
    """Return what one model's probabilities (N, K), certainties and truth (N, C) allow; units: int64 (N,), numbered from 0."""
    sure = certainty >= 0.5
    told, so = np.where(sure, certainty, 1 - certainty), right == sure
    count, share = int(units.max(initial=-1)) + 1, float(so.mean()) if so.size else float("nan")
    variance = mean_variance((so - told).mean(axis=1), units)
    if several:
        brier, nll = 2 * told - 1, np.log(told / np.maximum(1 - told, LEAST)) * told.shape[1]
    else:
        second, first = (np.sort(p, axis=1)[:, -i] for i in (2, 1))
        brier, nll = 2 * (first - second), np.log(np.maximum(first, LEAST) / np.maximum(second, LEAST))
    met = (right if not several else so).astype(bool)
    wrong = np.bincount(units, ~met.all(axis=1), count) > 0
    good = np.bincount(units, met.any(axis=1), count) > 0
    return Unseen(
        by_variance(share, variance, len(p), units=float(count)),
        float(told.mean()) if told.size else float("nan"),
        (float(np.mean(brier)), float(np.mean(nll))),
        (int(wrong.sum()) < TELLING, int(good.sum()) < TELLING),
    )


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
