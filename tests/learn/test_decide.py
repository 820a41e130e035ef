from __future__ import annotations

import pytest

from beholder.base.recipe import Recipe
from beholder.learn.decide import plan


def _plan(recipe: Recipe, **changes: object):
    facts = {"n": 1000, "classes": ("ant", "bee"), "net": "fastnet", "pretrained": False, "size": (32, 32), "batch_norm": True}
    return plan(recipe, **{**facts, **changes})


@pytest.mark.parametrize("names", [("0", "1"), ("a", "b"), ("turn_left", "turn_right"), ("seven", "eight"), ("左", "右")])
def test_classes_that_a_mirror_would_change_are_not_flipped(names: tuple[str, str]) -> None:
    made = _plan(Recipe(), classes=names)
    assert made.augment.horizontal == 0
    assert not made.augment.alternate
    assert not made.mirror
    assert "no flips" in made.reasons[0]


@pytest.mark.parametrize("names", [("NORMAL", "PNEUMONIA"), ("glass", "paper"), ("bright", "dark"), ("someone", "nobody")])
def test_other_classes_are_flipped(names: tuple[str, str]) -> None:
    made = _plan(Recipe(), classes=names)
    assert made.augment.horizontal > 0 or made.augment.alternate
    assert made.mirror


def test_a_person_can_decide_otherwise() -> None:
    asked = {"epochs": 3, "batch": 7, "lr": 0.5, "optimiser": "sgd", "schedule": "onecycle", "weight_decay": 0.0}
    made = _plan(Recipe().set(flip="none", augment="strong", **asked))
    assert asked == {name: getattr(made, name) for name in asked}
    assert made.augment.horizontal == 0
    assert made.augment.erase > 0


def test_effort_multiplies_the_epochs_that_are_chosen() -> None:
    assert _plan(Recipe().set(effort=2.0)).epochs == 2 * _plan(Recipe()).epochs
    assert _plan(Recipe().set(effort=2.0, epochs=7)).epochs == 7


def test_more_pictures_mean_fewer_epochs_and_larger_batches() -> None:
    few, many = _plan(Recipe(), n=200), _plan(Recipe(), n=50_000)
    assert few.epochs > many.epochs >= 16
    assert few.batch < many.batch


def test_pretrained_nets_are_changed_gently() -> None:
    fresh, tuned = (_plan(Recipe(), net="timm:vit", batch_norm=False, pretrained=known) for known in (False, True))
    assert _plan(Recipe(), net="timm:resnet18", pretrained=True).lr > tuned.lr
    assert tuned.lr < fresh.lr
    assert tuned.epochs < fresh.epochs


def test_mixing_is_taken_from_the_recipe() -> None:
    made = _plan(Recipe().set(mixup=0.2, cutmix=1.0))
    assert (made.augment.mixup, made.augment.cutmix) == (0.2, 1.0)
