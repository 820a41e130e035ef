"""The cache of objects: whole or absent, verified, within its limit, for any number of processes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from beholder.base.errors import DataError, MachineError, UsageError
from beholder.machine.folders import room
from beholder.sources.copies import PIECE, Copies, piece_of
from beholder.sources.objects import Object


class Source:
    """Objects whose bytes follow from their names. asked: (address, start, size) of each request."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int]] = []

    def read(self, thing: Object, start: int, size: int) -> bytes:
        self.asked.append((thing.url, start, size))
        return whole(thing)[start : start + size]


def whole(thing: Object) -> bytes:
    return (thing.url.encode() * (thing.size // len(thing.url) + 1))[: thing.size]


def held(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def thing(number: int, size: int = 1000, ending: str = "png", tag: str = "1") -> Object:
    return Object(f"s3://bucket/{number:04}.{ending}", size, tag)


def limited(monkeypatch: pytest.MonkeyPatch, size: int) -> int:
    monkeypatch.setenv("BEHOLDER_ROOM", str(size / 2**30))
    return size


def test_a_small_object_is_read_once(tmp_path: Path) -> None:
    source = Source()
    for _ in range(2):
        assert Copies(source.read, root=tmp_path).bytes_of(thing(1)) == whole(thing(1))
    assert len(source.asked) == 1
    Copies(source.read, root=tmp_path).bytes_of(thing(1, tag="2"))
    assert len(source.asked) == 2


def test_a_damaged_small_copy_is_read_anew(tmp_path: Path) -> None:
    source = Source()
    copies = Copies(source.read, root=tmp_path)
    copies.bytes_of(thing(1))
    (file,) = copies.folder.iterdir()
    file.write_bytes(file.read_bytes()[:-1] + b"\0")
    assert copies.bytes_of(thing(1)) == whole(thing(1))
    assert len(source.asked) == 2


def test_a_large_object_is_fetched_in_pieces_and_verified(tmp_path: Path) -> None:
    source, tar = Source(), thing(1, 2 * PIECE + 5, "tar")
    path = Copies(source.read, root=tmp_path).fetched(tar)
    assert (path.name, path.read_bytes()) == ("0001.tar", whole(tar))
    assert [size for _, _, size in source.asked] == [PIECE, PIECE, 5]
    assert piece_of(path, PIECE - 1, 2) == whole(tar)[PIECE - 1 : PIECE + 1]
    assert Copies(source.read, root=tmp_path).here(tar) == path
    with path.open("r+b") as file:
        file.write(b"\0")
    assert Copies(source.read, root=tmp_path).here(tar) is None
    assert not path.exists()
    assert piece_of(path, 0, 1) is None


def test_the_limit_is_held_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, limit = Source(), limited(monkeypatch, 20_000)
    copies = Copies(source.read, root=tmp_path)
    for number in range(60):
        copies.bytes_of(thing(number))
        copies.bytes_of(thing(0))
        assert held(copies.folder) <= limit
        for at, file in enumerate(sorted(copies.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns)):
            os.utime(file, ns=(at, at))  # whatever the clock of the disk does
    assert sum(url == thing(0).url for url, _, _ in source.asked) == 1
    assert held(copies.folder) > limit // 2


def test_large_copies_make_room_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = limited(monkeypatch, 50_000)
    copies = Copies(Source().read, root=tmp_path)
    assert (copies.fits([20_000] * 2), copies.fits([20_000] * 3)) == (True, False)
    for number in range(6):
        copies.fetched(thing(number, 20_000, "tar"))
        assert held(copies.folder) <= limit
    with pytest.raises(DataError, match="more than the cache may take") as caught:
        copies.fetched(thing(9, 60_000, "tar"))
    assert caught.value.code == "too-many-bytes"


def test_what_is_too_large_for_the_cache_is_read_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 100)
    copies = Copies(Source().read, root=tmp_path)
    assert copies.bytes_of(thing(1)) == whole(thing(1))
    assert held(copies.folder) == 0


def test_the_cache_may_be_deleted_at_any_time(tmp_path: Path) -> None:
    source = Source()
    copies = Copies(source.read, root=tmp_path)
    for number in range(3):
        copies.bytes_of(thing(number))
        path = copies.fetched(thing(number, 5000, "tar"))
        shutil.rmtree(copies.folder)
        assert piece_of(path, 0, 1) is None
        assert copies.here(thing(number, 5000, "tar")) is None
    copies.folder.write_text("in the way")
    assert copies.bytes_of(thing(9)) == whole(thing(9))
    with pytest.raises(MachineError) as caught:
        copies.fetched(thing(9, 5000, "tar"))
    assert caught.value.code == "cannot-write"


def test_threads_fetch_a_large_object_once(tmp_path: Path) -> None:
    source = Source()
    copies = Copies(source.read, root=tmp_path)
    threads = [threading.Thread(target=copies.fetched, args=(thing(1, 5000, "tar"),)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(source.asked) == 1


PROGRAM = """
import sys
from pathlib import Path
from beholder.sources.copies import Copies
from beholder.sources.objects import Object

def whole(thing):
    return (thing.url.encode() * (thing.size // len(thing.url) + 1))[: thing.size]

copies = Copies(lambda thing, start, size: whole(thing)[start : start + size], root=Path(sys.argv[1]))
for round in range(3):
    for number in range(40):
        small = Object(f"s3://bucket/{number:04}.png", 1000, "1")
        assert copies.bytes_of(small) == whole(small)
        tar = Object(f"s3://bucket/{number % 7:04}.tar", 5000, "1")
        try:
            found = copies.fetched(tar).read_bytes()
        except FileNotFoundError:  # the other process made room
            continue
        assert found == whole(tar)
print("right")
"""


def test_two_processes_share_a_cache(tmp_path: Path) -> None:
    limit = 30_000
    environment = {**os.environ, "BEHOLDER_ROOM": str(limit / 2**30)}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        for _ in range(2)
    ]
    said = [process.communicate(timeout=120) for process in started]
    assert [out.decode().strip() for out, _ in said] == ["right", "right"], said
    assert held(tmp_path / "objects") <= limit * 17 // 16 + 5000
    assert not list((tmp_path / "objects").glob(".*.tmp"))


def test_room_is_what_is_said_or_what_the_disk_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=(1 << 30) + 500))
    assert (room(tmp_path / "new", 70), room(tmp_path, 70, default=100)) == (570, 100)
    limited(monkeypatch, 1 << 20)
    assert room(tmp_path, 1 << 30) == 1 << 20
    monkeypatch.setenv("BEHOLDER_ROOM", "much")
    with pytest.raises(UsageError) as caught:
        room(tmp_path, 0)
    assert caught.value.code == "bad-value"
