"""A head on frozen features: in how much time, of which pictures, and when its fits end. Features are given."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from beholder.base.deadline import Deadline
from beholder.learn import floor
from beholder.learn.monitors import Best
from beholder.learn.prepare import Said
from beholder.learn.probe import Head
from beholder.machine.stop import Stop
from beholder.tasks.single import SINGLE

TRAIN, VALID = 30, 10


class Time:
    now = 0.0


class Calls:
    """Stands in for features and fits, and notes how they were asked for. rows: of each part that there is time for."""

    def __init__(self, patch: pytest.MonkeyPatch, *, rows: dict[str, Any] | None = None, heads: bool = True) -> None:
        self.seen: dict[str, dict[str, Any]] = {}
        self.fitted: list[Any] = []
        self.refitted: list[Any] = []
        self.enough: Callable[[], bool] | None = None
        self._rows = {"train": np.arange(TRAIN), "valid": np.arange(VALID)} | (rows or {})
        patch.setattr(floor, "takes_head", lambda net: heads)
        patch.setattr(floor, "weights_hash", lambda name, weights: f"{name}-{weights}")
        patch.setattr(floor, "features_name", lambda net, digest, policy, precision, *, side: f"{digest} {side}")
        patch.setattr(floor, "seen", self._seen)
        patch.setattr(floor, "fitted", self._fitted)
        patch.setattr(floor, "refitted", self._refitted)
        patch.setattr(floor, "_folds", lambda valid, rows, seed: ("folds", rows.tolist(), seed))

    def _seen(self, pictures: Any, policy: Any, run: Any, normal: Any, **how: Any) -> Any:
        rows = self._rows[pictures]
        self.seen[pictures] = how
        run.took += [0.2, 0.4] if pictures == "train" else [0.9]
        return rows, torch.arange(2.0 * len(rows)).reshape(-1, 2)

    def _fitted(self, learnt: Any, judged: Any, rows: Any, worth: Any, *, enough: Any = None, **how: Any) -> Head:
        self.fitted.append((learnt, judged, rows.tolist(), how))
        self.enough, self.worth = enough, worth
        return Head(torch.zeros(2, 2), torch.zeros(2), len(learnt[0]), len(judged[0]), torch.zeros(len(rows), 2), rows)

    def _refitted(self, head: Head, learnt: Any, judged: Any, fold: Any, **how: Any) -> Head:
        self.refitted.append((fold, how))
        return replace(head, decay=7.0)


def run(*, weights: bool = False) -> Any:
    train, valid = (
        SimpleNamespace(pixels=np.zeros(n), pictures=name, targets=torch.eye(2)[torch.arange(n) % 2])
        for name, n in (("train", TRAIN), ("valid", VALID))
    )
    recipe = SimpleNamespace(net=SimpleNamespace(name="resnet", weights="birds", enlarge=64), seed=5)
    return SimpleNamespace(
        created=SimpleNamespace(net=torch.nn.Linear(2, 2)),
        recipe=recipe,
        task=SINGLE,
        train=train,
        valid=valid,
        mixed=train.targets,
        policy=None,
        precision=None,
        normal=None,
        classes=("ant", "bee"),
        weights=torch.tensor([1.0, 3.0]) if weights else None,
        said=Said(),
    )


@pytest.fixture
def time() -> Time:
    return Time()


def test_a_head_learns_from_the_features_that_there_are(monkeypatch: pytest.MonkeyPatch, time: Time) -> None:
    calls, prepared = Calls(monkeypatch), run(weights=True)
    found = floor.headed(prepared, Stop(), Deadline(100.0, lambda: time.now))
    assert found is not None
    ((x, y), (z, goal), rows, how), *others = calls.fitted
    assert (len(x), len(y), len(z), rows, others) == (TRAIN, TRAIN, VALID, list(range(VALID)), [])
    assert how["task"] is SINGLE
    assert how["weights"].tolist() == [1.0, 3.0]
    torch.testing.assert_close(y, prepared.mixed)
    torch.testing.assert_close(goal, prepared.valid.targets)
    assert calls.worth(4 * goal, goal) == 1.0
    assert calls.worth(-4 * goal, goal) == 0.0
    assert {how["name"] for how in calls.seen.values()} == {"resnet-birds 64"}
    assert {how["least"] for how in calls.seen.values()} == {16}
    assert [fold for fold, _ in calls.refitted] == [("folds", list(range(VALID)), 5)]
    assert (found.decay, found.each) == (7.0, pytest.approx(0.4))
    assert found.features is z
    assert prepared.said.notes == []


def test_features_have_their_share_of_the_time_and_fits_end_with_it(monkeypatch: pytest.MonkeyPatch, time: Time) -> None:
    """Of 100 s features may take 60: those of the training part, three quarters of the pictures, 45 of them."""
    calls = Calls(monkeypatch)
    floor.headed(run(), Stop(), Deadline(100.0, lambda: time.now))
    assert calls.enough is not None
    late = {"train": calls.seen["train"]["enough"], "valid": calls.seen["valid"]["enough"], "fits": calls.enough}
    for now, over in ((0.0, set()), (44.9, set()), (45.1, {"train"}), (59.9, {"train"}), (60.1, {"train", "valid", "fits"})):
        time.now = now
        assert {name for name, enough in late.items() if enough()} == over


def test_whoever_stops_the_run_ends_the_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    calls, stop = Calls(monkeypatch), Stop()
    floor.headed(run(), stop, Deadline())
    assert calls.enough is not None
    late = [calls.seen["train"]["enough"], calls.seen["valid"]["enough"], calls.enough]
    assert [enough() for enough in late] == [False] * 3
    stop.signal = 2
    assert [enough() for enough in late] == [True] * 3


def test_a_head_on_a_part_of_the_pictures_says_so(monkeypatch: pytest.MonkeyPatch, time: Time) -> None:
    calls = Calls(monkeypatch, rows={"train": np.array([1, 4, 8]), "valid": np.array([0, 3, 5, 9])})
    prepared = run()
    prepared.mixed = torch.rand(TRAIN, 2, generator=torch.Generator().manual_seed(0))
    found = floor.headed(prepared, Stop(), Deadline(100.0, lambda: time.now))
    assert found is not None
    assert prepared.said.notes == ["there is time for the features of 3 of 30 training pictures"]
    ((_, y), (_, goal), rows, _), *_ = calls.fitted
    torch.testing.assert_close(y, prepared.mixed[[1, 4, 8]])
    torch.testing.assert_close(goal, prepared.valid.targets[[0, 3, 5, 9]])
    assert rows == [0, 3, 5, 9]
    assert calls.refitted == [], "four pictures cannot be in five folds"


@pytest.mark.parametrize("why", ["no head", "no validation", "one picture"])
def test_there_may_be_no_head(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    rows = {"no validation": {"valid": np.arange(0)}, "one picture": {"train": np.arange(1)}}.get(why)
    calls = Calls(monkeypatch, rows=rows, heads=why != "no head")
    assert floor.headed(run(), Stop(), Deadline()) is None
    assert calls.fitted == []
    assert bool(calls.seen) is (why != "no head")


def test_two_training_pictures_and_one_of_validation_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    Calls(monkeypatch, rows={"train": np.arange(2), "valid": np.arange(1)})
    found = floor.headed(run(), Stop(), Deadline())
    assert found is not None
    assert (found.trained, found.chosen) == (2, 1)


@pytest.mark.parametrize(
    ("largest", "now", "again"), [(4 * (TRAIN + VALID), 0.0, True), (4 * (TRAIN + VALID) - 1, 0.0, False), (10**9, 61.0, False)]
)
def test_a_head_learns_from_validation_too_where_that_is_quick(
    monkeypatch: pytest.MonkeyPatch, time: Time, largest: int, now: float, again: bool
) -> None:
    """Forty pictures of two features and two outputs are 160 numbers."""
    calls = Calls(monkeypatch)
    monkeypatch.setattr(floor, "REFITTED", largest)
    fitted = calls._fitted

    def late(*given: Any, **how: Any) -> Head:
        time.now = now
        return fitted(*given, **how)

    monkeypatch.setattr(floor, "fitted", late)
    floor.headed(run(), Stop(), Deadline(100.0, lambda: time.now))
    assert bool(calls.refitted) is again


def test_a_head_is_offered_by_its_score_on_the_pictures_that_are_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four validation pictures behind the head two are validated on: it is right about one of them."""
    given: list[Any] = []
    monkeypatch.setattr(floor, "give", lambda net, weight, bias: given.append((net, weight, bias)))
    logits = torch.tensor([[9.0, 0.0], [0.0, 2.0], [9.0, 0.0], [0.0, 3.0]])
    head = Head(torch.ones(2, 2), torch.ones(2), 30, 4, logits, np.array([1, 3, 4, 8]))
    later: Any = SimpleNamespace(targets=torch.tensor([[0.0, 1.0], [1.0, 0.0]]))
    prepared, best = run(), Best()
    found, said = floor.offered(prepared, head, later, np.array([3, 8]), best)
    torch.testing.assert_close(said, logits[[1, 3]])
    assert found == floor.Floor("a linear head on frozen features", 0.5, 30, 2)
    assert (best.score, best.epoch) == (0.5, -1)
    assert best.loss == pytest.approx((math.log1p(math.exp(-2)) + math.log1p(math.exp(3))) / 2)
    assert given == [(prepared.created.net, head.weight, head.bias)]
    assert prepared.said.notes == [
        "a linear head on frozen features reaches 0.5000 on validation; training has to beat it",
    ]


def test_what_config_json_says_of_a_floor() -> None:
    it = floor.Floor("a head", 0.75, 30, 10)
    told = it.told(0.5, kept=True)
    assert (told.name, told.score, told.trained, told.chosen, told.net, told.kept) == ("a head", 0.75, 30, 10, 0.5, True)
    assert (it.told(None).net, it.told(None).kept) == (None, False)


@pytest.mark.parametrize(
    ("shape", "cells"), [((3, 16, 21), (16, 21)), ((1, 32, 32), (32, 32)), ((3, 32, 32), (16, 16)), ((3, 8, 200), (8, 16))]
)
def test_pixels_are_averaged_to_cells_where_there_are_many(shape: tuple[int, int, int], cells: tuple[int, int]) -> None:
    assert floor._cells(*shape) == cells
