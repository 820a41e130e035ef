"""The perceptual hash and its index."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from beholder.duplicates import hashing
from beholder.duplicates.hashing import ALIKE, TURNS, alike, perceptual, turned, turned_picture


def field(rng: np.random.Generator, count: int, side: int = 32) -> npt.NDArray[np.uint8]:
    """Pictures of random low frequencies, uint8 (count, side, side)."""
    waves = np.cos(np.pi * np.arange(8)[:, None] * (np.arange(side) + 0.5) / side)
    mixed = np.einsum("nij,iy,jx->nyx", rng.normal(size=(count, 8, 8)), waves, waves)
    return np.clip(128 + 12 * mixed, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("turn", range(TURNS))
def test_hash_of_a_turned_picture_is_the_turned_hash(turn: int) -> None:
    picture = field(np.random.default_rng(0), 1)
    expected = perceptual(turned_picture(picture[0], turn)[None]).astype(int)
    assert np.abs(turned(perceptual(picture), turn).astype(int) - expected).max() <= 1


def test_light_and_contrast_do_not_change_the_hash() -> None:
    picture = field(np.random.default_rng(1), 1) // 2
    assert np.abs(perceptual(picture).astype(int) - perceptual(picture + 60).astype(int)).max() <= 1


def test_picture_of_nothing_has_no_hash() -> None:
    assert not perceptual(np.full((2, 40, 30), 77, np.uint8)).any()


@pytest.mark.parametrize("turn", range(TURNS))
def test_turn_that_is_told_makes_the_first_like_the_second(turn: int) -> None:
    pictures = field(np.random.default_rng(2), 20)
    pictures[13] = turned_picture(pictures[4], turn)
    pairs, turns = alike(perceptual(pictures))
    assert pairs.tolist() == [[4, 13]]
    assert turns.tolist() == [turn]


def test_index_misses_hardly_a_pair_that_comparing_all_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    hashes = rng.normal(0, 16, (1000, 64)).round().clip(-127, 127).astype(np.int8)
    hashes[500:] = (hashes[:500] + rng.normal(0, 7, (500, 64))).round().clip(-127, 127).astype(np.int8)
    every = {tuple(pair) for pair in alike(hashes)[0].tolist()}
    assert len(every) > 400
    monkeypatch.setattr(hashing, "ALL", 400)
    some = {tuple(pair) for pair in alike(hashes)[0].tolist()}
    assert some <= every
    assert len(some) >= 0.98 * len(every)


def test_a_thousand_copies_make_no_million_pairs() -> None:
    rng = np.random.default_rng(4)
    hashes = (np.full((1000, 64), 20) + rng.normal(0, 2, (1000, 64))).astype(np.int8)
    pairs = alike(hashes)[0]
    assert len(pairs) < 1000 * 200
    assert len(np.unique(pairs)) == 1000


def test_nothing_is_like_nothing() -> None:
    assert len(alike(np.zeros((5, 64), np.int8))[0]) == 0
    assert 0 < ALIKE < 1


def test_where_all_look_alike_a_twin_is_among_the_likest(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    common = field(rng, 1).astype(float)
    some = np.clip(common + rng.normal(0, 12, (120, 32, 32)), 0, 255)
    some[60:] = np.clip(some[:60] + rng.normal(0, 1, (60, 32, 32)), 0, 255)
    hashes = perceptual(some.astype(np.uint8))
    few, turns = alike(hashes)
    monkeypatch.setattr(hashing, "EACH", 120)
    every, _ = alike(hashes)
    assert len(every) > 2000
    assert len(few) <= 3 * 120
    assert len(turns) == len(few)
    assert {(k, k + 60) for k in range(60)} <= {(int(a), int(b)) for a, b in few}
