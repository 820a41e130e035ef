"""Response families: how logits become probabilities, what the truth costs under them, and which answer they give.

As in a generalised linear model, a family is a distribution and its link. `CATEGORICAL`: one class of K, by softmax;
`BERNOULLI`: any of K labels, a sigmoid each; `SEQUENTIAL`: one of K ordered classes, by K - 1 logits of which the j-th says how
likely a picture of at least class j is beyond it.
Sources: A. Agresti, Categorical Data Analysis (2013), section 8.3 (continuation-ratio logits); X. Shi, W. Cao, S. Raschka, Deep
neural networks for rank-consistent ordinal regression based on conditional probabilities (CORN), Pattern Analysis and
Applications 26 (2023).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64, Bools, Values

Answers = I64 | Bools


@dataclass(frozen=True, repr=False)
class Family:
    """One family. Arrays are float64; N pictures, K classes, W logits a picture.

    several: a picture may carry several labels: targets are 0 or 1 (N, K), answers bool (N, K); else both are int (N,)
    width:   K → W
    logs:    logits (N, W) → logarithms of the probabilities (N, K)
    cost:    logits (N, W), truth (N, K), which may be soft → negative log likelihood (N,) and its slope (N, W)
    energy:  logits (N, W) → free energy (N,), the larger the less evidence there is for any class
    decide:  probabilities (N, K), thresholds (K,) → answers; sure: probabilities (N, K) → certainty of the answers (N,), 0..1
    """

    name: str
    several: bool
    width: Callable[[int], int]
    logs: Callable[[F64], F64]
    cost: Callable[[F64, F64], tuple[F64, F64]]
    energy: Callable[[F64], F64]
    decide: Callable[[F64, npt.ArrayLike], Answers]
    sure: Callable[[F64], F64]

    def __repr__(self) -> str:
        return f"Family({self.name!r})"

    def probabilities(self, logits: npt.ArrayLike) -> F64:
        """Return float64 (N, K) of logits (N, W)."""
        return np.asarray(np.exp(self.logs(np.asarray(logits, np.float64))))

    def losses(self, logits: npt.ArrayLike, targets: Values) -> F64:
        """Return the negative log likelihood of each picture, float64 (N,); of several labels the sum over them."""
        z = np.asarray(logits, np.float64)
        return self.cost(z, self.hot(targets, self.classes(z)))[0]

    def classes(self, logits: F64) -> int:
        """Return the number of classes, K, that logits (N, W) stand for."""
        return int(self.logs(logits[:1]).shape[1])

    def hot(self, targets: Values, k: int) -> F64:
        """Return targets as float64 (N, K): one-hot, or multi-hot as they are."""
        return targets.astype(np.float64) if self.several else np.eye(k)[targets]

    def answers(self, probabilities: npt.ArrayLike, thresholds: npt.ArrayLike = 0.5) -> Answers:
        """Return the answers for probabilities (N, K): class indices int64 (N,), or bool (N, K) where `several`."""
        return self.decide(np.asarray(probabilities), thresholds)

    def foremost(self, probabilities: npt.ArrayLike) -> I64:
        """Return the class that each answer is about, int64 (N,): the answer, or of several labels the most probable."""
        p = np.asarray(probabilities)
        return np.asarray(p.argmax(axis=1) if self.several else self.answers(p), np.int64)

    def certainty(self, probabilities: npt.ArrayLike) -> F64:
        """Return how sure the answers are, float64 (N,) in 0..1: their probability; of several labels the least sure one's."""
        return self.sure(np.asarray(probabilities, np.float64))

    def right(self, probabilities: npt.ArrayLike, targets: Values, thresholds: npt.ArrayLike = 0.5) -> F64:
        """Return what each answer scores, float64 (N,): 1 or 0; of several labels the share that is right."""
        same = self.answers(probabilities, thresholds) == targets
        return np.asarray(same.mean(axis=1) if self.several else same, np.float64)


def _log_softmax(z: F64) -> F64:
    shifted = z - z.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _categorical(z: F64, truth: F64) -> tuple[F64, F64]:
    logs = _log_softmax(z)
    return -(truth * logs).sum(axis=1), np.exp(logs) - truth


def _log_sum(z: F64) -> F64:
    best = z.max(axis=1)
    return np.asarray(best + np.log(np.exp(z - best[:, None]).sum(axis=1)))


CATEGORICAL = Family(
    "categorical",
    several=False,
    width=lambda k: k,
    logs=_log_softmax,
    cost=_categorical,
    energy=lambda z: -_log_sum(z),
    decide=lambda p, thresholds: p.argmax(axis=1).astype(np.int64),
    sure=lambda p: np.asarray(p.max(axis=1)),
)


def _log_sigmoid(z: F64) -> F64:
    return np.asarray(-np.logaddexp(0, -z))


def _bernoulli(z: F64, truth: F64) -> tuple[F64, F64]:
    yes, no = _log_sigmoid(z), _log_sigmoid(-z)
    return -(truth * yes + (1 - truth) * no).sum(axis=1), np.exp(yes) - truth


BERNOULLI = Family(
    "bernoulli",
    several=True,
    width=lambda k: k,
    logs=_log_sigmoid,
    cost=_bernoulli,
    energy=lambda z: -np.logaddexp(0, z).sum(axis=1),
    decide=lambda p, thresholds: np.asarray(p >= np.asarray(thresholds, p.dtype)),
    sure=lambda p: np.asarray(np.maximum(p, 1 - p).min(axis=1)),
)


def _steps(z: F64) -> F64:
    """Return log p (N, W + 1): beyond every class before, and not beyond this one."""
    beyond = np.concatenate([np.zeros((len(z), 1)), _log_sigmoid(z).cumsum(axis=1)], axis=1)
    return np.asarray(beyond + np.concatenate([_log_sigmoid(-z), np.zeros((len(z), 1))], axis=1))


def _sequential(z: F64, truth: F64) -> tuple[F64, F64]:
    here = truth[:, :-1]
    beyond = truth[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:]
    loss = -(beyond * _log_sigmoid(z) + here * _log_sigmoid(-z)).sum(axis=1)
    return loss, (here + beyond) * np.exp(_log_sigmoid(z)) - beyond


def median(p: Values) -> I64:
    """Return the median class of probabilities (N, K) of ordered classes, int64 (N,): no answer has a smaller mean error."""
    below = (p.cumsum(axis=1) < 0.5).sum(axis=1)
    return np.asarray(np.minimum(below, p.shape[1] - 1), np.int64)


SEQUENTIAL = Family(
    "sequential",
    several=False,
    width=lambda k: k - 1,
    logs=_steps,
    cost=_sequential,
    energy=lambda z: -np.logaddexp(z / 2, -z / 2).sum(axis=1),
    decide=lambda p, thresholds: median(p),
    sure=lambda p: np.asarray(p[np.arange(len(p)), median(p)]),
)


def through(family: Family, matrix: npt.ArrayLike, *, name: str) -> Family:
    """Return a family of outputs (N, V) whose logits are outputs @ matrix, float64 (V, W): fewer numbers than classes, say.

    >>> through(CATEGORICAL, [[1, -1]], name="one number").probabilities([[0.5]]).round(2).tolist()
    [[0.73, 0.27]]
    """
    by = np.asarray(matrix, np.float64)

    def cost(z: F64, truth: F64) -> tuple[F64, F64]:
        losses, slopes = family.cost(z @ by, truth)
        return losses, slopes @ by.T

    return replace(
        family,
        name=name,
        width=lambda _: len(by),
        logs=lambda z: family.logs(z @ by),
        cost=cost,
        energy=lambda z: family.energy(z @ by),
    )
