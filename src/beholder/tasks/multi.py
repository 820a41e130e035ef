"""The task `multi`: a picture may carry several labels or none, by a sigmoid and binary cross-entropy for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from beholder.measure.counts import mean_of_defined, of_labels
from beholder.measure.curves import average_precision
from beholder.measure.families import BERNOULLI
from beholder.measure.scores import Scores, multi
from beholder.tasks.objectives import by
from beholder.tasks.task import Floats, Ints, Statistic, Task, alone

if TYPE_CHECKING:
    from torch import Tensor


def loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
    """Binary cross-entropy per class; `smoothing` pulls targets towards a half, `weights` are of the positives."""
    from torch.nn import functional as F

    soft = targets * (1 - smoothing) + smoothing / 2
    return F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights)


def right(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the share of labels that are right."""
    return ((logits > 0) == (targets > 0.5)).float().mean()


def activation(logits: Tensor) -> Tensor:
    """A sigmoid for each class."""
    return logits.sigmoid()


def balance(counts: Ints, n: int) -> Floats:
    """Return the pictures without a label for each one with it, at most 20."""
    seen = np.maximum(counts, 1)
    return np.clip((n - seen) / seen, 0.05, 20.0)


def objective(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
    """Return the mean over classes of average precision, of those that some picture has; NaN where there is none."""
    values, truth = logits.astype(np.float64), targets > 0.5
    found = [float(average_precision(values[:, k], truth[:, k])) for k in np.flatnonzero(truth.any(axis=0)).tolist()]
    return float(np.mean(found)) if found else float("nan")


def score(p: npt.ArrayLike, targets: npt.ArrayLike, classes: Sequence[str], *, thresholds: Any, groups: Any) -> Scores:
    """Return the scores of `measure.scores.multi`."""
    return multi(p, targets, classes, thresholds=thresholds, groups=groups)


def compared(p: npt.NDArray[Any], targets: npt.NDArray[Any], answers: npt.NDArray[Any]) -> Mapping[str, Statistic]:
    """Return mean average precision and macro-F1 as functions of resamples."""
    truth = targets.astype(bool)

    def precisions(drawn: Sequence[Ints]) -> Floats:
        rows = np.asarray(drawn)
        columns = [average_precision(p[:, c], truth[:, c], rows) for c in range(p.shape[1])]
        return mean_of_defined(np.stack(columns, axis=-1))

    def decisions(drawn: Sequence[Ints]) -> Floats:
        return mean_of_defined(of_labels(answers, truth, np.asarray(drawn, np.float64)).f1())

    return {"map": Statistic(precisions), "macro_f1": Statistic(decisions)}


MULTI = Task(
    "multi",
    BERNOULLI,
    loss=loss,
    turns=alone(loss, right),
    activation=activation,
    balance=balance,
    score=score,
    objective=objective,
    objectives={"map": objective, **by(BERNOULLI, "macro_f1", "micro_f1", "auroc")},
    compared=compared,
    measure="labels",
)
