"""A run whose test was interrupted is only tested by the resumed run, whatever was chosen where the recipe leaves it open."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import beholder
from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.files import file_sha256
from beholder.base.recipe import load
from beholder.study import again
from beholder.study import steps as study
from beholder.study.ladder import Ladder
from beholder.study.steps import steps

BUDGET: dict[str, Any] = {"minutes": 20.0, "batch": 8, "effort": 0.02}
CHOSEN: dict[str, Any] = {"net": "cnn", "size": 32, "class_weights": "balanced"}


def test_what_a_ladder_chose_is_no_other_run(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.learn.budget.SAMPLING", 0.0)
    monkeypatch.setattr(study, "climbed", lambda _, recipe, **__: Ladder(recipe.set(**CHOSEN)))
    out, recipe, struck = tmp_path / "m.beholder", load("quick").set(audit="off", probe=False, **BUDGET), list[int]()

    def strike(event: events.Event) -> None:
        if event.message.startswith("[6/6]") and not struck:
            struck.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    with events.listen(strike, alone=True), pytest.raises(Interrupted, match="is trained and kept"):
        steps(leaves, recipe=recipe, out=out)
    before = file_sha256(out / "model.safetensors")
    made = beholder.load(out).recipe
    assert (made.net.name, made.data.size, made.train.class_weights) == ("cnn", 32, "balanced")

    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("it is trained anew")

    monkeypatch.setattr(study, "train", never)
    outcome = steps(leaves, recipe=recipe, out=out, resume=True)
    assert file_sha256(out / "model.safetensors") == before
    assert beholder.load(out).scores == outcome.evaluation.json()
    with pytest.raises(AssertionError, match="anew"):
        steps(leaves, recipe=recipe.set(lr=0.01), out=out, resume=True)


@pytest.mark.parametrize(
    ("made", "asked", "climbs", "same"),
    [
        ({**BUDGET, **CHOSEN}, BUDGET, True, True),
        ({**BUDGET, **CHOSEN, "enlarge": 48}, BUDGET, True, True),
        ({**BUDGET, **CHOSEN}, {**BUDGET, "size": 64}, True, False),
        ({**BUDGET, **CHOSEN}, {**BUDGET, "net": "resnet"}, True, False),
        ({**BUDGET, "net": "cnn"}, {**BUDGET, "class_weights": "balanced"}, True, False),
        ({**BUDGET, **CHOSEN}, {**BUDGET, "net": "cnn"}, False, False),  # two candidates of a search, which leaves nothing open
        ({**CHOSEN, "batch": 8, "effort": 0.02}, BUDGET, True, False),  # without a budget it was not chosen
        ({**BUDGET, **CHOSEN}, {"batch": 8, "effort": 0.02}, True, False),
        ({"net": "cnn", "width": 0.5}, {}, False, True),
        ({"net": "cnn", "width": 0.5}, {"width": 0.25}, False, False),
        ({"net": "cnn"}, {"weights": "none"}, False, False),
        ({"net": "cnn"}, {"dropout": 0.1}, False, False),
    ],
)
def test_only_what_is_left_open_may_differ(made: Any, asked: Any, climbs: bool, same: bool) -> None:
    bundle: Any = SimpleNamespace(recipe=load("quick").set(**made))
    assert again._same(bundle, load("quick").set(**asked), climbs=climbs) is same
