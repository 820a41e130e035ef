"""Hashes as words: turns, distances and bands."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.duplicates.hashing import TURNS, turned
from beholder.duplicates.words import (
    NAME,
    SIGNS,
    STRONG,
    USED,
    WEAK,
    WEAKEST,
    bands,
    distances,
    entries,
    shares,
    transposed,
    turned_words,
    words_of,
)


def hashes(n: int, seed: int = 0) -> np.ndarray:
    """Hashes without a coefficient of 0 but the mean, int8 (n, 64)."""
    found = np.random.default_rng(seed).normal(0, 16, (n, 64)).round().clip(-127, 127).astype(np.int8)
    found[found == 0] = 1
    found[:, 0] = 0
    return found


def test_bits_are_signs_and_sizes() -> None:
    one = np.zeros((1, 64), np.int8)
    one[0, 1:] = np.arange(1, 64) * np.where(np.arange(63) % 2, -1, 1)
    word = words_of(one)[0]
    assert int(word[SIGNS]) == sum(1 << bit for bit in range(1, 64, 2))
    assert int(word[STRONG]) == sum(1 << bit for bit in range(34, 64))
    assert int(word[WEAKEST]) == sum(1 << bit for bit in range(1, WEAK + 1))
    assert not words_of(np.zeros((1, 64), np.int8)).any()


def test_equal_hashes_alone_share_a_name() -> None:
    some = hashes(2000)
    some[1000:1500] = some[:500]
    names = words_of(some)[:, NAME]
    assert (names[1000:1500] == names[:500]).all()
    assert len(np.unique(names)) == 1500


@pytest.mark.parametrize("turn", range(TURNS))
def test_words_of_a_turned_hash_are_the_turned_words(turn: int) -> None:
    some = hashes(200)
    expected = words_of(turned(some, turn).astype(np.int8))
    assert (turned_words(words_of(some), turn)[:, :NAME] == expected[:, :NAME]).all()


@pytest.mark.parametrize("turn", range(TURNS))
def test_distance_is_that_of_the_turn_that_suits_best(turn: int) -> None:
    some = words_of(hashes(50))
    other = turned_words(some, turn)
    other[:, SIGNS] ^= np.uint64(0b1011 << 20)
    bits, turns = distances(some, other)
    assert (bits == 3).all()
    assert (turns == turn).all()


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7])
def test_bands_share_all_bits_and_a_transposition_maps_them_onto_themselves(count: int) -> None:
    found = bands(count, seed=3)
    assert sum(band.mask for band in found) == USED
    assert max(band.mask.bit_count() for band in found) - min(band.mask.bit_count() for band in found) <= 3
    for band in found:
        assert transposed(np.array([band.mask], np.uint64))[0] == band.mask
        assert band.mask >> band.column & band.mask >> band.row & 1


def test_shares_divide_what_a_mask_leaves() -> None:
    mask = bands(4, seed=0)[1].mask
    assert sum(shares(mask, 5)) == USED & ~mask


def filed(words: np.ndarray, probes: int) -> list[set[tuple[int, int]]]:
    """Signs and strong words of what is filed of each."""
    found: list[set[tuple[int, int]]] = [set() for _ in words]
    for signs, strong, rows in entries(words, bands(4, seed=0)[2], probes):
        for sign, size, row in zip(signs.tolist(), strong.tolist(), rows.tolist(), strict=True):
            found[row].add((sign, size))
    return found


@pytest.mark.parametrize("turn", range(TURNS))
def test_turned_copies_are_filed_alike(turn: int) -> None:
    words = words_of(hashes(300))
    assert filed(words, 0) == filed(turned_words(words, turn), 0)


def test_symmetric_hash_is_filed_in_both_forms() -> None:
    band = bands(4, seed=0)[2]
    words = words_of(hashes(1))
    plain = words[:, SIGNS] & np.uint64(band.mask)
    words[:, SIGNS] ^= plain
    assert [len(some) for some in filed(words, 0)] == [2]


def test_probes_negate_a_small_coefficient_each() -> None:
    words = words_of(hashes(300))
    first = next(entries(words, bands(4, seed=0)[2], 0))
    assert len(first[0])
    counts = [len(some) for some in filed(words, 3)]
    assert max(counts) >= 4
    assert all(1 <= count <= 8 for count in counts)
