from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from beholder.base import events, memo


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    assert memo.read(tmp_path / "a") is None
    assert memo.table(tmp_path / "a.npy") is None
    memo.keep(tmp_path / "a", b"words", what="words")
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    memo.keep_table(tmp_path / "a.npy", array, what="numbers")
    found = memo.table(tmp_path / "a.npy")
    assert memo.read(tmp_path / "a") == b"words"
    assert found is not None
    assert found.dtype == array.dtype
    assert np.array_equal(found, array)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x93NUMPY\x01\x00", b"PK\x03\x04"])
def test_a_damaged_table_is_as_good_as_none(tmp_path: Path, damage: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(damage)
    assert memo.table(tmp_path / "a.npy") is None


def test_what_is_not_what_was_written_is_as_good_as_none(tmp_path: Path) -> None:
    memo.keep_table(tmp_path / "a.npy", np.arange(600), what="numbers")
    whole = (tmp_path / "a.npy").read_bytes()
    for place in (0, 200, len(whole) // 2, len(whole) - 1):
        turned = bytearray(whole)
        turned[place] ^= 1
        (tmp_path / "a.npy").write_bytes(turned)
        assert memo.read(tmp_path / "a.npy") is None
    (tmp_path / "a.npy").write_bytes(whole[:-1])
    assert memo.table(tmp_path / "a.npy") is None


def test_what_was_used_least_recently_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memo, "LIMIT", 280)
    for second, name in enumerate("abc"):
        memo.keep(tmp_path / name, bytes(80), what="bytes")
        os.utime(tmp_path / name, (second, second))
    memo.read(tmp_path / "a")
    memo.keep(tmp_path / "d", bytes(80), what="bytes")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c", "d"]
    memo.keep(tmp_path / "e", bytes(999), what="bytes")
    assert [path.name for path in tmp_path.iterdir()] == ["e"]


def test_a_cache_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        memo.keep(tmp_path / "file" / "a", b"words", what="words")
    assert [event.kind for event in heard] == ["warn"]
    assert "words could not be remembered" in heard[0].message


def test_a_record_comes_back_and_a_damaged_one_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "engine" / "a.json"
    assert memo.record(path) == {}
    memo.keep_record(path, {"name": "quick", "rates": {"quick": 9.5}}, what="engines")
    assert memo.record(path) == {"name": "quick", "rates": {"quick": 9.5}}
    memo.keep(path, b"[1]", what="engines")
    assert memo.record(path) == {}
    for damaged in (b"", b"{}", b"[]", b"\xff", b'{"name"'):
        path.write_bytes(damaged)
        assert memo.record(path) == {}
