from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from beholder.base import events
from beholder.base.records import Pictures
from beholder.sources import digest, folder, scan
from beholder.sources.digest import digested, renewed


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


def swapped(leaves: Path) -> None:
    """Two folders change names: every file has an older one's name, size and time of last change."""
    (leaves / "rust").rename(leaves / "x")
    (leaves / "healthy").rename(leaves / "rust")
    (leaves / "x").rename(leaves / "healthy")


def overwritten(leaves: Path) -> None:
    for file in leaves.rglob("*.png"):
        file.write_bytes(file.read_bytes()[::-1])


def replaced(leaves: Path) -> None:
    for file in leaves.rglob("*.png"):
        (leaves / "new").write_bytes(file.read_bytes()[::-1])
        (leaves / "new").replace(file)


@pytest.mark.parametrize("change", [swapped, overwritten, replaced])
def test_other_files_of_the_same_names_sizes_and_times_are_noticed(
    leaves: Path, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    def level() -> None:
        for file in leaves.rglob("*.png"):
            file.write_bytes(file.read_bytes().ljust(900, b"\0")[:900])
            os.utime(file, (0, 0))

    level()
    digested(scan(leaves), root=tmp_path / "cache")
    change(leaves)
    for file in leaves.rglob("*.png"):
        os.utime(file, (0, 0))
    pictures = digested(scan(leaves), root=tmp_path / "cache")
    assert hexes(pictures) == expected(pictures, leaves)


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_another_archive_of_the_same_name_size_and_time_is_noticed(tmp_path: Path, suffix: str) -> None:
    for seed in (1, 2):
        random = np.random.default_rng(seed)
        body = {f"{name}/{k}.ppm": b"P6 2 2 255\n" + random.bytes(12) for name in "ab" for k in range(3)}
        path = tmp_path / f"set.{suffix}"
        path.unlink(missing_ok=True)
        with zipfile.ZipFile(path, "w") if suffix == "zip" else tarfile.open(path, "w") as archive:
            for name, data in body.items():
                if isinstance(archive, zipfile.ZipFile):
                    archive.writestr(zipfile.ZipInfo(name), data)
                else:
                    member = tarfile.TarInfo(name)
                    member.size = len(data)
                    archive.addfile(member, io.BytesIO(data))
        os.utime(path, (0, 0))
        pictures = digested(scan(path), root=tmp_path / "cache")
        assert hexes(pictures) == [hashlib.sha256(body[key]).hexdigest() for key in pictures.keys]


def test_renewed_digests_take_the_place_of_wrong_ones_in_the_memo(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder.FolderStore, "stamp", lambda self, key: "a file system that tells nothing")
    before = digested(scan(leaves), root=tmp_path / "cache")
    for name in ("00", "07"):
        (leaves / f"rust/{name}.png").write_bytes(name.encode())
    stale = digested(scan(leaves), root=tmp_path / "cache")
    assert hexes(stale) == hexes(before) != expected(stale, leaves)
    rows = np.flatnonzero([key in ("rust/00.png", "rust/07.png") for key in stale.keys])
    assert hexes(renewed(stale, rows, root=tmp_path / "cache")) == expected(stale, leaves)
    assert hexes(digested(scan(leaves), root=tmp_path / "cache")) == expected(stale, leaves)


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
