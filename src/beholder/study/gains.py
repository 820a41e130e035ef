"""What fits at growing sizes say: the score at each size, what more pictures would give, and of which class."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from beholder.base.arrays import F64
from beholder.base.records import Score
from beholder.measure.intervals import joint
from beholder.measure.jackknife import covariance
from beholder.measure.power_law import Law, fitted
from beholder.study.growth import Halved

TIMES = (2, 4)
"""By how many times more pictures the curve is extrapolated."""

SPREAD = 0.06
"""Standard deviation between subsets of the least size, as a share of the error there, where there was no time for two."""

FEW = 5
"""Mistakes below which their number says little of how many others would be."""

NOTHING = 0.002
"""A gain of a class that is at most so much is none."""

LEAST = 0.05
"""Exponent that the gain of a class is reckoned with at least."""


@dataclass(frozen=True)
class Point:
    """The score of learning from so many pictures, on average over `subsets` of that size."""

    pictures: int
    score: Score
    subsets: int


@dataclass(frozen=True)
class Ahead:
    """What so many times the pictures are expected to give, and how much that is more than now."""

    times: int
    pictures: int
    score: Score
    gain: Score


@dataclass(frozen=True)
class ClassGain:
    """What pictures of one class are worth; `pictures` of it were learnt from.

    drop: by how much the score falls without half of them; own: by how much the class's own recall, or average precision
    gain: by how much it is expected to rise with more of them; verdict: gains | nothing | unclear, jointly for all classes
    """

    name: str
    pictures: int
    drop: Score
    own: Score
    gain: Score
    verdict: str


@dataclass(frozen=True, eq=False)
class Measured:
    """Mean scores at S sizes, float64 (S,) each but `cover`: (S, S), what their errors have in common."""

    sizes: F64
    scores: F64
    cover: F64
    subsets: tuple[int, ...]
    n: int

    def points(self) -> tuple[Point, ...]:
        """Return the scores with their 95 % intervals."""
        errors = 1.96 * np.sqrt(np.diag(self.cover))
        return tuple(
            Point(int(size), Score(float(score), float(score - e), min(1.0, float(score + e)), self.n), subsets)
            for size, score, e, subsets in zip(self.sizes, self.scores, errors, self.subsets, strict=True)
        )

    def law(self, *, seed: int = 0) -> Law:
        """Return the power laws of the error, 1 − score, that the scores leave likely; few mistakes count as two more."""
        errors = 1 - self.scores
        few = errors * self.n < FEW
        return fitted(self.sizes, np.where(few, (errors * self.n + 2) / (self.n + 4), errors), self.cover, seed=seed)


def measured(found: Mapping[int, Sequence[F64]], *, largest: int, n: int) -> Measured:
    """Return the mean scores of subsets, with the covariance of their errors; largest: how many pictures they are drawn from.

    found: size → replicates (R,) of each subset; n: pictures behind each score
    Two things vary: the scored pictures (a jackknife), and which pictures are learnt from. Of the latter the variance is taken
    to be κ / size, as that of a mean, κ being estimated from the subsets: nested ones share part of it, and all of them the
    κ / largest by which the pictures at hand may be luckier than others.
    """
    sizes = np.array(sorted(size for size, rows in found.items() if np.isfinite([row[0] for row in rows]).all()), np.float64)
    means = np.stack([np.mean(found[int(size)], axis=0) for size in sizes], axis=1)
    counts = tuple(len(found[int(size)]) for size in sizes)
    scores = means[0]
    ratios = [
        np.var([replicates[0] for replicates in found[int(size)]], ddof=1) / (1 / size - 1 / largest)
        for size, count in zip(sizes, counts, strict=True)
        if count > 1 and size < largest
    ]
    kappa = float(np.mean(ratios)) if ratios else (SPREAD * (1 - scores[0])) ** 2 * sizes[0]
    greater = np.maximum.outer(sizes, sizes)
    subsets = np.maximum.outer(np.array(counts), np.array(counts))
    drawn = np.maximum(kappa / greater - kappa / largest, 0) / subsets + kappa / largest
    return Measured(sizes, scores, covariance(means) + drawn + _unseen(1 - float(scores[-1]), n), counts, n)


def _unseen(error: float, n: int) -> float:
    """Return the variance of a share with few mistakes among n pictures, as if two more were right and two wrong; of more: 0.

    Source: A. Agresti, B. Coull, Approximate is better than exact for interval estimation, American Statistician 52 (1998).
    """
    if not 0 <= error * n < FEW:
        return 0.0
    share = (error * n + 2) / (n + 4)
    return share * (1 - share) / (n + 4)


def ahead(law: Law, now: Score) -> tuple[Ahead, ...]:
    """Return what more pictures are expected to give; now: the score at the largest size."""
    here = law.at(law.largest)
    found = []
    for times in TIMES:
        there = law.at(times * law.largest)
        gain = _score(here - there, now.n)
        found.append(Ahead(times, round(times * law.largest), _score(1 - there, now.n), gain))
    return tuple(found)


def gain_of(law: Law, more: int, n: int) -> Score:
    """Return the gain expected of `more` pictures of all classes in their shares."""
    return _score(law.at(law.largest) - law.at(law.largest + more), n)


def more_of(pictures: float) -> int:
    """Return about as many as an average class has, as a round number: of which class that many more are asked for.

    >>> more_of(280), more_of(12)
    (200, 10)
    """
    power = 10.0 ** math.floor(math.log10(max(1.0, pictures)))
    return round(max(power * factor for factor in (1, 2, 5) if power * factor <= max(1.0, pictures)))


def by_class(
    halves: Mapping[int, Halved], law: Law, names: Sequence[str], *, more: int, n: int, seed: int = 0
) -> tuple[ClassGain, ...]:
    """Return what `more` pictures of each class would gain, the largest gain first.

    What pictures of a class take away of the error falls with them as that of the curve at most; what was seen of it lies
    anywhere between that and nothing (docs/LOG.md).
    """
    rng, exponent = np.random.default_rng(seed), np.maximum(law.exponent, LEAST)
    among = [np.var(half.drops[:, 0], ddof=1) for half in halves.values()]
    own_among = [np.var(half.own[:, 0], ddof=1) for half in halves.values() if np.isfinite(half.own[:, 0]).all()]
    found = []
    for k, half in halves.items():
        drop, error = _mean_of(half.drops, float(np.mean(among)), n)
        own, own_error = _mean_of(half.own, float(np.mean(own_among)), n)
        draws = rng.normal(drop, error, len(exponent))
        grown = rng.uniform(size=len(exponent)) * (1 - (1 + more / half.pictures) ** -exponent) / (2**exponent - 1)
        gain = _score(draws * grown, n)
        sure = _score(draws * grown, n, level=joint(len(halves)))
        verdict = "gains" if sure.low > 0 else "nothing" if sure.high < NOTHING else "unclear"
        gain = replace(gain, value=float(drop * np.median(grown)))
        found.append(ClassGain(names[k], half.pictures, _normal(drop, error, n), _normal(own, own_error, n), gain, verdict))
    return tuple(sorted(found, key=lambda row: -row.gain.value))


def _mean_of(replicates: F64, among: float, n: int) -> tuple[float, float]:
    """Return the mean over halves, and its standard error; replicates: (H, R); among: variance between halves.

    Of n pictures two at least may have changed, though none did.
    """
    mean = replicates.mean(axis=0)
    variance = max(float(covariance(mean[:, None])[0, 0]), 2 / n**2) + among / len(replicates)
    return float(mean[0]), math.sqrt(variance)


def _normal(value: float, error: float, n: int) -> Score:
    return Score(value, value - 1.96 * error, value + 1.96 * error, n)


def _score(draws: F64, n: int, *, level: float = 0.95) -> Score:
    low, middle, high = np.quantile(draws, [(1 - level) / 2, 0.5, (1 + level) / 2]).tolist()
    return Score(middle, low, high, n)


def band(law: Law, smallest: int, *, count: int = 41) -> tuple[tuple[float, float, float, float], ...]:
    """Return (pictures, value, low, high) along the law, from the smallest size to the farthest ahead."""
    sizes = np.geomspace(smallest, TIMES[-1] * law.largest, count)
    rows = [(float(size), *np.quantile(1 - law.at(size), [0.5, 0.025, 0.975]).tolist()) for size in sizes]
    return tuple(rows)
