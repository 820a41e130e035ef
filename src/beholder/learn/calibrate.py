"""What is fitted on validation once the weights are chosen: calibration, operating points, prediction sets, OOD detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.fields import TestRecipe
from beholder.base.names import position
from beholder.base.recipe import Recipe
from beholder.bundle import ood
from beholder.bundle.bundle import Bundle
from beholder.measure import calibration, conformal
from beholder.measure.selective import Operating, accepting, finding, mistakes
from beholder.tasks.objectives import aim, name_of
from beholder.tasks.task import Task

Floats = npt.NDArray[np.float32]


_POINTS = {"target_risk": "risk", "sensitivity": "sensitivity"}
"""Fields of the recipe, and the operating points of a task that they ask for."""


def check(recipe: Recipe, classes: Sequence[str], task: Task) -> None:
    """Raise `UsageError` for what the task has not, and for the sensitivity of no class, or of one that there is not."""
    wish, task = recipe.test, aim(recipe, task, classes)
    idle = {"calibrate": wish.calibrate not in ("auto", "none", *task.calibrations)}
    idle |= {name: bool(getattr(wish, name)) and kind not in task.operating for name, kind in _POINTS.items()}
    if any(idle.values()):
        fields = ", ".join(f"test.{name}" for name, is_idle in idle.items() if is_idle)
        hint = f"it has {', '.join((*task.calibrations, *task.operating))}"
        raise UsageError(f"the task '{task.name}' takes no {fields}", code="unused-field", hint=hint)
    if bool(wish.sensitivity) != bool(wish.positive) and not (wish.positive and "@" in name_of(task)):
        what = (
            "a sensitivity is asked for, but not of which class" if wish.sensitivity else "a class is named, but no sensitivity"
        )
        hint = f"give both, such as --sensitivity 0.95 --positive {wish.positive or classes[0]}"
        raise UsageError(what, code="half-asked", hint=hint)
    if wish.positive and position(wish.positive, classes) < 0:
        hint = did_you_mean(wish.positive, classes)
        raise UsageError(f"there is no class '{wish.positive}'", code="unknown-class", hint=hint)


def fit(
    bundle: Bundle, logits: Floats, features: Floats, targets: npt.NDArray[Any], *, groups: npt.ArrayLike | None = None
) -> None:
    """Fit on validation pictures what `bundle.recipe.test` asks for, and keep it in `bundle.config`, each with its n.

    logits: float32 (N, K), not calibrated, and features: float32 (N, F), as `bundle.outputs` gives them;
    targets: int64 (N,) or uint8 (N, K); groups: int (N,), pictures of one person share a number.
    The weights were chosen on the same pictures, so a little more is promised here than holds: the test part tells.
    """
    wish, task = bundle.recipe.test, bundle.task
    fixed = bundle.recipe.train.objective not in ("auto", "accuracy") and not task.several
    scaling = _calibration(wish, logits, targets, groups, task=task, fixed=fixed)
    bundle.config = replace(bundle.config, calibration=scaling)
    events.note(f"calibration: {scaling.method}" + (f"; {scaling.reason}" if scaling.reason else ""))
    p, sets = bundle.activated(logits), None
    if wish.coverage and "sets" in task.operating:
        sets = conformal.fit(p, targets, coverage=wish.coverage, per_class=wish.per_class, kind=wish.sets)
        _tell_sets(sets, bundle.classes)
    bundle.config = replace(bundle.config, prediction_sets=sets, operating_points=tuple(_operating(bundle, p, targets)))
    ood.keep(bundle, logits, features)


def _calibration(
    wish: TestRecipe, logits: Floats, targets: npt.NDArray[Any], groups: npt.ArrayLike | None, *, task: Task, fixed: bool
) -> calibration.Calibration:
    """Return the scaling; where answers are `fixed`, as an objective was asked for, one that moves no class against another."""
    if wish.calibrate == "auto":
        methods = tuple(name for name in task.calibrations if not (fixed and name == "vector"))
        return calibration.choose(logits, targets, family=task.family, methods=methods, groups=groups)
    return calibration.fit(logits, targets, family=task.family, method=wish.calibrate)


def _operating(bundle: Bundle, p: Floats, targets: npt.NDArray[Any]) -> list[Operating]:
    """Return the operating points that the recipe asks for; one that cannot be promised has no threshold, and is warned of."""
    wish, family, points = bundle.recipe.test, bundle.task.family, []
    if wish.target_risk:
        wrong = mistakes(bundle.answers(p), targets)
        points.append(accepting(family.certainty(p), wrong, risk=wish.target_risk, confidence=wish.confidence))
    if wish.sensitivity:
        k = position(wish.positive, bundle.classes)
        rows = family.hot(targets, p.shape[1])[:, k] > 0
        points.append(finding(p[rows, k], sensitivity=wish.sensitivity, confidence=wish.confidence, label=bundle.classes[k]))
    for point in points:
        what = f"{point.kind} {point.target:g}" + (f" of {point.label}" if point.label else "")
        if point.threshold is None:
            hint = "give more validation pictures, or ask for less: another target, or a lower test.confidence"
            events.warn(f"no operating point for {what}: {point.reason}", hint=hint)
        else:
            events.note("operating-point", what=what, threshold=point.threshold, reason=point.reason)
    return points


def _tell_sets(sets: conformal.Sets, classes: Sequence[str]) -> None:
    each = " for each class" if sets.per_class else ""
    low, high = conformal.spread(sets.n, sets.coverage)
    events.note(
        f"prediction sets: coverage {sets.coverage:g}{each}, fitted on {sets.n} pictures (within {low:.3f} to {high:.3f})"
    )
    always = [name for name, threshold in zip(classes, sets.thresholds, strict=True) if threshold >= 1]
    if always:
        some = ", ".join(always[:5]) + (f" and {len(always) - 5} more" if len(always) > 5 else "")
        events.note(f"too few validation pictures to ever leave out {some}: in every set")
