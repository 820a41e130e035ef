"""A task that is judged by how far off its answers are, such as degrees of an angle or years of an age."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.records import Score
from beholder.measure.intervals import FEWEST_GROUPS, by_variance, cluster_numbers, mean_variance
from beholder.measure.scores import Scores
from beholder.tasks.task import Floats, Ints, Statistic, Task


def by_error(task: Task, name: str, error: Callable[[Floats, Ints], Floats], *, most: float) -> Task:
    """Return the task with the mean of an error as its first score, and its objective: the smaller the better.

    name: what it is called, with its unit; error: (probabilities (N, K), truth int (N,)) → float (N,) in 0..most
    Its interval is Wilson's of the error as a share of `most`, with the variance of pictures, or groups (`by_variance`): it
    has a width where no answer is off; of fewer than `FEWEST_GROUPS` groups there is none.
    """

    def mean(p: npt.ArrayLike, truth: npt.ArrayLike, groups: Any = None) -> Score:
        each = _each(error, p, truth)
        n, units = len(each), cluster_numbers(len(each), groups)
        count = int(units.max(initial=-1)) + 1
        if not n or count < min(FEWEST_GROUPS, n):
            return Score(float(each.mean()) if n else math.nan, math.nan, math.nan, n)
        found = by_variance(float(each.mean()) / most, mean_variance(each / most, units), n, units=float(count))
        return Score(most * found.value, most * found.low, most * found.high, n)

    def score(p: npt.ArrayLike, truth: npt.ArrayLike, classes: Sequence[str], *, thresholds: object, groups: Any) -> Scores:
        found = task.score(p, truth, classes, thresholds=thresholds, groups=groups)
        headline = {name: mean(p, truth, groups), **found.headline}
        return replace(found, headline=headline, ranges={**found.ranges, name: (0.0, most)})

    def objective(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
        return -float(_each(error, task.family.probabilities(logits), targets.argmax(axis=1)).mean())

    def compared(p: npt.NDArray[Any], truth: npt.NDArray[Any], answers: npt.NDArray[Any]) -> Mapping[str, Statistic]:
        each = _each(error, p, truth)
        return {name: Statistic(lambda drawn: np.asarray(drawn) @ each / np.sum(drawn, axis=-1), 0.0, most)}

    return replace(task, score=score, objective=objective, objectives={}, compared=compared, share=False)


def _each(error: Callable[[Floats, Ints], Floats], p: npt.ArrayLike, truth: npt.ArrayLike) -> Floats:
    return np.asarray(error(np.asarray(p, np.float64), np.asarray(truth, np.int64)), np.float64)
