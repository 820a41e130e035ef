"""The task `ordinal`: one of several classes in an order, such as grades 0 to 4, by sequential (continuation-ratio) logits.

Logit j says how likely a picture of at least grade j is beyond it, so probabilities of exceeding a grade never rise with it.
Source: X. Shi, W. Cao, S. Raschka, Deep neural networks for rank-consistent ordinal regression based on conditional
probabilities (CORN), Pattern Analysis and Applications 26 (2023); the loss here is the exact likelihood, over all pictures.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.names import position
from beholder.measure.families import SEQUENTIAL
from beholder.measure.ordinal import ERROR, KAPPA, ordinal, statistics
from beholder.measure.scores import Scores
from beholder.tasks.objectives import by
from beholder.tasks.single import balance
from beholder.tasks.task import Floats, Ints, Statistic, Task, alone

if TYPE_CHECKING:
    from torch import Tensor


def loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Negative log likelihood, with label smoothing over the classes; the rows of `targets` sum to 1."""
    from torch.nn import functional as F

    soft = targets * (1 - smoothing) + smoothing / targets.shape[1]
    soft = soft if weights is None else soft * weights
    beyond = soft.flip(1).cumsum(1).flip(1)[:, 1:]
    return (beyond * F.softplus(-logits) + soft[:, :-1] * F.softplus(logits)).sum(1).mean()


def activation(logits: Tensor) -> Tensor:
    """Return the probability of each class: to be beyond those below it, and not beyond it."""
    from torch.nn import functional as F

    beyond = F.pad((-F.softplus(-logits)).cumsum(1), (1, 0))
    return (beyond + F.pad(-F.softplus(logits), (0, 1))).exp()


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of pictures whose median class is theirs."""
    below = (activation(logits).cumsum(1) < 0.5).sum(1).clamp(max=targets.shape[1] - 1)
    return (below == targets.argmax(1)).float().mean()


def objective(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """Return the quadratic weighted kappa; where it is undefined, less the mean absolute error."""
    found = _statistic(KAPPA, logits, targets)
    return found if found == found else closeness(logits, targets)


def closeness(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """Return the mean absolute error below zero: the higher the better."""
    return -_statistic(ERROR, logits, targets)


def _statistic(name: str, logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    answers = np.asarray(SEQUENTIAL.answers(SEQUENTIAL.probabilities(logits)), np.int64)
    of = statistics(targets.argmax(axis=1), answers, targets.shape[1])[name]
    return float(of(np.ones((1, len(answers)), np.int64))[0])


def score(p: npt.ArrayLike, targets: npt.ArrayLike, classes: Sequence[str], *, thresholds: object, groups: Any) -> Scores:
    """Return the scores of `measure.ordinal.ordinal`."""
    return ordinal(p, targets, classes, groups=groups)


def compared(p: npt.NDArray[Any], targets: npt.NDArray[Any], answers: npt.NDArray[Any]) -> Mapping[str, Statistic]:
    """Return quadratic weighted kappa and mean absolute error as functions of resamples."""
    of = statistics(targets, answers, p.shape[1])
    return {KAPPA: Statistic(of[KAPPA], -1.0, 1.0), ERROR: Statistic(of[ERROR], 0.0, p.shape[1] - 1.0)}


def bias(counts: Ints) -> Floats:
    """Return the logits float64 (K - 1,) under which each class is as likely as it is common."""
    at_least = counts[::-1].cumsum()[::-1]
    return np.log((at_least[1:] + 0.5) / (counts[:-1] + 0.5))


NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


def order(classes: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
    """Return the classes in the order asked for, or else by the one number in each of their names.

    Raises `UsageError` for an order of other classes, and for names without a number.
    """
    if asked:
        return _as_asked(classes, asked)
    numbers = [NUMBER.findall(name) for name in classes]
    found = [float(number[0]) for number in numbers if len(number) == 1]
    if len(found) < len(classes) or len(set(found)) < len(found):
        what = f"the order of the classes is not known: {', '.join(classes[:5])}"
        hint = f'say it, from the lowest on: --set data.order="{",".join(classes[:5])}"'
        raise UsageError(what, code="no-order", hint=hint)
    return [classes[k] for k in np.argsort(found, kind="stable").tolist()]


def _as_asked(classes: Sequence[str], asked: Sequence[str]) -> Sequence[str]:
    places = [position(name, classes) for name in asked]
    for name, place in zip(asked, places, strict=True):
        if place < 0:
            raise UsageError(f"there is no class '{name}'", code="unknown-class", hint=did_you_mean(name, list(classes)))
    missing = [name for k, name in enumerate(classes) if k not in places]
    if missing or len(set(places)) < len(places):
        what = f"is without {', '.join(missing[:5])}" if missing else "names a class twice"
        raise UsageError(f"data.order {what}", code="no-order", hint="name each class once, from the lowest to the highest")
    return [classes[k] for k in places]


ORDINAL = Task(
    "ordinal",
    SEQUENTIAL,
    loss=loss,
    turns=alone(loss, right),
    activation=activation,
    balance=balance,
    score=score,
    objective=objective,
    objectives={KAPPA: objective, ERROR: closeness, **by(SEQUENTIAL, "accuracy", "macro_f1", "balanced_accuracy", "auroc")},
    compared=compared,
    bias=bias,
    order=order,
    share=False,
)
