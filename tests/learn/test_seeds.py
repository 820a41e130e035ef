"""More seeds where the plan was done before the time was up: what is tried, what is kept, and what an interruption leaves."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import beholder
from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.recipe import Recipe, load
from beholder.learn import seeds
from beholder.learn.floor import offered
from beholder.learn.monitors import Best, copied
from beholder.learn.seeds import gone, mean

CNN: dict[str, Any] = {"net": "cnn", "width": 0.25, "batch": 8, "effort": 0.03, "minutes": 20}
"""150 × 3 × 0.03 epochs, whose plan is done long before the time is up."""


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


def test_the_mean_is_of_each_weight_and_what_counts_is_the_first_s() -> None:
    one, two = (
        {"weight": torch.full((2,), value), "half": torch.full((1,), value).half(), "batches": torch.tensor(round(value))}
        for value in (1.0, 4.0)
    )
    found = mean([one, two])
    assert found["weight"].tolist() == [2.5, 2.5]
    assert (found["half"].dtype, float(found["half"])) == (torch.float16, 2.5)
    assert found["batches"].tolist() == 1


def test_a_net_from_random_weights_is_trained_with_other_seeds_and_the_best_is_kept(parts: beholder.Parts) -> None:
    bundle = beholder.train(parts, seed=3, **CNN)
    rows = [row for row in bundle.config.tried if row.rung == "seeds"]
    assert [row.what for row in rows] == [f"the same with seed {seed}" for seed in (4,)]
    scores = [row.score for row in bundle.config.tried if row.rung in ("training", "seeds") and row.score is not None]
    assert len(scores) == 2
    assert bundle.config.valid_score == pytest.approx(max(scores), abs=1e-6)
    assert all(row.curve[-1][0] <= row.began + row.seconds for row in rows)
    assert any(note.startswith("2 seeds reach") for note in bundle.config.notes)
    assert bundle.recipe.seed == 3


def test_fine_tunings_begin_anew_and_their_weights_are_averaged(
    draw: Callable[..., Path], tmp_path: Path, weights: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def worse(prepared: Any, head: Any, *rest: Any) -> Any:
        nothing = {name: torch.zeros_like(getattr(head, name)) for name in ("weight", "bias", "logits")}
        return offered(prepared, replace(head, **nothing), *rest)

    begun: list[dict[str, torch.Tensor]] = []
    monkeypatch.setattr("beholder.learn.begin.offered", worse)
    monkeypatch.setattr(seeds, "gone", lambda run, batch: (begun.append(copied(run.net)), gone(run, batch)))
    source = draw(tmp_path / "set", each=14, size=(150, 140))
    parts = beholder.split(beholder.scan(source), seed=0, near=False)
    bundle = beholder.train(parts, recipe=load("quick").set(weights=weights, effort=0.1, batch=8, minutes=20, size=64))
    rows = [row for row in bundle.config.tried if row.rung == "seeds"]
    assert [row.what for row in rows] == [*(f"the same with seed {n}" for n in (1,)), "the mean of the weights of 2 seeds"]
    assert all(row.score is not None for row in rows)
    assert all(torch.equal(value, begun[-1][name]) for name, value in begun[0].items()), "each from the same weights"
    assert not begun[0]["fc.weight"].any()


@pytest.mark.parametrize("fields", [{"minutes": 0.0}, {"epochs": 2}])
def test_without_a_budget_or_with_epochs_that_are_named_there_is_one_seed(parts: beholder.Parts, fields: Any) -> None:
    bundle = beholder.train(parts, **{**CNN, **fields})
    assert not [row for row in bundle.config.tried if row.rung == "seeds"]


def allowed(*, left: float = 60.0, **changed: Any) -> bool:
    """Return what `_allowed` says of a run of 100 s; changed: of its parts."""
    best = Best()
    best.epoch = changed.get("epoch", 3)
    first = changed.get("first", {"weight": torch.ones(1)})
    learning: Any = SimpleNamespace(
        limits=SimpleNamespace(seconds=changed.get("seconds", 300.0), training=lambda: left),
        run=SimpleNamespace(best=best),
        tempo=SimpleNamespace(left_out=changed.get("left_out", False)),
        first=first,
        head=object() if first else None,
    )
    recipe = Recipe().set(epochs=changed.get("epochs", 0))
    prepared: Any = SimpleNamespace(created=SimpleNamespace(pretrained=changed.get("pretrained", True)), recipe=recipe)
    return seeds._allowed(learning, prepared, 100.0)


def test_there_is_another_seed_only_where_it_has_time_and_sense() -> None:
    assert allowed()
    assert not allowed(left=39.0)
    assert not allowed(seconds=0.0)
    assert not allowed(epoch=-1), "the head was not beaten"
    assert not allowed(left_out=True)
    assert not allowed(epochs=5)
    assert not allowed(first={}), "a pretrained net whose start is not known"
    assert allowed(first={}, pretrained=False)


def test_several_processes_train_one_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeds, "group", lambda: object())
    assert not allowed()


def test_an_interruption_in_another_seed_keeps_the_best_so_far_and_the_way_on(parts: beholder.Parts, tmp_path: Path) -> None:
    out, begun = tmp_path / "m.beholder", [False]

    def strike(event: events.Event) -> None:
        begun[0] = begun[0] or "once more" in event.message
        if begun[0] and event.message == "training" and event.fields["done"] == 3:
            os.kill(os.getpid(), signal.SIGINT)

    with events.listen(strike, alone=True), pytest.raises(Interrupted, match="the best so far is in"):
        beholder.train(parts, out=out, seed=3, **CNN)
    first = beholder.load(out)
    assert first.config.interrupted
    assert first.config.valid_score is not None
    resumed = beholder.train(parts, out=out, seed=3, resume=True, **CNN)
    assert len([row for row in resumed.config.tried if row.rung == "seeds"]) == 1
    assert [row["valid_score"] for row in resumed.history] == [row["valid_score"] for row in first.history]
    assert not (tmp_path / "m.run").exists()


def test_a_run_that_has_heard_nothing_since_it_was_resumed_has_another_seed_too(
    parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = seeds._another

    def forgetful(learning: Any, *rest: Any, **how: Any) -> Any:
        learning.heard.clear()
        return real(learning, *rest, **how)

    monkeypatch.setattr(seeds, "_another", forgetful)
    bundle = beholder.train(parts, seed=3, **CNN)
    assert [row.what for row in bundle.config.tried if row.rung == "seeds"] == ["the same with seed 4"]


def test_a_seed_that_diverges_ends_the_seeds(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[int] = []

    def diverged(run: Any, batch: int) -> None:
        ran.append(batch)
        raise seeds.NotFiniteError("the loss or a gradient was not finite at step 3")

    monkeypatch.setattr(seeds, "gone", diverged)
    monkeypatch.setattr("beholder.learn.train.gone", lambda run, batch: run.go())
    bundle = beholder.train(parts, **CNN)
    assert [row.outcome for row in bundle.config.tried if row.rung == "seeds"] == ["diverged"]
    assert len(ran) == 1
