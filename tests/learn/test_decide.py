from __future__ import annotations

import pytest
from torch import nn

from beholder.base.recipe import Recipe
from beholder.learn.decide import plan
from beholder.learn.flips import Flips
from beholder.nets.fastnet import fastnet
from beholder.nets.plain import cnn


def _plan(recipe: Recipe, **changes: object):
    net = fastnet(channels=3, size=(32, 32), classes=2, width=0.25)
    facts = {"n": 1000, "classes": ("ant", "bee"), "net": "fastnet", "built": net, "pretrained": False, "size": (32, 32)}
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


def test_what_was_measured_wins_over_names() -> None:
    """Along each axis; test-time mirroring follows."""
    kept = _plan(Recipe(), classes=("left", "right"), flips=Flips(True, True, "measured"))
    assert (kept.augment.vertical, kept.mirror) == (0.5, True)
    assert kept.augment.horizontal > 0 or kept.augment.alternate
    turned = _plan(Recipe(), classes=("ant", "bee"), flips=Flips(False, True, "measured"))
    assert (turned.augment.horizontal, turned.augment.alternate, turned.augment.vertical, turned.mirror) == (
        0,
        False,
        0.5,
        False,
    )
    unknown = _plan(Recipe(), classes=("left", "right"), flips=Flips(why="20 are too few"))
    assert not unknown.mirror
    assert "20 are too few; no flips" in unknown.reasons[0]
    assert not _plan(Recipe().set(flip="none"), flips=Flips(True, True, "measured")).mirror


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
    fresh, tuned = (_plan(Recipe(), net="timm:vit", built=nn.Linear(3, 2), pretrained=known) for known in (False, True))
    assert _plan(Recipe(), net="timm:resnet18", pretrained=True).lr > tuned.lr
    assert tuned.lr < fresh.lr
    assert tuned.epochs < fresh.epochs


def test_mixing_is_taken_from_the_recipe() -> None:
    made = _plan(Recipe().set(mixup=0.2, cutmix=1.0))
    assert (made.augment.mixup, made.augment.cutmix) == (0.2, 1.0)


def test_progressive_resizing_is_said_and_left_out_for_a_net_of_one_size() -> None:
    recipe = Recipe().set(grow=0.5)
    growing = _plan(recipe)
    assert growing.grow == 0.5
    assert any("16 × 16" in reason for reason in growing.reasons)
    fixed = _plan(recipe, built=cnn(channels=3, size=(32, 32), classes=2), net="cnn")
    assert fixed.grow == 1.0
    assert any("one size only" in reason for reason in fixed.reasons)


def test_the_rate_on_the_sphere_follows_the_root_of_the_batch() -> None:
    small, large = (_plan(Recipe().set(batch=batch, optimiser="sphere"), n=5000) for batch in (500, 2000))
    assert large.lr == pytest.approx(0.24)
    assert small.lr == pytest.approx(0.12)
    assert _plan(Recipe().set(batch=500, lr=0.3, optimiser="sphere"), n=5000).lr == 0.3


def test_the_sphere_is_for_nets_whose_weights_length_makes_no_difference() -> None:
    asked = Recipe().set(optimiser="sphere")
    assert _plan(asked).optimiser == "sphere"
    assert _plan(asked, built=cnn(channels=3, size=(32, 32), classes=2), net="cnn").optimiser == "muon"


def test_a_budget_of_minutes_may_take_more_epochs_unless_they_are_named() -> None:
    plain, timed = _plan(Recipe()), _plan(Recipe().set(minutes=10))
    assert timed.epochs == 3 * plain.epochs
    assert _plan(Recipe().set(minutes=10, epochs=7)).epochs == 7
