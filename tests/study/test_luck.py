"""By how much the winner of a search looks better than it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

import beholder
from beholder.base.recipe import load
from beholder.measure.optimism import NONE, Luck, expected, luck_of
from beholder.study.luck import leave, luck
from beholder.study.tune import tune

CLASSES, RIGHT = 4, 0.7


def accuracy(logits: npt.NDArray[Any], targets: npt.NDArray[Any]) -> float:
    return float((logits.argmax(1) == targets.argmax(1)).mean())


def answers(generator: np.random.Generator, targets: npt.NDArray[Any]) -> torch.Tensor:
    """Return logits (N, K) of a candidate that is right of `RIGHT` of all pictures there are."""
    truth = targets.argmax(1)
    wrong = (truth + generator.integers(1, CLASSES, len(truth))) % CLASSES
    said = np.where(generator.random(len(truth)) < RIGHT, truth, wrong)
    return torch.from_numpy(np.eye(CLASSES, dtype=np.float32)[said])


@pytest.mark.parametrize(("candidates", "n"), [(6, 150), (12, 300)])
def test_luck_is_what_the_best_of_equal_candidates_seems_better_by(tmp_path: Path, candidates: int, n: int) -> None:
    excess, found = [], []
    for seed in range(20):
        generator = np.random.default_rng(seed)
        targets = np.eye(CLASSES, dtype=np.float32)[generator.integers(0, CLASSES, n)]
        said = [answers(generator, targets) for _ in range(candidates)]
        ranked = sorted(range(candidates), key=lambda k: -accuracy(said[k].numpy(), targets))
        for index in ranked:
            leave(tmp_path, index, said[index], np.arange(n))
        one = luck(tmp_path, ranked, targets, accuracy)
        assert one.among == candidates
        excess.append(accuracy(said[ranked[0]].numpy(), targets) - RIGHT)
        found.append(one.amount)
    assert np.mean(excess) > 0.02
    assert np.mean(found) == pytest.approx(np.mean(excess), abs=0.012)


def test_what_is_known_of_too_few_is_no_luck(tmp_path: Path) -> None:
    targets = np.eye(2, dtype=np.float32)[[0, 1, 0, 1]]
    assert luck(tmp_path, [3], targets, accuracy) == NONE
    leave(tmp_path, 3, torch.from_numpy(targets), np.arange(4))
    assert luck(tmp_path, [3, 5], targets, accuracy) == Luck(0.0, 2)
    leave(tmp_path, 5, torch.from_numpy(targets[:2]), np.arange(2))
    assert luck(tmp_path, [3, 5], targets, accuracy) == Luck(0.0, 2), "scored on other pictures"
    leave(tmp_path, 5, torch.full((4, 2), torch.nan), np.arange(4))
    assert luck(tmp_path, [3, 5], targets, accuracy) == Luck(0.0, 2)
    (tmp_path / "0003.heard.npz").write_bytes(b"damaged")
    assert luck(tmp_path, [3, 5], targets, accuracy) == NONE


def test_the_luck_of_a_search_comes_off_what_a_test_should_find() -> None:
    generator = np.random.default_rng(0)
    targets = np.eye(CLASSES, dtype=np.float32)[generator.integers(0, CLASSES, 200)]
    outputs = [answers(generator, targets).numpy()]
    plain, less = (expected(outputs, targets, accuracy, tested=100, luck=each) for each in (NONE, Luck(0.05, 9)))
    assert (less.score, less.candidates) == (plain.score, 9)
    assert less.value == pytest.approx(plain.value - 0.05)
    assert less.low < plain.low
    assert less.high < plain.high


def test_the_account_of_a_search_has_its_luck() -> None:
    assert luck_of(None) is None
    assert luck_of({"trials": []}) == NONE, "of an earlier release"
    assert luck_of({"luck": {"amount": 0.1, "among": 3}}) == Luck(0.1, 3)


def test_a_search_says_what_its_choice_is_worth(leaves: Path, tmp_path: Path) -> None:
    recipe = load("quick").set(net="cnn", epochs=4, batch=8)
    found = tune(leaves, minutes=20, trials=3, recipe=recipe, out=tmp_path / "m.beholder")
    assert not isinstance(found, beholder.study.dryrun.DryRun)
    config = found.outcome.bundle.config
    assert config.search is not None
    assert config.search["luck"]["among"] == 3
    assert 0 <= config.search["luck"]["amount"] < 1
    assert config.expected is not None
    assert config.expected.candidates >= 3
    again = beholder.load(tmp_path / "m.beholder").config
    assert (again.search["luck"], again.expected) == (config.search["luck"], config.expected)
