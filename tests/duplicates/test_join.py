"""The join of hashes on disk against comparing all with all, in memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from beholder.base import events
from beholder.base.errors import DataError
from beholder.duplicates import hashing, join
from beholder.duplicates.facts import FACTS
from beholder.duplicates.hashing import TURNS, alike, turned
from beholder.duplicates.join import BANDS, candidates, components, joined, planned, settled
from beholder.duplicates.words import SIGNS, distances, turned_words, words_of
from beholder.machine.launch import Launch
from beholder.study.columns import of_facts, written


def planted(n: int, copies: int, noise: float, seed: int = 0) -> np.ndarray:
    """Random hashes, int8 (n, 64), the last `copies` of which are turned copies of the first ones with noise."""
    rng = np.random.default_rng(seed)
    found = rng.normal(0, 16, (n, 64))
    found[:, 0] = 0
    for k, turn in enumerate(rng.integers(0, TURNS, copies).tolist()):
        other = found[k] + rng.normal(0, noise, 64) * (np.arange(64) > 0)
        found[n - copies + k] = turned(other[None], turn)[0]
    return found.round().clip(-127, 127).astype(np.int8)


def near(words: np.ndarray, copies: int, bits: int, seed: int = 0) -> np.ndarray:
    """Words with turned copies at the end that differ in up to `bits` signs, spread over all bands."""
    rng = np.random.default_rng(seed)
    for k, turn in enumerate(rng.integers(0, TURNS, copies).tolist()):
        other = words[k : k + 1].copy()
        for bit in rng.permutation(np.arange(1, 64))[:bits].tolist():
            other[0, SIGNS] ^= np.uint64(1 << bit)
        other[0, 2:] = rng.integers(1, 1 << 62, 2)
        words[len(words) - copies + k] = turned_words(other, turn)[0]
    return words


def saved(folder: Path, rows: np.ndarray, files: int = 1) -> list[str]:
    paths = []
    for k, some in enumerate(np.array_split(rows, files)):
        paths.append(str(folder / f"part{k}.npy"))
        np.save(paths[-1], some)
    return paths


def found(folder: Path, rows: np.ndarray, files: int = 1, launch: Launch | None = None, **options: int) -> dict:
    """Pairs that the join finds, with turn and score."""
    folder.mkdir(exist_ok=True)
    plan = planned(saved(folder, rows, files), folder, **options)
    memory = options.get("memory", join.MEMORY)
    some = list(joined(plan, folder, memory=memory, launch=launch))
    rows_of = [zip(f.pairs.tolist(), f.turns.tolist(), f.scores.tolist(), strict=True) for f in some]
    every = [(tuple(pair), (turn, score)) for rows in rows_of for pair, turn, score in rows]
    assert len(dict(every)) == len(every)  # each pair once
    return dict(every)


def test_finds_what_comparing_in_memory_finds(tmp_path: Path) -> None:
    hashes = planted(20_000, 2_000, noise=2.0)
    pairs, turns = alike(hashes)
    expected = {tuple(pair): turn for pair, turn in zip(pairs.tolist(), turns.tolist(), strict=True)}
    assert len(expected) == 2_000
    some = found(tmp_path, hashes, files=3, memory=1 << 22)
    assert {pair: turn for pair, (turn, _) in some.items()} == expected
    assert min(score for _, score in some.values()) > 0.95


def test_memory_divides_pieces_buckets_and_pairs(tmp_path: Path) -> None:
    hashes = planted(20_000, 0, 0.0)
    few = planned(saved(tmp_path, hashes, 3), tmp_path, memory=1 << 22)
    many = planned(saved(tmp_path, hashes, 100), tmp_path, memory=1 << 22)
    for plan, pieces in ((few, 6), (many, 4)):
        assert len(plan.pieces) == pieces
        assert plan.buckets > 4
        assert len(plan) == 20_000
        assert max(plan.sizes) * 700 <= 1 << 22


def test_pairs_of_fewer_signs_than_bands_are_found_for_certain(tmp_path: Path) -> None:
    words = near(words_of(planted(8_000, 0, 0.0)), 2_000, BANDS - 1)
    some = found(tmp_path, words, rounds=1, probes=0, far=BANDS - 1)
    assert set(some) >= {(k, 6_000 + k) for k in range(2_000)}


def test_brute_force_finds_no_other_pair(tmp_path: Path) -> None:
    words = near(words_of(planted(1_000, 0, 0.0)), 300, BANDS - 1)
    first, second = np.triu_indices(len(words), 1)
    bits, turns = distances(words[first], words[second])
    close = np.flatnonzero(bits < BANDS)
    expected = {(int(first[k]), int(second[k])): (int(turns[k]), float(bits[k])) for k in close}
    assert found(tmp_path, words, rounds=1, probes=0, far=BANDS - 1) == expected


def test_too_common_keys_are_divided_without_loss(tmp_path: Path) -> None:
    words = words_of(planted(6_000, 0, 0.0))
    words[:, SIGNS] &= np.uint64(0x0FFF_FFFF_0000_0000)  # half of the signs are equal in all
    words = near(words, 1_000, BANDS - 1)
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        some = found(tmp_path, words, rounds=1, probes=0, far=BANDS - 1, most=64)
    assert not [event for event in said if "common keys" in event.message]
    assert set(some) >= {(k, 5_000 + k) for k in range(1_000)}


def test_keys_that_nothing_divides_are_said(tmp_path: Path) -> None:
    words = words_of(planted(2_000, 0, 0.0))
    words[:, SIGNS] = words[0, SIGNS]
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        some = found(tmp_path, words, rounds=1, probes=0, far=4, most=16)
    assert [event for event in said if "common keys" in event.message]
    assert len(some) <= 2_000 * 16 * BANDS


def test_equal_hashes_are_tied_to_the_first_alone(tmp_path: Path) -> None:
    hashes = planted(3_000, 0, 0.0)
    hashes[1_000:] = hashes[7]
    hashes[:3] = 0
    some = found(tmp_path, hashes, files=2, memory=1 << 20)
    assert set(some) == {(7, k) for k in range(1_000, 3_000)}


def test_parts_of_facts_are_read_as_npy_is(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    hashes = planted(400, 40, noise=2.0)
    expected = found(tmp_path / "npy", hashes)
    paths = []
    for k, some in enumerate(np.split(hashes, [150])):
        rows = np.zeros(len(some), FACTS)
        rows["hash"] = some
        paths.append(str(tmp_path / f"part{k}.parquet"))
        columns = of_facts(rows, [f"{at}.jpg" for at in range(len(some))], 0)
        Path(paths[-1]).write_bytes(written(columns, {}, named={}))
    (tmp_path / "there").mkdir()
    plan = planned(paths, tmp_path / "there")
    pairs = [tuple(pair) for some in joined(plan, tmp_path / "there") for pair in some.pairs.tolist()]
    assert pairs == sorted(expected)
    assert len(pairs) == 40


def test_what_holds_no_hashes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="instead of hashes"):
        planned(saved(tmp_path, np.zeros((3, 7), np.float32)), tmp_path)
    (tmp_path / "cut.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(DataError, match="cannot be read"):
        planned([str(tmp_path / "cut.npy")], tmp_path)


def test_many_hashes_are_joined_and_fewer_compared_in_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    hashes = planted(900, 100, noise=2.0)
    expected = alike(hashes)
    monkeypatch.setattr(join, "MANY", 500)
    monkeypatch.setattr(hashing, "alike", None)
    pairs, turns = candidates(hashes, root=tmp_path)
    assert (pairs == expected[0]).all()
    assert (turns == expected[1]).all()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_other_processes_find_the_same(tmp_path: Path) -> None:
    hashes = planted(2_000, 200, noise=2.0)
    options = {"bands": 2, "rounds": 1, "memory": 1 << 20}
    expected = found(tmp_path / "here", hashes, **options)
    assert found(tmp_path / "there", hashes, launch=Launch("local", 2), **options) == expected


def test_components_are_those_of_the_graph() -> None:
    rng = np.random.default_rng(0)
    pairs = rng.integers(0, 5_000, (4_000, 2))
    groups = np.arange(5_000)
    for some in np.array_split(pairs, 7):
        components(groups, some)
    _, labels = connected_components(coo_matrix((np.ones(len(pairs)), pairs.T), (5_000, 5_000)), directed=False)
    first = np.full(labels.max() + 1, 5_000)
    np.minimum.at(first, labels, np.arange(5_000))
    assert (settled(groups) == first[labels]).all()


def test_long_chain_is_one_component() -> None:
    at = np.arange(100_000)
    groups = components(at.copy(), np.stack([at[:-1], at[1:]], axis=1)[::-1])
    assert not settled(groups).any()
