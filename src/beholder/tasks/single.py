"""The task `single`: one class a picture, by softmax and cross-entropy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.measure.counts import mean_of_defined, weighted
from beholder.measure.families import CATEGORICAL
from beholder.measure.scores import Scores, single
from beholder.tasks.objectives import by
from beholder.tasks.task import Floats, Ints, Statistic, Task, alone

if TYPE_CHECKING:
    from torch import Tensor


def loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Cross-entropy with label smoothing; the rows of `targets` sum to 1."""
    from torch.nn import functional as F

    return F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing)


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of pictures whose largest logit is that of their class."""
    return (logits.argmax(1) == targets.argmax(1)).float().mean()


def activation(logits: Tensor) -> Tensor:
    """Softmax over the classes."""
    return logits.softmax(dim=1)


def balance(counts: Ints, n: int) -> Floats:
    """Return n / (K · count), mean 1 over pictures, so that each class counts alike; 0 for a class without pictures."""
    return np.where(counts > 0, n / (len(counts) * np.maximum(counts, 1)), 0.0)


def objective(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """Return the accuracy."""
    return float((logits.argmax(axis=1) == targets.argmax(axis=1)).mean())


def score(p: npt.ArrayLike, targets: npt.ArrayLike, classes: Sequence[str], *, thresholds: object, groups: Any) -> Scores:
    """Return the scores of `measure.scores.single`."""
    return single(p, targets, classes, groups=groups)


def compared(p: npt.NDArray[Any], targets: npt.NDArray[Any], answers: npt.NDArray[Any]) -> Mapping[str, Statistic]:
    """Return macro-F1 as a function of resamples."""
    return {"macro_f1": Statistic(lambda drawn: mean_of_defined(weighted(targets, answers, p.shape[1], drawn).f1()))}


SINGLE = Task(
    "single",
    CATEGORICAL,
    loss=loss,
    turns=alone(loss, right),
    activation=activation,
    balance=balance,
    score=score,
    objective=objective,
    objectives={"accuracy": objective, **by(CATEGORICAL, "macro_f1", "balanced_accuracy", "auroc")},
    compared=compared,
)
