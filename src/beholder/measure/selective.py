"""Abstention: which pictures a model should leave to a person, and what is promised of the others.

Words: coverage is the share of pictures that are answered, risk the share of those answers that are wrong. A promise names its
level of confidence: how many of a hundred validation parts as large as this one would have led to a threshold that keeps it.
It holds for pictures drawn like the validation part, and no other.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools, Values
from beholder.base.records import Score
from beholder.measure.intervals import cluster_numbers, interval

GROWTH = 1.05
"""Factor from one number of answers that `accepting` tries to the next."""


@dataclass(frozen=True)
class Operating:
    """A threshold chosen on validation, and what it promises.

    kind:       risk (answer only where certainty reaches the threshold) | sensitivity (say `label` where its probability does)
    target:     the largest risk, or the least sensitivity
    confidence: the level at which the promise holds
    threshold:  on certainty, or on the probability of `label`; None where nothing could be promised
    n:          validation pictures that the choice rests on: all of them, or those of `label`
    reason:     what was found, or why there is no threshold, a sentence
    """

    kind: str
    target: float
    confidence: float
    threshold: float | None
    n: int
    label: str = ""
    reason: str = ""

    def json(self) -> dict[str, Any]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def mistakes(answers: Values, targets: Values) -> Bools:
    """Return which answers are wrong, bool (N,), for both (N,) or both (N, K): of several labels one wrong is enough."""
    wrong = answers != targets
    return np.asarray(wrong.any(axis=1) if wrong.ndim == 2 else wrong)


def risk_coverage(sure: F64, wrong: Bools) -> tuple[F64, F64, F64]:
    """Return (coverage, risk, threshold), each float64 (M,), from the surest answers to all: a point a distinct certainty."""
    order = np.argsort(-sure, kind="stable")
    values = sure[order]
    ends = np.flatnonzero(np.append(np.diff(values) != 0, True)) if len(values) else np.zeros(0, np.int64)
    taken = ends + 1.0
    return taken / max(1, len(sure)), np.cumsum(wrong[order])[ends] / taken, values[ends]


def aurc(sure: F64, wrong: Bools, *, groups: npt.ArrayLike | None = None) -> Score:
    """Return the area under the risk-coverage curve: the mean, over every number of surest answers, of the risk among them.

    0 where nothing is wrong; the share of mistakes where certainty tells nothing. Equal certainties come in random order.
    The interval is Wilson's at the number of pictures at which a share has the variance of the area, by the influence of each
    picture on it (infinitesimal jackknife); groups: int (N,), pictures that share a number vary together.
    Source: Y. Geifman, G. Uziel, R. El-Yaniv, Bias-reduced uncertainty estimation for deep neural classifiers, ICLR (2019).
    """
    n = len(sure)
    if not n:
        return Score(math.nan, math.nan, math.nan, 0)
    order = np.argsort(-sure, kind="stable")
    tie = np.cumsum(np.append(False, np.diff(sure[order]) != 0))

    def evened(values: npt.NDArray[np.generic]) -> F64:
        """Return what is expected of `values` (N,) in a random order within ties."""
        return np.asarray((np.bincount(tie, values) / np.bincount(tie))[tie], np.float64)

    taken = np.arange(1, n + 1)
    risk = np.cumsum(evened(wrong[order])) / taken
    area = float(risk.mean())
    influence = np.empty(n)
    later = [evened(np.cumsum((values / taken)[::-1])[::-1]) for values in (np.ones(n), risk)]
    influence[order] = (evened(risk) + wrong[order] * later[0] - later[1] - area) / n
    units = cluster_numbers(n, groups)
    off = np.bincount(units, influence)
    error = float(np.sqrt((off**2).sum()))
    return interval(area, area + error * np.array([-1.0, 1.0]), n, units=float(len(off)))


def accepting(sure: F64, wrong: Bools, *, risk: float, confidence: float = 0.95) -> Operating:
    """Return the lowest threshold on certainty for which the risk of the answers above it is at most `risk`, with `confidence`.

    Candidates are the certainties at growing numbers of answers, fixed by the number of pictures alone; each is tested (exact
    binomial test of risk > `risk`) after those before it, up to the first that fails: testing in a fixed order needs no
    correction. Such sequences begin at several numbers, for a mistake among the few surest ends one early; they share 1 -
    confidence.
    The first number is the least at which a test without any mistake passes.
    Sources: Y. Geifman, R. El-Yaniv, Selective classification for deep neural networks, NeurIPS (2017);
    A. Angelopoulos et al., Learn then test, Annals of Applied Statistics (2025), on fixed-sequence testing with several starts.
    """
    from scipy.stats import binom

    n, level = len(sure), 1 - confidence
    least = _without_mistake(risk, level)
    if n < least:
        takes = f"that takes {least} validation pictures, there are {n}"
        reason = f"a risk of {risk:g} cannot be promised at {confidence:.0%}: {takes}"
        return Operating("risk", risk, confidence, None, n, reason=reason)
    starts = max(1, round(math.log2(n / least)))
    level /= starts
    numbers = _growing(_without_mistake(risk, level), n)
    order = np.argsort(-sure, kind="stable")
    values, failed = sure[order], np.cumsum(wrong[order])
    # A threshold takes all answers that are as sure as the last one.
    taken = np.searchsorted(-values, -values[numbers - 1], side="right")
    passes = np.append(binom.cdf(failed[taken - 1], taken, risk) <= level, False)
    firsts = np.linspace(0, len(numbers), starts, endpoint=False).astype(np.int64)
    ends = [int(first + passes[first:].argmin()) for first in firsts if passes[first]]
    if not ends:
        first = int(taken[0])
        reason = f"no threshold keeps the risk at {risk:g}: of the {first} surest answers {failed[first - 1]} are wrong"
        return Operating("risk", risk, confidence, None, n, reason=reason)
    answered = int(taken[max(ends) - 1])
    reason = f"on validation {answered} of {n} pictures are answered, {int(failed[answered - 1])} of them wrongly"
    return Operating("risk", risk, confidence, float(values[answered - 1]), n, reason=reason)


def _without_mistake(risk: float, level: float) -> int:
    """Return how many answers, none of them wrong, tell at `level` that the risk is at most `risk`."""
    return math.ceil(math.log(level) / math.log1p(-risk))


def _growing(first: int, last: int) -> I64:
    """Return whole numbers from `first` to `last`, each about a twentieth larger than the one before."""
    steps = math.ceil(math.log(last / first) / math.log(GROWTH))
    return np.unique(np.append(np.minimum(first * GROWTH ** np.arange(steps), last).round(), last).astype(np.int64))


def finding(scores: F64, *, sensitivity: float, confidence: float = 0.95, label: str = "") -> Operating:
    """Return the highest threshold that finds at least `sensitivity` of a class, with `confidence`.

    scores: float (N,), the probabilities of the class on the validation pictures that are of it. The j-th smallest is a
    threshold whose sensitivity has a Beta(N - j + 1, j) distribution whatever the scores are (a tolerance limit); the largest j
    is taken whose chance to miss the target is at most 1 - confidence.
    Source: S. Wilks, Determination of sample sizes for setting tolerance limits, Annals of Mathematical Statistics 12 (1941).
    """
    from scipy.stats import beta

    n = len(scores)
    least = math.ceil(math.log(1 - confidence) / math.log(sensitivity))
    of = f" of {label}" if label else ""
    if n < least:
        reason = (
            f"a sensitivity of {sensitivity:g} cannot be promised at {confidence:.0%}: "
            f"that takes {least} validation pictures{of}, there are {n}"
        )
        return Operating("sensitivity", sensitivity, confidence, None, n, label, reason)
    ranks = np.arange(1, n + 1)
    j = int(ranks[beta.cdf(sensitivity, n - ranks + 1, ranks) <= 1 - confidence].max())
    threshold = float(np.sort(scores)[j - 1])
    found = int((scores >= threshold).sum())
    reason = f"on validation {found} of {n} pictures{of} are found"
    return Operating("sensitivity", sensitivity, confidence, threshold, n, label, reason)
