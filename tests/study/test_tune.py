from __future__ import annotations

import json
from pathlib import Path

import pytest

import beholder
from beholder.base.errors import Interrupted, UsageError
from beholder.base.recipe import load
from beholder.study.space import defaults, has_width, suggest
from beholder.study.tune import tune


class Fixed:
    def __init__(self, values: dict[str, float]) -> None:
        self.values = values

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        assert low <= self.values[name] <= high
        return self.values[name]


def test_the_middle_of_the_space_is_the_plan_itself() -> None:
    plan = {"lr": 0.01, "weight_decay": 0.02, "net": "fastnet", "width": 0.5}
    recipe = load("quick")
    found = suggest(Fixed(defaults(plan)), recipe, plan)
    assert (found.train.lr, found.train.weight_decay, found.data.strength, found.net.width) == (0.01, 0.02, 1.0, 0.5)
    assert not has_width("timm:resnet18")
    assert has_width("cnn")


def test_a_search_ends_with_a_tested_winner_and_goes_on_where_it_stopped(leaves: Path, tmp_path: Path) -> None:
    out, recipe = tmp_path / "m.beholder", load("quick").set(net="cnn", epochs=2, batch=8)
    first = tune(leaves, minutes=1, recipe=recipe, trials=2, out=out)
    assert [row["trial"] for row in sorted(first.trials, key=lambda row: row["trial"])] == [1, 2]
    assert first.trials[0]["lr_factor"] == 1.0
    assert first.rows()[0]["valid_score"] == max(row["valid_score"] for row in first.trials)
    assert len(beholder.load(out).readings) == 1
    assert first.recipe.train.lr > 0
    second = tune(leaves, minutes=1, recipe=recipe, trials=3, out=out)
    assert len(second.trials) == 3
    assert second.trials[:2] == first.trials
    assert {"scores", "trials", "bundle"} <= json.loads(json.dumps(second.json())).keys()
    fresh = tune(leaves, minutes=1, recipe=recipe, trials=1, out=out, resume=False)
    assert len(fresh.trials) == 1


@pytest.mark.parametrize(
    ("at", "said"),
    [("suggest", "interrupted; 0 "), ("train", "interrupted in trial 1; 0 "), ("train_and_test", "interrupted; 1 finished")],
)
def test_an_interruption_says_what_is_kept(
    at: str, said: str, leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(f"beholder.study.tune.{at}", cut)
    asked = load("quick").set(net="cnn", epochs=1, batch=8)
    with pytest.raises(Interrupted, match=r"kept in .*m\.tune\.sqlite") as caught:
        tune(leaves, minutes=1, recipe=asked, trials=1, out=tmp_path / "m.beholder")
    assert caught.value.message.startswith(said)
    assert (caught.value.exit_code, "--resume" in caught.value.hint) == (130, True)


def test_minutes_must_be_there(leaves: Path) -> None:
    with pytest.raises(UsageError):
        tune(leaves, minutes=0)


def test_something_that_is_no_search_is_not_continued(leaves: Path, tmp_path: Path) -> None:
    (tmp_path / "m.tune.sqlite").write_text("this is not a database, this is a text that is long enough")
    with pytest.raises(UsageError, match="not a search"):
        tune(leaves, minutes=1, recipe=load("tutorial").set(epochs=1), trials=1, out=tmp_path / "m.beholder")
