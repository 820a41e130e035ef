from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.study import demo as module
from beholder.study.demo import MINUTES, USUAL, demo
from beholder.study.dryrun import DryRun, Step
from beholder.study.steps import steps


class StopHereError(Exception):
    """Raised in place of training."""


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Recipe]:
    """Return the recipe that the demonstration trains with where it is foreseen to take so many seconds; it trains nothing."""

    def ask(out: Path, *, foreseen: float, **how: float) -> Recipe:
        used: list[Recipe] = []

        def stand_in(source: object, *, recipe: Recipe, dry_run: bool = False, **_: object) -> DryRun:
            if dry_run:
                return DryRun("train", "", {}, "", "", 0.0, (Step("train", "", 1, foreseen),), 0, {}, ())
            used.append(recipe)
            raise StopHereError

        monkeypatch.setattr(module, "steps", stand_in)
        with pytest.raises(StopHereError):
            demo(out, **how)
        return used[0]

    return ask


def test_only_a_machine_that_would_take_longer_has_a_budget(trained: Callable[..., Recipe], tmp_path: Path) -> None:
    free = trained(tmp_path, foreseen=60 * MINUTES - 1)
    assert (free.train.minutes, free.train.epochs, free.net.name) == (0, 0, "auto"), "as `train` without anything said"
    slow = trained(tmp_path, foreseen=60 * MINUTES + 1)
    assert (slow.train.minutes, slow.train.epochs, slow.net.name) == (MINUTES, USUAL["epochs"], USUAL["net"])
    assert trained(tmp_path, foreseen=31, minutes=0.5).train.minutes == 0.5
    assert trained(tmp_path, foreseen=1e6, minutes=0) == free
    with pytest.raises(UsageError):
        trained(tmp_path, foreseen=1, minutes=-1)


def test_the_net_with_a_budget_is_the_one_that_is_chosen_without(tmp_path: Path) -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    found = steps((np.rint(digits.images * 15.9).astype(np.uint8), digits.target.astype(np.int64)), dry_run=True)
    assert isinstance(found, DryRun)
    assert found.net.startswith(f"{USUAL['net']}, ")
    what = next(step.what for step in found.steps if step.step == "train")
    assert what.startswith(f"{USUAL['epochs']} epochs")


@pytest.mark.slow
def test_a_short_budget_is_kept_and_still_makes_a_model(tmp_path: Path) -> None:
    outcome = demo(tmp_path, minutes=0.3)
    assert outcome.evaluation.scores.headline["accuracy"].value > 0.9
    assert outcome.bundle.recipe.train.minutes in (0.0, 0.3), "0: this machine needs less"
    assert outcome.seconds < 60


@pytest.mark.slow
def test_the_demonstration_keeps_its_promise(tmp_path: Path) -> None:
    outcome = demo(tmp_path)
    accuracy = outcome.evaluation.scores.headline["accuracy"]
    assert accuracy.value >= 0.975
    assert accuracy.low < accuracy.value < accuracy.high or accuracy.value == 1
    assert outcome.seconds < 60 * MINUTES, "less than one minute on a quiet machine, and kept on a busy one"
    assert (tmp_path / "digits.beholder" / "report.html").is_file()
    assert "beholder predict" in str(outcome)
