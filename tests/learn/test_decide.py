from __future__ import annotations

import pytest
from torch import nn

from beholder.base.choices import OPTIMISERS
from beholder.base.recipe import Recipe
from beholder.data.augment import Augment
from beholder.learn.decide import plan, uses_batch_norm
from beholder.learn.flips import Flips
from beholder.learn.optim import Optimiser
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


@pytest.mark.parametrize(("asked", "pretrained", "factor"), [(0.0, True, 1.0), (0.7, True, 0.7), (0.7, False, 1.0)])
def test_lower_layers_learn_slower_where_they_know_something_and_it_is_asked_for(
    asked: float, pretrained: bool, factor: float
) -> None:
    assert _plan(Recipe().set(layer_decay=asked), pretrained=pretrained).layer_decay == factor


@pytest.mark.parametrize(
    ("asked", "pretrained", "device", "share"),
    [
        (-1.0, True, "cpu", 0.4),
        (-1.0, True, "cuda", 0.0),
        (0.3, True, "cuda", 0.3),
        (0.0, True, "cpu", 0.0),
        (-1.0, False, "cpu", 0.0),
        (0.3, False, "cpu", 0.0),
    ],
)
def test_lower_layers_of_a_pretrained_net_stay_as_they_are_on_a_cpu(
    asked: float, pretrained: bool, device: str, share: float
) -> None:
    made = _plan(Recipe().set(freeze=asked), pretrained=pretrained, device=device)
    assert made.freeze == share
    assert any("stay as they are" in reason for reason in made.reasons) is (share > 0)


@pytest.mark.parametrize(
    ("n", "net", "size", "asked", "most", "batch"),
    [
        (50, "fastnet", 32, 0, 0, 50),
        (3_999, "fastnet", 32, 0, 0, 64),
        (4_000, "fastnet", 32, 0, 0, 128),
        (10_000, "fastnet", 96, 0, 0, 256),
        (40_000, "fastnet", 32, 0, 0, 512),
        (40_000, "fastnet", 97, 0, 0, 32),
        (40_000, "timm:resnet18", 32, 0, 0, 32),
        (40_000, "fastnet", 32, 100, 0, 100),
        (40_000, "fastnet", 32, 0, 96, 96),
        (40_000, "fastnet", 32, 100, 96, 96),
    ],
)
def test_batches_grow_with_the_pictures_as_far_as_steps_are_left(
    n: int, net: str, size: int, asked: int, most: int, batch: int
) -> None:
    assert _plan(Recipe().set(batch=asked), n=n, net=net, size=(size, 32), most=most).batch == batch


@pytest.mark.parametrize(
    ("n", "pretrained", "effort", "minutes", "epochs"),
    [
        (1_000, False, 1.0, 0.0, 150),
        (30_000, False, 1.0, 0.0, 40),
        (10**6, False, 1.0, 0.0, 16),
        (1_000, True, 1.0, 0.0, 12),
        (1_000, True, 0.5, 0.0, 6),
        (1_000, True, 0.01, 0.0, 1),
        (30_000, False, 0.5, 5.0, 60),
    ],
)
def test_epochs_are_those_of_so_many_pictures(n: int, pretrained: bool, effort: float, minutes: float, epochs: int) -> None:
    assert _plan(Recipe().set(effort=effort, minutes=minutes), n=n, pretrained=pretrained).epochs == epochs


def test_nets_with_batch_norm_bear_a_higher_rate() -> None:
    flat, normed = nn.Linear(3, 2), nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    assert (uses_batch_norm(flat), uses_batch_norm(normed)) == (False, True)
    low, high = (_plan(Recipe(), net="timm:x", built=built, pretrained=True).lr for built in (flat, normed))
    assert high == pytest.approx(low * 10 / 3)
    assert _plan(Recipe().set(lr=0.125), net="timm:x", built=normed, pretrained=True).lr == 0.125


def test_small_pictures_of_which_there_are_many_are_varied_less() -> None:
    def named(n: int, size: tuple[int, int], **fields: object) -> str:
        return _plan(Recipe().set(**fields), n=n, size=size).reasons[0].split(";")[0]

    assert named(3_000, (64, 64)) == "augmentation: light"
    assert named(2_999, (64, 64)) == named(3_000, (65, 64)) == "augmentation: standard"
    assert named(3_000, (64, 64), augment="strong") == "augmentation: strong"


def test_without_augmentation_nothing_is_flipped_whatever_was_measured() -> None:
    made = _plan(Recipe().set(augment="none"), flips=Flips(True, True, "measured"))
    assert made.augment == Augment()
    assert not made.mirror
    assert made.reasons[0] == "augmentation: none; no flips"
    still = _plan(Recipe().set(strength=0.0), flips=Flips(True, True, "measured"))
    assert still.augment.vertical == 0


def test_what_is_said_of_the_training() -> None:
    asked = {"epochs": 7, "batch": 20, "lr": 0.5, "optimiser": "sgd"}
    assert _plan(Recipe().set(**asked)).reasons[-1] == (
        "training: up to 7 epochs of 1000 pictures in batches of 20; sgd at a rate of 0.5"
    )
    told = _plan(Recipe().set(**asked, freeze=0.25), pretrained=True).reasons
    assert told[-2].endswith("sgd at a rate of 0.5, low because the weights are pretrained")
    assert told[-1].startswith("the lowest 25% of the layers stay as they are")


def test_a_plan_as_json_has_all_but_its_reasons() -> None:
    made = _plan(Recipe().set(epochs=7))
    said = made.json()
    assert said["epochs"] == 7
    assert "reasons" not in said
    assert isinstance(said["augment"], dict)
    flat = made.flat()
    assert flat["plan.epochs"] == 7
    assert "plan.augment" not in flat


@pytest.mark.parametrize("optimiser", ["sgd", "adamw", "muon"])
def test_the_schedule_and_the_decay_are_those_of_the_optimiser_where_none_is_asked_for(optimiser: str) -> None:
    chosen = OPTIMISERS.load(optimiser, of=Optimiser)
    made = _plan(Recipe().set(optimiser=optimiser))
    assert (made.schedule, made.weight_decay) == (chosen.schedule, chosen.decay_at(made.batch))
    assert made.lr == chosen.rate_at(made.batch)
