"""What is said of a run with a budget: what was tried, and what a test should find of the best of it."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.recipe import Recipe
from beholder.bundle.config import Tried
from beholder.learn.begin import Learning
from beholder.learn.checkpoint import RunFolder
from beholder.learn.prepare import Prepared
from beholder.measure.optimism import NONE, Expected, Luck, expected

STRONGEST = 12
"""Validations among which resamples choose: the best by their scores, for others would hardly ever be chosen."""


def tried(
    before: Sequence[Tried], learning: Learning, prepared: Prepared, began: float, *, seeds: Sequence[Tried] = ()
) -> tuple[Tried, ...]:
    """Return what was tried: what came `before` training, the floor that was found since, training itself, and more `seeds`.

    began: `time.monotonic()` of the start of the run
    """
    return (*before, *_floor(before, learning, prepared), _training(learning, prepared, began, more=bool(seeds)), *seeds)


def told(row: Tried) -> Tried:
    """Return a row of what was tried, once it is said."""
    events.note("tried", **{name: value for name, value in vars(row).items() if name != "curve"})
    return row


def decided(recipe: Recipe, before: Sequence[Tried]) -> dict[str, Any]:
    """Return what a resumed run has to know of how its recipe was chosen, as JSON values."""
    fields = {"net": recipe.net.name, "enlarge": recipe.net.enlarge, "size": recipe.data.size}
    return {**fields, "class_weights": recipe.train.class_weights, "tried": [asdict(row) for row in before]}


def as_decided(recipe: Recipe, known: Mapping[str, Any]) -> Recipe:
    """Return a recipe with what it leaves open as it was chosen; known: as `decided` returns it."""
    fields: dict[str, Any] = {}
    if recipe.net.name == "auto":
        fields = {"net": known["net"], "enlarge": known.get("enlarge", 0)}
    if not recipe.data.size:
        fields["size"] = known["size"]
    if recipe.train.class_weights == "none":
        fields["class_weights"] = known.get("class_weights", "none")
    return recipe.set(**fields)


def _floor(before: Sequence[Tried], learning: Learning, prepared: Prepared) -> list[Tried]:
    floor, head = learning.floor, learning.head
    if floor is None or any(row.rung == "head" for row in before):
        return []
    rung = "head" if head is not None else "floor"
    what = f"{floor.name} ({prepared.recipe.net.name})" if head is not None else floor.name
    outcome = "kept: training brought nothing better" if learning.run.best.epoch < 0 else "training is better"
    return [Tried(rung, what, _finite(floor.score), floor.chosen, 0.0, 0.0, outcome)]


def _training(learning: Learning, prepared: Prepared, began: float, *, more: bool) -> Tried:
    run, net = learning.run, prepared.recipe.net
    what = f"{net.name}, {'fine-tuned' if prepared.created.pretrained else 'from random weights'}"
    what += f", {prepared.policy.width} × {prepared.policy.height} pixels"
    if learning.tempo.left_out:
        return Tried("training", what, None, 0, time.monotonic() - began, 0.0, "left out: there was no time for it")
    start = max(0.0, time.monotonic() - began - run.clock.spent)
    spent = float(run.at.history[-1]["seconds"]) if more else run.clock.spent
    curve = tuple((round(start + row["seconds"], 2), row["valid_score"]) for row in run.at.history if known(row))
    score = max((value for _, value in curve), default=None)
    outcome = "kept" if run.best.epoch >= 0 else "no better than what it had to beat"
    outcome = "more seeds are better" if run.best.epoch > run.at.epoch else outcome
    return Tried("training", what, score, len(learning.later.pixels), round(start, 2), round(spent, 2), outcome, curve)


def known(row: dict[str, Any]) -> bool:
    """Return whether a row of a history has a validation score."""
    return isinstance(row.get("valid_score"), float) and math.isfinite(row["valid_score"])


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def luck_in(folder: RunFolder | None) -> Luck:
    """Return the luck of the run in the folder, where it was chosen from several by the beginnings of their training."""
    kept = folder.kept("luck") if folder is not None else None
    return NONE if kept is None else Luck(float(kept["luck"][0]), int(kept["luck"][1]))


def expectation(learning: Learning, prepared: Prepared, tested: int, luck: Luck = NONE) -> Expected | None:
    """Return what a test of so many pictures should find of the best validation; None where nothing was validated.

    luck: of the recipe, where a search chose it on the same pictures
    """
    task, targets = prepared.task, np.asarray(learning.later.targets.numpy())
    outputs = {at: np.asarray(each.float().numpy()) for at, each in learning.heard.items() if each.isfinite().all()}
    chosen = learning.run.best.epoch
    if chosen not in outputs or not tested or not len(targets):
        return None
    order = sorted(outputs, key=lambda at: (at != chosen, -task.objective(outputs[at], targets)))[:STRONGEST]
    proportion = task.objective is task.objectives.get("accuracy") and not task.several
    how: dict[str, Any] = {"tested": tested, "proportion": proportion, "luck": luck, "seed": 0}
    found = expected([outputs[at] for at in order], targets, task.objective, **how)
    return found if math.isfinite(found.value) and math.isfinite(found.low) else None
