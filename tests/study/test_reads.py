"""From nothing remembered to the first training step, each file is opened twice: to be fingerprinted, and to be decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts, Pictures, Store
from beholder.learn.prepare import prepare
from beholder.study.steps import preprocess, steps


class Counting:
    """A store that counts how often each picture is read."""

    def __init__(self, store: Store) -> None:
        self.store, self.name, self.stamp = store, store.name, store.stamp
        self.reads: Counter[str] = Counter()

    def read(self, key: str) -> bytes | np.ndarray:
        self.reads[key] += 1
        return self.store.read(key)


def small(folder: Path) -> None:
    written(folder, lambda rng: rng.integers(0, 255, (24, 20, 3), np.uint8), "png")


def twelve_bits(folder: Path) -> None:
    written(folder, lambda rng: rng.integers(0, 4096, (24, 20)).astype(np.uint16), "tif")


def photos(folder: Path) -> None:
    written(folder, lambda rng: np.kron(rng.integers(0, 255, (4, 5, 3)), np.ones((30, 30, 1))).astype(np.uint8), "jpg")


def written(folder: Path, made: Callable[[np.random.Generator], np.ndarray], kind: str) -> None:
    """Write pictures that no other test has: the cache is that of all."""
    for k, label in enumerate(("oak", "ash")):
        (folder / label).mkdir(parents=True)
        for i in range(14):
            Image.fromarray(made(np.random.default_rng([k, i, *str(folder).encode()]))).save(folder / label / f"{i}.{kind}")


def counted(folder: Path) -> tuple[Pictures, Counter[str]]:
    pictures = beholder.scan(folder)
    store = Counting(pictures.store)
    return replace(pictures, store=store), store.reads


def check(parts: Parts, reads: Counter[str]) -> None:
    opened = {name: {reads[key] for key in part.keys} for name, part in parts.items()}
    assert opened == {"train": {2}, "valid": {2}, "test": {1}}


SMALL: Recipe = load("quick").set(net="cnn", weights="none")


class ReachedError(Exception):
    """The first step is about to be taken."""


@pytest.mark.parametrize(
    ("write", "recipe"),
    [
        (small, SMALL),
        (twelve_bits, SMALL),
        (small, SMALL.set(audit="off")),
        (photos, load("quick").set(net="cnn", audit="fix")),
    ],
)
def test_until_all_is_prepared(tmp_path: Path, write: Callable[[Path], None], recipe: Recipe) -> None:
    write(tmp_path / "set")
    pictures, reads = counted(tmp_path / "set")
    parts = preprocess(pictures, recipe).parts
    prepare(parts, recipe)
    check(parts, reads)


def test_until_the_first_step_of_a_run_with_a_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The audit has decoded everything by then, and the budget wants to know how long the test part will take."""

    def first(run: object, batch: int) -> None:
        raise ReachedError

    monkeypatch.setattr("beholder.learn.train.gone", first)
    photos(tmp_path / "set")
    pictures, reads = counted(tmp_path / "set")
    with pytest.raises(ReachedError):
        steps(pictures, net="cnn", minutes=2)
    assert Counter(reads.values()) == {2: 24, 1: 4}


def test_through_the_verbs_of_python(tmp_path: Path) -> None:
    small(tmp_path / "set")
    pictures, reads = counted(tmp_path / "set")
    parts = beholder.split(pictures)
    prepare(parts, SMALL)
    check(parts, reads)


def test_a_second_run_opens_nothing(tmp_path: Path) -> None:
    small(tmp_path / "set")
    for _ in range(2):
        pictures, reads = counted(tmp_path / "set")
        prepare(beholder.split(pictures), SMALL)
    assert not reads
