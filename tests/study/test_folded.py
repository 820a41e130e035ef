"""Heads in folds: each picture is judged by what never saw its label."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from beholder.base.errors import Interrupted
from beholder.base.recipe import load
from beholder.sources import scan
from beholder.sources.digest import digested
from beholder.study import folded
from beholder.study.folded import components, heads, pooled
from beholder.tasks.multi import MULTI
from beholder.tasks.single import SINGLE


def separable(n: int = 300, *, seed: int = 0) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    return (np.eye(3)[y].repeat(4, axis=1) * 3 + rng.normal(0, 1, (n, 12))).astype(np.float32), y


def test_separable_classes_are_told_apart() -> None:
    x, y = separable()
    p = heads(x, np.eye(3, dtype=np.float32)[y], np.arange(300) % 5, task=SINGLE)
    assert np.allclose(p.sum(axis=1), 1, atol=1e-5)
    assert (p.argmax(axis=1) == y).mean() > 0.97


def test_own_label_has_no_influence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folded, "DECAYS", (0.02,))
    x, y = separable()
    fold = np.arange(300) % 5
    targets = np.eye(3, dtype=np.float32)[y]
    before = heads(x, targets, fold, task=SINGLE)
    turned = targets.copy()
    rows = np.flatnonzero(fold == 3)
    turned[rows] = np.roll(targets[rows], 1, axis=1)
    after = heads(x, turned, fold, task=SINGLE)
    assert np.allclose(before[rows], after[rows], atol=1e-3)
    assert np.abs(before[fold == 0] - after[fold == 0]).max() > 0.05


def test_several_labels_have_a_probability_each() -> None:
    x, y = separable()
    targets = np.column_stack([y == 0, y > 0]).astype(np.float32)
    p = heads(x, targets, np.arange(300) % 5, task=MULTI)
    assert ((p > 0.5) == (targets > 0.5)).mean() > 0.97


@pytest.mark.parametrize("n", [1, 2, 40, 1500])
def test_features_of_which_many_are_zero_have_components(n: int) -> None:
    """As a backbone with ReLU6 gives of few or like pictures: torch's own solver does not converge on them."""
    rng = np.random.default_rng(0)
    x = np.clip(rng.normal(-2, 1, (n, 1280)), 0, 6).astype(np.float32)
    x[:, :900] = 0
    x[n // 2 :] = x[n // 2]
    found = components(torch.from_numpy(x), 512)
    assert found.shape == (n, min(n, 512))
    assert torch.isfinite(found).all()
    assert torch.allclose(found[n // 2 :], found[-1], atol=1e-3)
    y = np.eye(3, dtype=np.float32)[np.arange(n) % 3]
    assert n < 5 or np.isfinite(heads(x, y, np.arange(n) % 5, task=SINGLE)).all()


def test_few_rows_have_the_components_that_many_columns_give() -> None:
    x = torch.randn(30, 60, generator=torch.Generator().manual_seed(0))
    standard = (x - x.mean(0)) / x.std(0, correction=0)
    found, whole = components(x, 29), torch.linalg.svd(standard, full_matrices=False)[0][:, :29]
    share = torch.linalg.lstsq(whole, found).solution  # the same space, each axis by itself
    assert torch.allclose(whole @ share, found, atol=1e-3)


def test_components_keep_the_directions_of_most_variance() -> None:
    rng = torch.Generator().manual_seed(0)
    wide = torch.randn(500, 4, generator=rng) @ torch.randn(4, 40, generator=rng)
    found = components(wide + 0.01 * torch.randn(500, 40, generator=rng), 4)
    assert found.shape == (500, 4)
    assert torch.isclose(found.square().mean(), torch.tensor(1.0), atol=1e-4)
    back = torch.linalg.lstsq(found, wide).solution
    assert (found @ back - wide).square().mean() / wide.square().mean() < 0.01


def test_a_pool_outvotes_mistakes_and_gives_noise_no_weight() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 4000)
    targets = np.eye(4, dtype=np.float32)[y]

    def guesses(strength: float) -> npt.NDArray[np.float32]:
        logits = strength * targets + rng.normal(0, 1, targets.shape)
        return np.asarray(np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True), np.float32)

    one, two, nothing = guesses(2), guesses(2), guesses(0)
    both = pooled([one, two], targets, task=SINGLE)
    assert np.allclose(both.sum(axis=1), 1, atol=1e-5)
    assert (both.argmax(axis=1) == y).mean() > max((p.argmax(axis=1) == y).mean() for p in (one, two)) + 0.05
    unmoved, alone = pooled([one, nothing], targets, task=SINGLE), pooled([one], targets, task=SINGLE)
    assert np.abs(unmoved - alone).max() < 0.05


def test_a_pool_says_what_one_says_where_the_other_is_silent() -> None:
    y = np.arange(40) % 2
    targets = np.eye(2, dtype=np.float32)[y]
    one = np.where(targets > 0, 0.8, 0.2).astype(np.float32)
    two = one.copy()
    one[:3] = np.nan
    two[3:5] = np.nan
    found = pooled([one, two], targets, task=SINGLE)
    assert np.allclose(found[:5], np.where(targets[:5] > 0, 0.8, 0.2))
    assert np.isfinite(found).all()


def test_a_pool_of_several_labels_weighs_odds() -> None:
    targets = np.array([[1, 0], [0, 1], [1, 1], [0, 0]] * 10, np.float32)
    one = np.where(targets > 0, 0.7, 0.3).astype(np.float32)
    found = pooled([one, one], targets, task=MULTI)
    assert ((found > 0.5) == (targets > 0)).all()
    assert found.max() > 0.9


def test_an_interruption_says_what_it_interrupted(leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object, **__: object) -> None:
        raise Interrupted("at step 3; nothing is kept", hint="give out=", exit_code=143)

    monkeypatch.setattr(folded, "train", stop)
    pictures = digested(scan(leaves))
    with pytest.raises(Interrupted) as error:
        folded.nets(pictures, np.arange(36) % 3, load("quick"), known=np.full((36, 3), np.nan, np.float32), done=print)
    assert (error.value.exit_code, error.value.message) == (143, "interrupted while nets learnt to judge the labels")
    assert "remembered" in error.value.hint
