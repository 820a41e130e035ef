"""What `tune` searches: learning rate, weight decay, augmentation and width, around what the recipe would choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from beholder.base.recipe import Recipe


class Trial(Protocol):
    """The part of an optuna Trial that is used here; a finished one answers with the values that it had."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number between low and high."""


def suggest(trial: Trial, recipe: Recipe, plan: Mapping[str, Any]) -> Recipe:
    """Return `recipe` with the values that `trial` suggests.

    plan: what a run with the recipe as it is decided ("lr", "weight_decay", "net", "width"); they are searched as factors.
    """
    changes: dict[str, object] = {
        "lr": plan["lr"] * trial.suggest_float("lr_factor", 0.2, 5.0, log=True),
        "weight_decay": plan["weight_decay"] * trial.suggest_float("decay_factor", 0.1, 10.0, log=True),
        "strength": min(4.0, recipe.data.strength * trial.suggest_float("augment_strength", 0.0, 2.0)),
    }
    if has_width(plan["net"]):
        changes["width"] = plan["width"] * trial.suggest_float("width_factor", 0.5, 2.0, log=True)
    return recipe.set(**changes)


def defaults(plan: Mapping[str, Any]) -> dict[str, float]:
    """Return the point of the space that changes nothing."""
    point = {"lr_factor": 1.0, "decay_factor": 1.0, "augment_strength": 1.0}
    return point | ({"width_factor": 1.0} if has_width(plan["net"]) else {})


def has_width(net: str) -> bool:
    """Return True for nets whose number of channels is a dial."""
    return ":" not in net and net != "logistic"
