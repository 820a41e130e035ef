"""What is said of a run with a budget, and which of head, floor and net is kept. All figures are given: nothing is trained."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beholder.base.recipe import Recipe
from beholder.bundle.config import Tried
from beholder.learn import account
from beholder.learn.begin import Learning
from beholder.learn.floor import Floor
from beholder.learn.monitors import Best
from beholder.learn.prepare import Said
from beholder.measure.optimism import NONE
from beholder.tasks.single import SINGLE

TRUTH = torch.nn.functional.one_hot(torch.arange(200) % 2, 2).float()
RIGHT, WRONG = TRUTH * 4, (1 - TRUTH) * 4
HEAD = Floor("a head on frozen features", 0.5, 160, 200)


def learning(
    *, floor: Floor | None, epoch: int, head: Any = None, heard: dict[int, Any] | None = None, score: float = 0.75
) -> Learning:
    best = Best()
    best.score, best.epoch, best.weights = score, epoch, {"weight": torch.ones(1)}
    at = SimpleNamespace(
        history=[{"seconds": 2.0, "valid_score": 0.5}, {"seconds": 3.0}, {"seconds": 4.0, "valid_score": score}], epoch=5
    )
    run: Any = SimpleNamespace(best=best, clock=SimpleNamespace(spent=4.0), at=at)
    later: Any = SimpleNamespace(targets=TRUTH, pixels=np.zeros(200))
    limits: Any = SimpleNamespace(seconds=60.0)
    tempo: Any = SimpleNamespace(left_out=False)
    return Learning(run, limits, floor, tempo, head, later, heard or {}, {"weight": torch.zeros(1)})


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Any:
    created = SimpleNamespace(pretrained=True, net=torch.nn.Linear(1, 1))
    plan = SimpleNamespace(mirror=True, net="resnet")
    recipe = SimpleNamespace(net=SimpleNamespace(name="resnet"))
    made = SimpleNamespace(
        created=created,
        plan=plan,
        recipe=recipe,
        policy=SimpleNamespace(width=32, height=24),
        task=SINGLE,
        said=Said(),
        notes=[],
    )

    def replaced(this: Any, **changes: Any) -> Any:
        if not isinstance(this, SimpleNamespace):
            return replace(this, **changes)
        found = copy.copy(this)
        vars(found).update(changes)
        return found

    monkeypatch.setattr("beholder.learn.begin.replace", replaced)
    return made


def test_training_that_is_not_surely_better_leaves_the_head(prepared: Any) -> None:
    one_more = RIGHT.clone()
    one_more[0] = WRONG[0]
    kept = learning(floor=HEAD, epoch=3, head=object(), heard={-1: one_more, 3: RIGHT})
    found, told = kept.worth(prepared)
    assert told is not None
    assert told.kept
    assert (told.score, told.net) == (0.5, 0.75)
    assert (kept.run.best.epoch, kept.run.best.score) == (-1, 0.5)
    assert float(kept.run.best.weights["weight"]) == 0, "the weights with the head"
    assert found.plan.mirror is False
    assert "the head on frozen features stays: 0.5000, fine-tuned 0.7500" in prepared.said.notes[-1]


def test_training_that_is_surely_better_takes_the_place_of_the_head(prepared: Any) -> None:
    gone = learning(floor=HEAD, epoch=3, head=object(), heard={-1: WRONG, 3: RIGHT})
    found, told = gone.worth(prepared)
    assert found is prepared
    assert told is not None
    assert not told.kept
    assert (gone.run.best.epoch, float(gone.run.best.weights["weight"])) == (3, 1.0)


def test_a_floor_that_the_net_had_no_time_to_beat_takes_its_place(prepared: Any) -> None:
    created: Any = SimpleNamespace(net=torch.nn.Linear(2, 2), pretrained=False)
    beaten = learning(floor=replace(HEAD, created=created, score=0.8), epoch=1)
    found, told = beaten.worth(prepared)
    assert told is not None
    assert told.kept
    assert found.created is created
    assert (found.plan.net, found.plan.mirror) == ("logistic", False)
    assert (beaten.run.best.epoch, beaten.run.best.score) == (-1, 0.8)
    assert "had no time to beat its floor" in prepared.said.notes[-1]


@pytest.mark.parametrize(("head", "rung"), [(object(), "head"), (None, "floor")])
def test_rows_name_their_rung(prepared: Any, monkeypatch: pytest.MonkeyPatch, head: Any, rung: str) -> None:
    monkeypatch.setattr(account.time, "monotonic", lambda: 110.0)
    rows = account.tried((), learning(floor=HEAD, epoch=2, head=head), prepared, 100.0)
    assert [row.rung for row in rows] == [rung, "training"]
    assert rows[0].outcome == "training is better"
    assert rows[1] == Tried(
        "training", "resnet, fine-tuned, 32 × 24 pixels", 0.75, 200, 6.0, 4.0, "kept", ((8.0, 0.5), (10.0, 0.75))
    )
    before = (Tried("head", "a linear head", 0.5, 200, 1.0, 2.0, "kept"),)
    assert [row.rung for row in account.tried(before, learning(floor=HEAD, epoch=2, head=head), prepared, 100.0)] == [
        "head",
        "training",
    ]


def test_training_that_was_left_out_took_no_time(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.time, "monotonic", lambda: 110.0)
    prepared.created.pretrained = False
    it = learning(floor=None, epoch=-1)
    it.tempo.left_out = True  # type: ignore[misc]
    (row,) = account.tried((), it, prepared, 100.0)
    what = "resnet, from random weights, 32 × 24 pixels"
    assert row == Tried("training", what, None, 0, 10.0, 0.0, "left out: there was no time for it")


def test_validations_without_a_score_are_not_in_the_curve(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(account.time, "monotonic", lambda: 102.0)
    it = learning(floor=None, epoch=-1)
    it.run.at.history = [{"seconds": 1.0, "valid_score": math.nan}, {"seconds": 2.0, "valid_score": None}, {"seconds": 3.0}]
    (row,) = account.tried((), it, prepared, 100.0)
    assert (row.score, row.curve, row.began, row.seconds) == (None, (), 0.0, 4.0)
    assert row.outcome == "no better than what it had to beat"
    it.run.at.history = [{"seconds": 1.0, "valid_score": 0.75}, {"seconds": 2.0, "valid_score": 0.5}]
    (row,) = account.tried((), it, prepared, 90.0)
    assert (row.score, row.curve, row.began) == (0.75, ((9.0, 0.75), (10.0, 0.5)), 8.0)


def test_the_first_epoch_may_be_the_best(prepared: Any) -> None:
    floor, training = account.tried((), learning(floor=HEAD, epoch=0, head=object()), prepared, 0.0)
    assert (floor.outcome, training.outcome) == ("training is better", "kept")


def test_more_seeds_follow_training_which_is_no_longer_the_best(prepared: Any) -> None:
    more = Tried("seeds", "the same with seed 1", 0.8, 200, 5.0, 4.0, "better than those before")
    found = learning(floor=HEAD, epoch=8, head=object())
    found.run.clock.spent = 9.0
    *_, training, last = account.tried((), found, prepared, 0.0, seeds=[more])
    assert last is more
    assert (training.outcome, training.seconds) == ("more seeds are better", 4.0)


def test_a_floor_that_nothing_beat_is_kept_and_one_without_a_score_has_none(prepared: Any) -> None:
    kept, *_ = account.tried((), learning(floor=HEAD, epoch=-1, head=object()), prepared, 0.0)
    assert kept == Tried(
        "head", "a head on frozen features (resnet)", 0.5, 200, 0.0, 0.0, "kept: training brought nothing better"
    )
    blind, *_ = account.tried((), learning(floor=replace(HEAD, score=math.nan), epoch=2), prepared, 0.0)
    assert (blind.rung, blind.what, blind.score) == ("floor", "a head on frozen features", None)


def test_a_resumed_run_knows_how_its_recipe_was_chosen() -> None:
    before = (Tried("head", "a linear head", 0.5, 200, 1.0, 2.0, "kept", ((1.0, 0.25),)),)
    recipe = Recipe().set(net="cnn", size=64, enlarge=128, class_weights="balanced")
    assert account.decided(recipe, before) == {
        "net": "cnn",
        "enlarge": 128,
        "size": 64,
        "class_weights": "balanced",
        "tried": [vars(before[0])],
    }


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """With what an expectation was reckoned."""
    found: list[Any] = []

    def expected(outputs: Any, targets: Any, objective: Any, **how: Any) -> Any:
        found.append((outputs, targets, objective, how))
        return SimpleNamespace(value=0.5, low=0.25)

    monkeypatch.setattr(account, "expected", expected)
    return found


def test_the_best_is_expected_to_do_less_well_by_those_it_was_chosen_among(prepared: Any, asked: list[Any]) -> None:
    """Validations by their scores, the chosen one first whatever the others reached; one that is not finite is none."""
    half = RIGHT.clone()
    half[:100] = WRONG[:100]
    nan = torch.full_like(RIGHT, math.nan)
    heard = {-1: WRONG, 0: half, 1: nan, 2: RIGHT, 3: half + 1}
    found = account.expectation(learning(floor=None, epoch=0, heard=heard), prepared, 50)
    assert found is not None
    ((outputs, targets, objective, how),) = asked
    order = [next(at for at, each in heard.items() if np.array_equal(each.numpy(), one)) for one in outputs]
    assert order == [0, 2, 3, -1]
    np.testing.assert_array_equal(targets, TRUTH.numpy())
    assert objective is SINGLE.objective
    assert how == {"tested": 50, "proportion": True, "luck": NONE, "seed": 0}


def test_only_the_strongest_are_candidates(prepared: Any, asked: list[Any]) -> None:
    heard = {at: RIGHT + at for at in range(account.STRONGEST + 3)} | {-1: WRONG}
    account.expectation(learning(floor=None, epoch=-1, heard=heard), prepared, 50)
    ((outputs, *_),) = asked
    assert len(outputs) == account.STRONGEST
    np.testing.assert_array_equal(outputs[0], WRONG.numpy())


@pytest.mark.parametrize(("epoch", "tested", "low"), [(5, 50, 0.25), (0, 0, 0.25), (0, 50, math.nan)])
def test_nothing_is_expected_of_what_was_not_heard_or_is_not_tested(
    prepared: Any, asked: list[Any], monkeypatch: pytest.MonkeyPatch, epoch: int, tested: int, low: float
) -> None:
    real = account.expected
    monkeypatch.setattr(account, "expected", lambda *given, **how: replaced(real(*given, **how), low))
    assert account.expectation(learning(floor=None, epoch=epoch, heard={0: RIGHT}), prepared, tested) is None


def replaced(found: Any, low: float) -> Any:
    found.low = low
    return found


@pytest.mark.parametrize(
    ("asked", "wanted"),
    [
        ({}, ("resnet", 48, 64, "balanced")),
        ({"net": "cnn"}, ("cnn", 0, 64, "balanced")),
        ({"size": 32}, ("resnet", 48, 32, "balanced")),
        ({"class_weights": "balanced"}, ("resnet", 48, 64, "balanced")),
    ],
)
def test_what_was_decided_is_taken_over_where_the_recipe_leaves_it_open(asked: Any, wanted: Any) -> None:
    chosen = Recipe().set(net="resnet", enlarge=48, size=64, class_weights="balanced")
    found = account.as_decided(Recipe().set(**asked), account.decided(chosen, ()))
    assert (found.net.name, found.net.enlarge, found.data.size, found.train.class_weights) == wanted
    plain = account.as_decided(Recipe().set(class_weights="balanced"), account.decided(Recipe().set(net="cnn"), ()))
    assert plain.train.class_weights == "balanced", "what is asked for stays"
