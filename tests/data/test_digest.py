from __future__ import annotations

import hashlib
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from beholder.base import events
from beholder.base.records import Pictures
from beholder.data import digest
from beholder.data.digest import digested
from beholder.data.sources import folder, scan


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each file was read."""
    counted: Counter[str] = Counter()
    read = folder.FolderStore.read

    def counting(self: folder.FolderStore, key: str) -> bytes:
        counted[key] += 1
        return read(self, key)

    monkeypatch.setattr(folder.FolderStore, "read", counting)
    return counted


def expected(pictures: Pictures, leaves: Path) -> list[str]:
    return [hashlib.sha256((leaves / key).read_bytes()).hexdigest() for key in pictures.keys]


def hexes(pictures: Pictures) -> list[str]:
    assert pictures.digests is not None
    return [row.tobytes().hex() for row in pictures.digests]


def test_digests_are_sha256_of_the_files(leaves: Path, tmp_path: Path) -> None:
    pictures = digested(scan(leaves), root=tmp_path / "cache")
    assert pictures.digests is not None
    assert (pictures.digests.shape, pictures.digests.dtype) == ((36, 32), np.uint8)
    assert hexes(pictures) == expected(pictures, leaves)
    assert digested(pictures) is pictures


def test_a_second_run_reads_only_what_changed(leaves: Path, tmp_path: Path, reads: Counter[str]) -> None:
    digested(scan(leaves), root=tmp_path / "cache")
    assert sum(reads.values()) == 36
    reads.clear()
    (leaves / "rust/03.png").write_bytes(b"another content")
    (leaves / "rust/new.png").write_bytes(b"new")
    pictures = digested(scan(leaves), root=tmp_path / "cache")
    assert set(reads) == {"rust/03.png", "rust/new.png"}
    assert hexes(pictures) == expected(pictures, leaves)


def test_subsets_share_what_is_remembered(leaves: Path, tmp_path: Path, reads: Counter[str]) -> None:
    pictures = scan(leaves)
    digested(pictures.take(np.arange(10)), root=tmp_path / "cache")
    digested(pictures.take(np.arange(5, 20)), root=tmp_path / "cache")
    digested(pictures.take(np.arange(20)), root=tmp_path / "cache")
    assert set(reads.values()) == {1}


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"\x93NUMPY\x01\x00"])
def test_a_damaged_memo_is_as_good_as_none(leaves: Path, tmp_path: Path, damage: bytes) -> None:
    digested(scan(leaves), root=tmp_path / "cache")
    (memo,) = (tmp_path / "cache").rglob("*.npy")
    memo.write_bytes(damage)
    pictures = digested(scan(leaves), root=tmp_path / "cache")
    assert hexes(pictures) == expected(pictures, leaves)


def test_the_memo_is_bounded(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digest, "_FORGET", 10)
    for n in range(3):
        for file in leaves.rglob("*.png"):
            os.utime(file, (n, n))
        digested(scan(leaves), root=tmp_path / "cache")
    (memo,) = (tmp_path / "cache").rglob("*.npy")
    assert len(np.load(memo)) == 46


def test_an_unreadable_picture_is_nobodys_duplicate(leaves: Path, tmp_path: Path) -> None:
    pictures = scan(leaves)
    for name in ("00", "01"):
        (leaves / f"rust/{name}.png").unlink()
    found = digested(pictures, root=tmp_path / "cache")
    assert len({*hexes(found)[-12:-10]}) == 2


def test_a_cache_that_cannot_be_written_is_only_a_warning(leaves: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pictures = digested(scan(leaves), root=tmp_path / "file")
    assert hexes(pictures) == expected(pictures, leaves)
    assert [event.kind for event in said if event.kind != "progress"] == ["warn"]


def test_arrays_are_never_remembered(tmp_path: Path) -> None:
    x = np.arange(2 * 4 * 4, dtype=np.uint8).reshape(2, 4, 4)
    first = digested(scan((x, [0, 1])), root=tmp_path)
    assert hexes(first)[1] == hashlib.sha256(b"|u1 (4, 4) " + x[1].tobytes()).hexdigest()
    assert hexes(digested(scan((x.reshape(2, 2, 8), [0, 1])), root=tmp_path)) != hexes(first)
    x[1] = 0
    assert hexes(digested(scan((x, [0, 1])), root=tmp_path)) != hexes(first)
    assert not list(tmp_path.rglob("*.npy"))
