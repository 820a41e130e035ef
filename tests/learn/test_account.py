"""What is said of a run with a budget, and which of head, floor and net is kept. All figures are given: nothing is trained."""

from __future__ import annotations

import copy
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beholder.bundle.config import Tried
from beholder.learn import account
from beholder.learn.begin import Learning
from beholder.learn.floor import Floor
from beholder.learn.monitors import Best
from beholder.learn.prepare import Said
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
        history=[{"seconds": 2.0, "valid_score": 0.5}, {"seconds": 3.0}, {"seconds": 4.0, "valid_score": score}]
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
