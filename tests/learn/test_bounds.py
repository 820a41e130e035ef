"""By which validation pictures a VAE is scored while it learns: of all classes, and as many as there is time for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.recipe import Recipe
from beholder.learn import bounds
from beholder.learn import generate as module
from beholder.learn.checkpoint import RunFolder


@pytest.fixture
def made(draw: Any, tmp_path: Path) -> module.Made:
    parts = beholder.split(beholder.scan(draw(tmp_path / "leaves", each=24)), seed=0, val=0.25, near=False)
    with events.listen(alone=True):
        return module._made(parts, Recipe().set(kind="vae", maps=8, size=8, precision="fp32"), Deadline(), only=None)


def test_a_few_are_of_all_classes(made: module.Made, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = made.valid.pictures.targets
    assert (np.diff(labels) >= 0).all(), "class by class, as folders are"
    found = bounds.some_of(labels, 6)
    assert np.bincount(labels[found]).tolist() == [2, 2, 2]
    assert (np.diff(found) > 0).all()
    assert bounds.some_of(labels, 10_000).tolist() == list(range(len(labels)))
    assert len(bounds.some_of(np.zeros((7, 0), np.uint8), 5)) == 5, "pictures without labels"
    given: list[torch.Tensor] = []
    forward = type(made.net).forward
    monkeypatch.setattr(
        type(made.net), "forward", lambda net, x, targets, noise: given.append(targets) or forward(net, x, targets, noise)
    )
    bounds.bounded(made.net, made.valid, made.precision, made.on, 0, most=6)({"net": made.net}, bool)
    (targets,) = given
    assert targets.sum(0).tolist() == [2, 2, 2]


@pytest.mark.parametrize(
    ("seconds", "count"),
    [
        (1000.0, 18),
        (90.0, 18),
        (50.0, 10),  # a fifth of them is ten seconds, and one picture takes one
        (5.0, 4),  # so many are scored whatever it takes
    ],
)
def test_it_is_scored_by_as_many_as_a_fifth_of_training_allows(
    made: module.Made, monkeypatch: pytest.MonkeyPatch, seconds: float, count: int
) -> None:
    monkeypatch.setattr(bounds, "LEAST", 4)
    ticks = iter([0.0, 80.0, 80.0, 80.0 + bounds.TIMED])  # of two calls the first is slow: kernels are chosen
    assert len(made.valid.pixels) == 18
    how: tuple[Any, ...] = (made.net, made.valid, made.precision, made.on)
    assert bounds.affordable(*how, seconds, lambda: next(ticks)) == (count, 1.0)
    assert bounds.affordable(*how, 0.0, lambda: pytest.fail("measured")) == (18, 0.0)


def test_a_run_that_goes_on_is_scored_by_as_many_as_before(
    made: module.Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, offers = RunFolder(tmp_path / "g.run"), iter([(12, 0.5), (3, 2.0), (3, 2.0)])
    monkeypatch.setattr(module, "affordable", lambda *_: next(offers))
    folder.begin({}, resume=False)
    until = Deadline(1e9)
    assert module._scoring(made, folder, until, 0.0, going_on=False) == (12, 6.0)
    folder.save({}, {"x": torch.zeros(1)})
    assert module._scoring(made, folder, until, 0.0, going_on=True) == (12, 24.0)
    assert module._scoring(made, None, until, 0.0, going_on=False) == (3, 6.0)


@pytest.mark.parametrize(("left", "little"), [(30.0, False), (5.0, True)])
def test_little_time_for_training_is_said(
    made: module.Made, monkeypatch: pytest.MonkeyPatch, left: float, little: bool
) -> None:
    asked: list[float] = []
    monkeypatch.setattr(module, "affordable", lambda *given: asked.append(given[4]) or (3, 1.0))
    made = module.dataclasses.replace(made, recipe=made.recipe.set(minutes=1.0))
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        module._scoring(made, None, Deadline(left + 10.0, lambda: 0.0), 10.0, going_on=False)
    assert asked == [left]
    assert [event.name for event in heard if event.kind == "warn"] == ["little-time"] * little
