"""What fits are compared by: a task's objective on all pictures and without each group of them, and each class's own score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import F64, I64
from beholder.measure.counts import weighted
from beholder.measure.curves import average_precision
from beholder.tasks.task import Task


@dataclass(frozen=True, eq=False)
class Judge:
    """Scores of logits (N, W) of N pictures with K classes.

    targets: one-hot or multi-hot, float32 (N, K); weights: 0 and 1, int64 (R, N), which pictures count in each of R replicates,
    the first of which is all of them
    """

    task: Task
    targets: npt.NDArray[np.float32]
    weights: I64

    def __call__(self, logits: npt.NDArray[Any]) -> F64:
        """Return the objective in each replicate, float64 (R,)."""
        kept = [np.flatnonzero(row) for row in self.weights]
        return np.array([self.task.objective(logits[rows], self.targets[rows]) for rows in kept])

    def prior_adjusted(self, logits: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return logits (N, W), of one label a picture so shifted that each class is as probable on average as it is common.

        More pictures of a class also make it likelier to be answered, for better or worse; this leaves what they show of it.
        """
        one_each = not self.task.several and logits.shape[1] == self.targets.shape[1]
        return prior_adjusted(logits, self.targets.mean(axis=0)) if one_each else logits

    def own(self, logits: npt.NDArray[Any]) -> F64:
        """Return each class's own score, its recall or, of several labels, its average precision: float64 (R, K)."""
        p = self.task.family.probabilities(logits)
        truth = self.task.targets(self.targets)
        if self.task.several:
            return np.stack([average_precision(p[:, k], truth[:, k], self.weights) for k in range(p.shape[1])], axis=-1)
        answers = np.asarray(self.task.family.answers(p), np.int64)
        return weighted(truth, answers, p.shape[1], self.weights).recall()


STEPS = 50


def prior_adjusted(logits: npt.NDArray[Any], shares: npt.NDArray[Any], *, weights: F64 | None = None) -> F64:
    """Return logits (N, K) with offsets under which the mean probability of each class is its share, float64 (K,).

    weights: float64 (N,), of the pictures; None: all alike. A class without a share keeps its offset.
    Source: M. Saerens, P. Latinne, C. Decaestecker, Adjusting the outputs of a classifier to new a priori probabilities, Neural
    Computation 14 (2002), with the shares known.
    """
    z = np.asarray(logits, np.float64)
    for _ in range(STEPS):
        p = np.exp(z - z.max(axis=1, keepdims=True))
        mean = np.average(p / p.sum(axis=1, keepdims=True), axis=0, weights=weights)
        z = z + np.log(np.where(shares > 0, shares, mean) / mean)
    return z
