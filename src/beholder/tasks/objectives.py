"""The score on validation by which weights, heads and candidates are chosen, where a person names one (`train.objective`)."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.names import position
from beholder.base.recipe import Recipe
from beholder.measure.counts import Counts, mean_of_defined, of_labels
from beholder.measure.curves import auroc
from beholder.measure.families import Family
from beholder.tasks import TASKS, named
from beholder.tasks.task import Floats, Objective, Task

Bools = npt.NDArray[np.bool_]
Measure = Callable[[Floats, Bools, Bools], float]
"""(probabilities (N, K), truth (N, K), answers (N, K)) → the higher the better; NaN where it is undefined."""

AT = ("sensitivity@", "specificity@")
"""Measures at an operating point: `sensitivity@0.95` is the sensitivity at a specificity of 0.95, and the other way round."""


def _counted(of: Callable[[Counts], Floats]) -> Measure:
    """Return the mean over the classes that some picture has of a share that follows from counts."""

    def measure(p: Floats, truth: Bools, told: Bools) -> float:
        return float(mean_of_defined(np.where(truth.any(axis=0), of(of_labels(told, truth, np.ones(len(truth)))), np.nan)))

    return measure


def _accuracy(p: Floats, truth: Bools, told: Bools) -> float:
    return float((told == truth).all(axis=1).mean())


def _micro_f1(p: Floats, truth: Bools, told: Bools) -> float:
    both = int(truth.sum() + told.sum())
    return 2 * int((truth & told).sum()) / both if both else math.nan


def _auroc(p: Floats, truth: Bools, told: Bools) -> float:
    return float(mean_of_defined(np.array([auroc(p[:, k], truth[:, k])[0] for k in range(p.shape[1])])))


MEASURES: Mapping[str, Measure] = {
    "accuracy": _accuracy,
    "macro_f1": _counted(Counts.f1),
    "balanced_accuracy": _counted(Counts.recall),
    "micro_f1": _micro_f1,
    "auroc": _auroc,
}


def by(family: Family, *names: str) -> dict[str, Objective]:
    """Return measures of a family's probabilities and answers as objectives, by name."""
    return {name: _of(family, MEASURES[name]) for name in names}


def _of(family: Family, measure: Measure) -> Objective:
    def objective(logits: npt.NDArray[np.floating], targets: npt.NDArray[np.floating]) -> float:
        p = family.probabilities(logits)
        found = family.answers(p)
        told = found if family.several else np.eye(p.shape[1], dtype=bool)[found]
        return measure(p, targets > 0.5, np.asarray(told, bool))

    return objective


def operating(kind: str, share: float, only: int | None = None) -> Measure:
    """Return a measure at an operating point: the mean over the classes, each told from all others by its probability.

    kind "sensitivity": the largest share of a class's pictures that a threshold finds which rejects at least `share` of the
    others; "specificity": the largest share of the others that one rejects which finds at least `share` of the class's.
    only: the one class that counts; None: every class that has pictures and is not all of them
    """

    def measure(p: Floats, truth: Bools, told: Bools) -> float:
        sign = 1.0 if kind == "sensitivity" else -1.0
        columns = range(p.shape[1]) if only is None else [only]
        return float(mean_of_defined(np.array([_beyond(sign * p[:, k], truth[:, k] == (sign > 0), share) for k in columns])))

    return measure


def _beyond(scores: Floats, truth: Bools, share: float) -> float:
    """Return the share of the scores of `truth` above the lowest threshold that at least `share` of the others stay within."""
    ours, others = scores[truth], np.sort(scores[~truth])
    if not len(ours) or not len(others):
        return math.nan
    return float((ours > others[math.ceil(share * len(others) - 1e-9) - 1]).mean())


def canonical(name: str) -> str:
    """Return a measure's name as it is written here: mAP is map, macro-F1 is macro_f1."""
    return re.sub(r"[-\s]", "_", name.strip().lower())


def is_objective(name: str, tasks: Sequence[Task] | None = None) -> bool:
    """Return whether any of the tasks has an objective of that name; None: any of those in the table."""
    for task in tasks if tasks is not None else TASKS.sound(of=Task).values():
        with suppress(UsageError):
            return bool(aimed(task, name))
    return False


def aimed(task: Task, name: str, classes: Sequence[str] = (), *, positive: str = "") -> Task:
    """Return a task with the objective `name`: auto (its own), one of `task.objectives`, sensitivity@S or specificity@S.

    classes, positive: the class whose sensitivity or specificity it is; "": the mean over all classes
    Raises `UsageError`: unknown-objective for a name that the task has not, unknown-class.
    """
    if name == "auto":
        return task
    asked = canonical(name)
    if asked in task.objectives:
        return replace(task, objective=task.objectives[asked])
    kind, _, number = asked.partition("@")
    if f"{kind}@" not in AT:
        raise unknown(task, name)
    only = None
    if positive and classes:
        only = position(positive, classes)
        if only < 0:
            raise UsageError(
                f"there is no class '{positive}'", code="unknown-class", hint=did_you_mean(positive, list(classes))
            )
    share = _share(kind, number)
    asked = f"{kind}@{share:g}"
    objective = _of(task.family, operating(kind, share, only))
    return replace(task, objective=objective, objectives={**task.objectives, asked: objective})


def _share(kind: str, number: str) -> float:
    try:
        share = float(number)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        other = "specificity" if kind == "sensitivity" else "sensitivity"
        what = f"'{kind}@{number}'" if number else f"'{kind}'"
        hint = f"say at which {other}, above 0 and at most 1: {kind}@0.95"
        raise UsageError(f"{what} is no objective", code="unknown-objective", hint=hint)
    return share


def unknown(task: Task, name: str) -> UsageError:
    """Return what to say of a name that is no objective of a task."""
    known = [*task.objectives, *(f"{kind}0.95" for kind in AT)]
    plain = canonical(name)
    near = "" if plain in MEASURES or plain == "map" else f"{did_you_mean(plain, known)}; "
    hint = f"{near}it has {', '.join(known)}"
    return UsageError(f"the task '{task.name}' has no objective '{name}'", code="unknown-objective", hint=hint)


def name_of(task: Task) -> str:
    """Return what a task's objective is called; "" for one of a user's own that has no name."""
    return next((name for name, objective in task.objectives.items() if objective is task.objective), "")


def aim(recipe: Recipe, task: Task, classes: Sequence[str] = ()) -> Task:
    """Return a task with the objective of a recipe; errors as of `aimed`."""
    return aimed(task, recipe.train.objective, classes, positive=recipe.test.positive)


def explained(task: Task, positive: str = "") -> str:
    """Return in a sentence what is meant by the objective of a task, and what it is for."""
    name = name_of(task)
    kind, _, share = name.partition("@")
    what = name
    if share:
        of = f"of {positive}" if positive else "the mean over the classes, each against the rest"
        reject = f"at a threshold that rejects at least {share} of the other pictures"
        find = f"at a threshold that finds at least {share} of its pictures"
        what = f"{name} ({of}, {reject if kind == 'sensitivity' else find})"
    return f"objective: weights are chosen by {what} on validation"


def check(recipe: Recipe) -> None:
    """Raise `UsageError` (unknown-objective) for an objective that the recipe's task has not; of "auto", that no task has."""
    tasks = [named(name) for name in (("single", "multi") if recipe.task == "auto" else (recipe.task,))]
    if not is_objective(recipe.train.objective, tasks):
        aimed(tasks[0], recipe.train.objective)
