"""What is fitted on the validation part once the weights are chosen: calibration, operating points, sets, strangers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.recipe import Recipe, TestRecipe
from beholder.bundle import stranger
from beholder.bundle.bundle import Bundle
from beholder.measure import calibration, conformal
from beholder.measure.abstention import Operating, accepting, certainty, finding, mistakes

Floats = npt.NDArray[np.float32]


def check(recipe: Recipe, classes: Sequence[str]) -> None:
    """Raise `UsageError` where the recipe asks for the sensitivity of no class, or of one that there is not."""
    wish = recipe.test
    if bool(wish.sensitivity) != bool(wish.positive):
        what = (
            "a sensitivity is asked for, but not of which class" if wish.sensitivity else "a class is named, but no sensitivity"
        )
        hint = f"give both, such as --sensitivity 0.95 --for {wish.positive or classes[0]}"
        raise UsageError(what, code="half-asked", hint=hint)
    if wish.positive and wish.positive not in classes:
        hint = did_you_mean(wish.positive, classes)
        raise UsageError(f"there is no class '{wish.positive}'", code="unknown-class", hint=hint)


def settle(
    bundle: Bundle, logits: Floats, features: Floats, targets: npt.NDArray[Any], *, groups: npt.ArrayLike | None = None
) -> None:
    """Fit on validation pictures what `bundle.recipe.test` asks for, and keep it in `bundle.config`, each with its n.

    logits: float32 (N, K), not calibrated, and features: float32 (N, F), as `bundle.outputs` gives them;
    targets: int64 (N,) or uint8 (N, K); groups: int (N,), pictures of one person share a number.
    The weights were chosen on the same pictures, so a little more is promised here than holds: the test part tells.
    """
    wish, multi = bundle.recipe.test, bundle.multi
    scaling = _calibration(wish, logits, targets, groups, multi=multi)
    bundle.config["calibration"] = scaling.json()
    events.note(f"calibration: {scaling.method}" + (f"; {scaling.reason}" if scaling.reason else ""))
    p = bundle.activated(logits)
    for key in ("conformal", "operating"):
        bundle.config.pop(key, None)
    if wish.coverage:
        sets = conformal.fit(p, targets, coverage=wish.coverage, multi=multi, per_class=wish.per_class, kind=wish.sets)
        bundle.config["conformal"] = sets.json()
        _tell_sets(sets, bundle.classes)
    points = _operating(bundle, p, targets)
    if points:
        bundle.config["operating"] = {point.kind: point.json() for point in points}
    stranger.keep(bundle, logits, features)


def _calibration(
    wish: TestRecipe, logits: Floats, targets: npt.NDArray[Any], groups: npt.ArrayLike | None, *, multi: bool
) -> calibration.Calibration:
    if wish.calibrate == "auto":
        return calibration.choose(logits, targets, multi=multi, groups=groups)
    return calibration.fit(logits, targets, multi=multi, method=wish.calibrate)


def _operating(bundle: Bundle, p: Floats, targets: npt.NDArray[Any]) -> list[Operating]:
    """Return the operating points that the recipe asks for; one that cannot be promised has no threshold, and is warned of."""
    wish, multi, points = bundle.recipe.test, bundle.multi, []
    if wish.accept_risk:
        wrong = mistakes(p, targets, multi=multi, thresholds=bundle.config["thresholds"])
        points.append(accepting(certainty(p, multi=multi), wrong, risk=wish.accept_risk, confidence=wish.confidence))
    if wish.sensitivity:
        k = bundle.classes.index(wish.positive)
        rows = targets[:, k].astype(bool) if multi else targets == k
        points.append(finding(p[rows, k], sensitivity=wish.sensitivity, confidence=wish.confidence, label=wish.positive))
    for point in points:
        what = f"{point.kind} {point.target:g}" + (f" of {point.label}" if point.label else "")
        if point.threshold is None:
            hint = "give more validation pictures, or ask for less: another target, or a lower test.confidence"
            events.warn(f"no operating point for {what}: {point.reason}", hint=hint)
        else:
            events.note(f"operating point for {what}: threshold {point.threshold:.4g}; {point.reason}")
    return points


def _tell_sets(sets: conformal.Sets, classes: Sequence[str]) -> None:
    each = " for each class" if sets.per_class else ""
    low, high = conformal.spread(sets.n, sets.coverage)
    events.note(
        f"sets of classes: coverage {sets.coverage:g}{each}, fitted on {sets.n} pictures (within {low:.3f} to {high:.3f})"
    )
    always = [name for name, threshold in zip(classes, sets.thresholds, strict=True) if threshold >= 1]
    if always:
        some = ", ".join(always[:5]) + (f" and {len(always) - 5} more" if len(always) > 5 else "")
        events.note(f"too few validation pictures to ever leave out {some}: in every set")
