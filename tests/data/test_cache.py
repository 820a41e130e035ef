"""Decoded once: what is found again, what is bad, what is damaged, what is full, and who interrupts."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from beholder.base import events
from beholder.base.errors import DataError, MachineError, PictureError, UsageError
from beholder.base.records import Pictures, PixelPolicy
from beholder.data import cache
from beholder.data import shards as shards_of_rows
from beholder.data.cache import PACED, Pixels, cached, missing, pace
from beholder.image import load
from beholder.sources import scan
from beholder.sources.digest import digested

POLICY = PixelPolicy(height=6, width=5)


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "png")
    return buffer.getvalue()


class Memory:
    """A store in memory that counts what is read of it."""

    name = "memory"

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.reads: list[str] = []

    def read(self, key: str) -> bytes:
        self.reads.append(key)
        if key.startswith("lost"):
            raise PictureError(f"{key} cannot be opened", code="unreadable")
        return self.files[key]

    def stamp(self, key: str) -> str:
        return ""


def table(files: dict[str, bytes]) -> Pictures:
    number = len(files)
    store = Memory(files)
    pictures = digested(
        Pictures(store, list(files), np.zeros(number, np.int64), ("a",), np.full(number, -1, np.int8), np.full(number, -1)),
        root="unused",
    )
    store.reads.clear()
    return pictures


def some(number: int = 10, *, start: int = 0) -> dict[str, bytes]:
    return {f"{k:04}.png": png(k) for k in range(start, start + number)}


def expected(pictures: Pictures, policy: PixelPolicy = POLICY) -> npt.NDArray[np.uint8]:
    assert isinstance(pictures.store, Memory)
    return np.stack([load(pictures.store.files[key], policy) for key in pictures.keys])


def everything(pixels: Pixels) -> npt.NDArray[np.uint8]:
    return pixels.take(np.arange(len(pixels)))


def left_behind(root: Path) -> list[str]:
    return [str(path.relative_to(root)) for path in root.rglob(".*")]


def shards(root: Path) -> list[Path]:
    return sorted((root / "pixels").glob("*/*"))


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_pixels_are_those_of_image_load(tmp_path: Path) -> None:
    pictures = table(some())
    pixels = cached(pictures, POLICY, root=tmp_path)
    assert np.array_equal(everything(pixels), expected(pictures))
    assert pixels.shape == (3, 6, 5)
    assert pixels.decoded == len(pixels) == 10
    assert pixels.rows.tolist() == list(range(10))
    assert pixels.bad == ()


def test_a_second_run_decodes_and_reads_nothing(tmp_path: Path) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    assert isinstance(pictures.store, Memory)
    pictures.store.reads.clear()
    again = cached(pictures.take(np.array([7, 2, 2])), POLICY, root=tmp_path)
    assert again.decoded == 0
    assert pictures.store.reads == []
    assert np.array_equal(everything(again), expected(pictures)[[7, 2, 2]])


def test_only_what_is_new_is_decoded_whatever_its_name(tmp_path: Path) -> None:
    cached(table(some(10)), POLICY, root=tmp_path)
    pictures = table({f"moved/{name}": data for name, data in some(13).items()})
    pixels = cached(pictures, POLICY, root=tmp_path)
    assert pixels.decoded == 3
    assert np.array_equal(everything(pixels), expected(pictures))


def test_twins_are_decoded_once(tmp_path: Path) -> None:
    pictures = table({"a.png": png(1), "b.png": png(2), "c.png": png(1)})
    pixels = cached(pictures, POLICY, root=tmp_path)
    assert pixels.decoded == 2
    assert np.array_equal(everything(pixels), expected(pictures))


@pytest.mark.parametrize("policy", [PixelPolicy(5, 6), PixelPolicy(6, 5, channels=1), PixelPolicy(6, 5, fit="pad")])
def test_another_policy_has_other_pixels(tmp_path: Path, policy: PixelPolicy) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    other = cached(pictures, policy, root=tmp_path)
    assert other.decoded == 10
    assert np.array_equal(everything(other), expected(pictures, policy))


def test_another_conversion_has_other_pixels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    monkeypatch.setattr(cache, "CONVERSION", cache.CONVERSION + 1)
    assert cached(pictures, POLICY, root=tmp_path).decoded == 10


def test_take_and_subset_over_many_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 7 * 90)
    pictures = table(some(40))
    pixels = cached(pictures, POLICY, root=tmp_path, workers=3)
    assert len(pixels.shards) == 6
    assert {len(shard) for shard in pixels.shards} == {7, 5}
    truth = expected(pictures)
    rng = np.random.default_rng(0)
    for positions in (rng.integers(0, 40, 64), np.arange(40), np.arange(3, 9), np.array([39]), np.array([], np.int64)):
        assert np.array_equal(pixels.take(positions), truth[positions])
    part = pixels.subset(np.array([30, 2, 11]))
    assert part.rows.tolist() == [30, 2, 11]
    assert np.array_equal(part.take(np.array([2, 0])), truth[[11, 30]])


def test_what_is_taken_may_be_written_to(tmp_path: Path) -> None:
    pixels = cached(table(some(4)), POLICY, root=tmp_path)
    truth = everything(pixels)
    for positions in (np.arange(4), np.array([2, 0])):
        pixels.take(positions)[:] = 0
    assert np.array_equal(everything(pixels), truth)


def test_no_pictures_are_no_pixels(tmp_path: Path) -> None:
    pixels = cached(table(some(2)).take(np.array([], np.int64)), POLICY, root=tmp_path)
    assert len(pixels) == 0
    assert everything(pixels).shape == (0, 3, 6, 5)


def with_bad_ones() -> Pictures:
    files = {"a.png": png(1), "text.png": b"not a picture", "b.png": png(2), "cut.png": png(3)[:90], "lost.png": b""}
    return table(files)


def heard(said: list[events.Event], kind: str) -> list[events.Event]:
    return [event for event in said if event.kind == kind]


def test_bad_pictures_are_left_out_and_said(tmp_path: Path) -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pixels = cached(with_bad_ones(), POLICY, root=tmp_path)
    assert pixels.rows.tolist() == [0, 2]
    assert [(bad.key, bad.code) for bad in pixels.bad] == [
        ("text.png", "not-a-picture"),
        ("cut.png", "truncated"),
        ("lost.png", "unreadable"),
    ]
    (warning,) = heard(said, "warn")
    assert "3 of 5 pictures in memory cannot be read" in warning.message
    assert "1 truncated" in warning.message
    assert "text.png" in warning.message
    assert warning.fields["bad"] == 3


def test_skip_says_nothing_and_gives_the_same(tmp_path: Path) -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        pixels = cached(with_bad_ones(), POLICY, root=tmp_path, on_bad="skip")
    assert len(pixels.bad) == 3
    assert not heard(said, "warn")


def test_stop_raises_at_the_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"text\.png") as caught:
        cached(with_bad_ones(), POLICY, root=tmp_path, on_bad="stop")
    assert caught.value.code == "bad-picture"


def test_bad_pictures_stay_bad_in_the_second_run(tmp_path: Path) -> None:
    first = cached(with_bad_ones(), POLICY, root=tmp_path, on_bad="skip")
    second = cached(with_bad_ones(), POLICY, root=tmp_path, on_bad="skip")
    assert second.decoded == 0
    assert second.bad == first.bad


def test_nothing_readable_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 of 2") as caught:
        cached(table({"x.png": b"x", "y.png": b"y"}), POLICY, root=tmp_path, on_bad="skip")
    assert caught.value.code == "all-unreadable"


def test_unknown_on_bad_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'report'"):
        cached(table(some(1)), POLICY, root=tmp_path, on_bad="reprot")


@pytest.mark.parametrize("on_bad", ["skip", "stop"])
def test_a_file_that_changed_since_its_digest_is_read_as_it_is_now(tmp_path: Path, on_bad: str) -> None:
    pictures = table(some(3))
    before = everything(cached(pictures, POLICY, root=tmp_path / "other"))
    assert isinstance(pictures.store, Memory)
    pictures.store.files["0001.png"] = png(99)
    pixels = cached(pictures, POLICY, root=tmp_path, on_bad=on_bad)
    assert pixels.bad == ()
    assert np.array_equal(everything(pixels), expected(pictures))
    assert pixels.digests[1].tobytes() == hashlib.sha256(png(99)).digest()
    assert pixels.of(pictures).digests is pixels.digests
    pictures.store.files["0001.png"] = png(1)
    assert np.array_equal(everything(cached(pictures, POLICY, root=tmp_path)), before), "nothing lies under a foreign digest"


def test_a_file_that_never_stays_the_same_is_left_out(tmp_path: Path) -> None:
    class Restless(Memory):
        def read(self, key: str) -> bytes:
            data = super().read(key)
            return png(100 + len(self.reads)) if key == "0001.png" else data

    pictures = table(some(3))
    assert isinstance(pictures.store, Memory)
    pictures = replace(pictures, store=Restless(pictures.store.files))
    pixels = cached(pictures, POLICY, root=tmp_path, on_bad="skip")
    assert [(bad.key, bad.code) for bad in pixels.bad] == [("0001.png", "changed")]


def cut_pixels(shard: Path) -> None:
    os.truncate(shard / "pixels.npy", 500)


def empty_pixels(shard: Path) -> None:
    (shard / "pixels.npy").write_bytes(b"")


def garbage_digests(shard: Path) -> None:
    (shard / "digests.npy").write_bytes(b"garbage" * 100)


def fewer_digests(shard: Path) -> None:
    np.save(shard / "digests.npy", np.zeros((3, 32), np.uint8))


def no_digests(shard: Path) -> None:
    (shard / "digests.npy").unlink()


@pytest.mark.parametrize("damage", [cut_pixels, empty_pixels, garbage_digests, fewer_digests, no_digests])
def test_a_damaged_shard_is_built_again(tmp_path: Path, damage: object) -> None:
    assert callable(damage)
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    (shard,) = shards(tmp_path)
    damage(shard)
    again = cached(pictures, POLICY, root=tmp_path)
    assert again.decoded == 10
    assert np.array_equal(everything(again), expected(pictures))
    assert cached(pictures, POLICY, root=tmp_path).decoded == 0


def turned(file: Path, change: Callable[[bytearray], bytes | bytearray]) -> None:
    """Change what stands behind the header of an .npy."""
    data = file.read_bytes()
    file.write_bytes(data[:128] + change(bytearray(data[128:])))


def flipped(*places: int) -> Callable[[bytearray], bytearray]:
    def change(body: bytearray) -> bytearray:
        for place in places:
            body[place] ^= 255
        return body

    return change


def reordered(step: int, *rows: int) -> Callable[[bytearray], bytes]:
    return lambda body: b"".join(body[row * step : (row + 1) * step] for row in rows)


ROW = 3 * 6 * 5
SWAP = (1, 0, *range(2, 10))
ROLL = (*range(1, 10), 0)


@pytest.mark.parametrize(
    ("file", "change"),
    [
        ("pixels.npy", flipped(5)),
        ("pixels.npy", flipped(*range(0, 900, 7))),
        ("pixels.npy", lambda body: bytes(len(body))),
        ("pixels.npy", reordered(ROW, *SWAP)),
        ("pixels.npy", reordered(ROW, *ROLL)),
        ("pixels.npy", reordered(ROW, *[3] * 10)),
        ("digests.npy", flipped(3)),
        ("digests.npy", flipped(35, 71)),
        ("digests.npy", reordered(36, *SWAP)),
        ("digests.npy", reordered(36, *ROLL)),
        ("digests.npy", reordered(36, *[3] * 10)),
        ("digests.npy", lambda body: bytes(len(body))),
    ],
)
def test_what_a_disk_did_to_the_cache_is_noticed_and_decoded_anew(
    tmp_path: Path, file: str, change: Callable[[bytearray], bytes]
) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    turned(shards(tmp_path)[0] / file, change)
    for positions in (np.arange(10), np.array([7, 1, 1, 0]), np.arange(3, 6)):
        pixels = cached(pictures, POLICY, root=tmp_path, on_bad="stop")
        assert np.array_equal(pixels.take(positions), expected(pictures)[positions])
        assert np.array_equal(everything(pixels), expected(pictures))
        assert np.array_equal(everything(pixels.subset(np.array([4, 1]))), expected(pictures)[[4, 1]])


@pytest.mark.parametrize(("file", "places"), [("pixels.npy", range(0, 900, 30)), ("digests.npy", [34, 70])])
def test_damage_is_said_once_and_healed_for_the_next_run(tmp_path: Path, file: str, places: Sequence[int]) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    turned(shards(tmp_path)[0] / file, flipped(*places))
    for warnings in (1, 0):
        said: list[events.Event] = []
        with events.listen(said.append, alone=True):
            assert np.array_equal(everything(cached(pictures, POLICY, root=tmp_path)), expected(pictures))
        assert len(heard(said, "warn")) == warnings


def test_damaged_pixels_of_a_picture_that_is_gone_are_an_error_and_never_served(tmp_path: Path) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    turned(shards(tmp_path)[0] / "pixels.npy", flipped(5))
    pixels = cached(pictures, POLICY, root=tmp_path)
    assert isinstance(pictures.store, Memory)
    pictures.store.files["0000.png"] = png(77)
    assert np.array_equal(pixels.take(np.array([1])), expected(pictures)[[1]])
    with pytest.raises(DataError, match=r"0000\.png") as caught:
        everything(pixels)
    assert caught.value.code == "cache-damaged"


def test_a_row_is_verified_once_in_each_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = table(some())
    cached(pictures, POLICY, root=tmp_path)
    pixels, counted, summed = cached(pictures, POLICY, root=tmp_path), [], shards_of_rows.summed

    def counting(rows: npt.NDArray[np.uint8], digests: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        counted.append(len(rows))
        return summed(rows, digests)

    monkeypatch.setattr(shards_of_rows, "summed", counting)
    pixels.take(np.array([2, 2, 9]))
    everything(pixels)
    everything(pixels)
    assert counted == [2, 8]


@pytest.mark.skipif(os.name == "nt", reason="an open file cannot be deleted there")
def test_pixels_outlive_the_deletion_of_their_shard(tmp_path: Path) -> None:
    pictures = table(some())
    pixels = cached(pictures, POLICY, root=tmp_path)
    cached(table(some(1, start=50)), PixelPolicy(4, 4), root=tmp_path, limit=0)
    assert len(shards(tmp_path)) == 2, "nobody who knows of locks deletes what is in use"
    shutil.rmtree(tmp_path)
    assert np.array_equal(everything(pixels), expected(pictures))


def test_the_least_recently_used_go_first_and_those_in_use_never(tmp_path: Path) -> None:
    sets = [table(some(10, start=start)) for start in (0, 100, 200)]
    for age, pictures in enumerate(sets):
        cached(pictures, POLICY, root=tmp_path)
        for shard in shards(tmp_path):
            os.utime(shard, (shard.stat().st_atime, shard.stat().st_mtime - 1000))
        assert len(shards(tmp_path)) == age + 1
    one = sum(file.stat().st_size for file in shards(tmp_path)[0].iterdir())
    cached(sets[0], POLICY, root=tmp_path, limit=2 * one)
    assert [cached(pictures, POLICY, root=tmp_path).decoded for pictures in sets] == [0, 10, 0]
    cached(sets[2], POLICY, root=tmp_path, limit=0)
    assert [cached(pictures, POLICY, root=tmp_path).decoded for pictures in sets] == [10, 10, 0]


def test_what_a_killed_run_left_behind_is_removed_after_an_hour(tmp_path: Path) -> None:
    cached(table(some(2)), POLICY, root=tmp_path)
    folder = shards(tmp_path)[0].parent
    for name, age in ((".old.tmp", 4000), (".new.tmp", 10)):
        (folder / name).mkdir()
        os.utime(folder / name, (time.time() - age,) * 2)
    cached(table(some(2)), POLICY, root=tmp_path)
    assert left_behind(tmp_path) == [str((folder / ".new.tmp").relative_to(tmp_path))]


def test_a_cache_that_cannot_be_written_is_said_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    pictures = table(some())
    with pytest.raises(MachineError) as caught:
        cached(pictures, POLICY, root=tmp_path / "file")
    assert caught.value.code == "cannot-write"
    assert isinstance(pictures.store, Memory)
    assert pictures.store.reads == []


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 4 * 90)
    saved = np.save
    calls: list[Path] = []

    def full(path: Path, *args: object, **kwargs: object) -> None:
        calls.append(path)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        saved(path, *args, **kwargs)

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(MachineError) as caught:
        cached(table(some()), POLICY, root=tmp_path)
    assert caught.value.code == "disk-full"
    assert len(shards(tmp_path)) == 1
    assert left_behind(tmp_path) == []
    monkeypatch.setattr(np, "save", saved)
    assert cached(table(some()), POLICY, root=tmp_path).decoded == 6


class Ticking(Memory):
    """A store of which each picture takes half a second, by a clock that stands still otherwise."""

    now = 100.0

    def monotonic(self) -> float:
        return self.now

    def read(self, key: str) -> bytes:
        self.now += 0.5
        return super().read(key)


def test_the_seconds_of_a_decoded_picture_are_remembered_where_there_were_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(POLICY, width=7)
    for number, seconds in ((PACED - 1, 0.0), (PACED, 0.5)):
        pictures = table(some(number, start=100 * number))
        store = Ticking(some(number, start=100 * number))
        monkeypatch.setattr(cache, "time", store)
        cached(replace(pictures, store=store), POLICY, root=tmp_path, workers=1)
        assert pace(POLICY, root=tmp_path) == seconds
    cached(replace(pictures, store=store), POLICY, root=tmp_path, workers=1)
    assert (pace(POLICY, root=tmp_path), pace(other, root=tmp_path)) == (0.5, 0.0)


def decoding() -> int:
    return sum(thread.name.startswith("beholder-decode") for thread in threading.enumerate())


class Interrupting(Memory):
    """A slow store at whose 600th picture somebody presses Ctrl-C."""

    pressed = 0.0

    def read(self, key: str) -> bytes:
        time.sleep(0.002)
        if key == "0600.png" and not self.pressed:
            self.pressed = time.monotonic()
            main = threading.main_thread().ident
            assert main is not None
            signal.pthread_kill(main, signal.SIGINT)
        return super().read(key)


@pytest.mark.skipif(os.name == "nt", reason="there is no pthread_kill there")
def test_interrupt_ends_soon_and_keeps_what_was_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 90 * 90)
    pictures = table(some(2000))
    store = Interrupting(pictures.store.files) if isinstance(pictures.store, Memory) else None
    assert store is not None
    pictures = replace(pictures, store=store)
    with pytest.raises(KeyboardInterrupt):
        cached(pictures, POLICY, root=tmp_path, workers=2)
    assert time.monotonic() - store.pressed < 2
    assert len(store.reads) < 800
    assert decoding() == 0
    assert left_behind(tmp_path) == []
    rest = cached(pictures, POLICY, root=tmp_path, workers=8)
    assert 1200 < rest.decoded < 1600, "what was finished is kept, the shard at hand with it"
    assert np.array_equal(everything(rest), expected(pictures))


def test_several_threads_may_build_the_same_at_once(tmp_path: Path) -> None:
    pictures = table(some(100))
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cached(pictures, POLICY, root=tmp_path, workers=2), range(4)))
    for pixels in found:
        assert np.array_equal(everything(pixels), expected(pictures))
    assert left_behind(tmp_path) == []


SCRIPT = """
import sys
import numpy as np
from beholder.base.records import PixelPolicy
from beholder.data.cache import cached
from test_cache import POLICY, everything, expected, some, table
pictures = table(some(200))
for _ in range(5):
    pixels = cached(pictures, POLICY, root=sys.argv[1], limit=0)
    assert np.array_equal(everything(pixels), expected(pictures))
    cached(table(some(3, start=1000)), PixelPolicy(4, 4), root=sys.argv[1], limit=0)
"""


def test_two_processes_may_build_and_evict_at_once(tmp_path: Path) -> None:
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "cache")]
    both = [
        subprocess.Popen(command, env={**os.environ, "PYTHONPATH": path}, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    talk = [process.communicate(timeout=60)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], talk
    assert left_behind(tmp_path / "cache") == []


def test_a_shard_that_another_process_deletes_at_once_is_not_missed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards_of_rows, "mapped", lambda path, shape: None)
    monkeypatch.setattr(cache, "SHARD", 4 * 90)
    pictures = table(some(10))
    assert np.array_equal(everything(cached(pictures, POLICY, root=tmp_path)), expected(pictures))


def test_a_cache_that_is_deleted_while_a_shard_is_written_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved, calls = np.save, []

    def deleting(path: Path, *args: object, **kwargs: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            shutil.rmtree(tmp_path / "cache")
        saved(path, *args, **kwargs)

    monkeypatch.setattr(np, "save", deleting)
    pictures = table(some())
    assert np.array_equal(everything(cached(pictures, POLICY, root=tmp_path / "cache")), expected(pictures))
    assert len(calls) == 4
    assert cached(pictures, POLICY, root=tmp_path / "cache").decoded == 0


def test_a_shard_is_written_while_the_next_is_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 4 * 90)
    saved, threads = np.save, set()

    def watched(path: Path, *args: object, **kwargs: object) -> None:
        threads.add(threading.current_thread().name)
        saved(path, *args, **kwargs)

    monkeypatch.setattr(np, "save", watched)
    pictures = table(some(23))
    assert np.array_equal(everything(cached(pictures, POLICY, root=tmp_path)), expected(pictures))
    assert threads == {"beholder-write_0"}
    assert len(shards(tmp_path)) == 6


def test_a_large_set_has_no_more_shards_than_files_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "SHARD", 2 * 90)
    monkeypatch.setattr(cache, "SHARDS", 5)
    cached(table(some(50)), POLICY, root=tmp_path)
    assert len(shards(tmp_path)) == 5


def test_progress_ends_at_the_total_and_tells_the_rate(tmp_path: Path) -> None:
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        cached(table(some(30)), POLICY, root=tmp_path)
    last = [event for event in heard(said, "progress") if event.message == "decode"][-1]
    assert (last.fields["done"], last.fields["total"]) == (30, 30)
    assert float(last.fields["rate"]) > 0

    from beholder.sources import scan

    x = np.random.default_rng(0).integers(0, 256, (12, 6, 5, 3), dtype=np.uint8)
    pictures = scan((x, np.arange(12) % 2))
    pixels = cached(pictures, POLICY, root=tmp_path)
    assert np.array_equal(everything(pixels), x.transpose(0, 3, 1, 2))
    assert cached(pictures, POLICY, root=tmp_path).decoded == 0


def test_a_second_policy_is_decoded_from_the_same_bytes(leaves: Path, tmp_path: Path) -> None:
    pictures, smaller = digested(scan(leaves)), replace(POLICY, height=POLICY.height // 2, channels=1)
    cached(pictures.take(np.arange(9)), smaller, root=tmp_path)
    both = cached(pictures, POLICY, root=tmp_path, also=smaller)
    assert both.decoded == 36
    assert missing(pictures, smaller, root=tmp_path) == 0
    there, alone = (cached(pictures, smaller, root=tmp_path / name) for name in ("", "alone"))
    assert np.array_equal(there.take(np.arange(36)), alone.take(np.arange(36)))
    assert len(list((tmp_path / "pixels").glob("*/*"))) == 3
