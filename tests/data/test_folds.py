"""Folds: even, stratified, seeded, and whole for twins and groups."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from beholder.base.records import Pictures
from beholder.data.folds import folds
from beholder.sources.arrays import ArrayStore


def made(n: int, *, classes: int = 3, seed: int = 0, multi: bool = False) -> Pictures:
    rng = np.random.default_rng(seed)
    targets = rng.integers(0, 2, (n, classes)).astype(np.uint8) if multi else rng.choice(classes, n, p=[0.6, 0.3, 0.1])
    none, digests = np.full(n, -1), rng.integers(0, 256, (n, 32)).astype(np.uint8)
    names = tuple("abc"[:classes])
    return Pictures(ArrayStore([]), [str(i) for i in range(n)], targets, names, none.astype(np.int8), none, digests)


@pytest.mark.parametrize("count", [2, 5])
def test_every_class_is_spread_evenly(count: int) -> None:
    pictures = made(317)
    fold = folds(pictures, count=count)
    assert fold.min() == 0
    assert fold.max() == count - 1
    for label in range(3):
        shares = np.bincount(fold[pictures.targets == label], minlength=count)
        assert shares.max() - shares.min() <= 1
    sizes = np.bincount(fold)
    assert sizes.max() - sizes.min() <= 3


def test_seed_decides() -> None:
    pictures = made(100)
    assert (folds(pictures, seed=1) == folds(pictures, seed=1)).all()
    assert (folds(pictures, seed=1) != folds(pictures, seed=2)).any()


def test_twins_and_groups_stay_together() -> None:
    pictures = made(200)
    assert pictures.digests is not None
    pictures.digests[10:14] = pictures.digests[10]
    groups = np.full(200, -1)
    groups[20:60] = np.repeat(np.arange(10), 4)
    fold = folds(replace(pictures, groups=groups))
    assert len(set(fold[10:14])) == 1
    assert all(len(set(fold[groups == g])) == 1 for g in range(10))


def test_equal_pixels_stay_together_and_unknown_ones_do_not() -> None:
    pictures = made(200)
    same = np.random.default_rng(1).integers(1, 256, (200, 16)).astype(np.uint8)
    same[5:9] = same[5]
    same[100:] = 0  # could not be read
    fold = folds(pictures, same=same)
    assert len(set(fold[5:9])) == 1
    assert len(set(fold[100:])) == 5


def test_several_labels() -> None:
    pictures = made(400, multi=True)
    fold = folds(pictures)
    for label in range(3):
        shares = np.bincount(fold[pictures.targets[:, label] > 0], minlength=5)
        assert shares.max() - shares.min() <= 8
