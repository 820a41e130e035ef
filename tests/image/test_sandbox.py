"""Decoders that die, fill the memory or never end: each costs one picture and a reason code, whatever the number of workers."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder import image
from beholder.base.errors import MachineError, PictureError
from beholder.base.limits import Limits
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import Pixels, cached
from beholder.data.survey import survey
from beholder.image import sandbox

PLANTED = """
import os, signal, time
import numpy as np
from pathlib import Path
from beholder.image import child, pillow
plain = pillow.pixels
def planted(data, *rest):
    word = data[-4:]
    if word == b"SEGV":
        os.kill(os.getpid(), signal.SIGSEGV)
    if word == b"ABRT":
        os.abort()
    if word == b"KILL":
        os.kill(os.getpid(), signal.SIGKILL)
    if word == b"HOGS":
        held = [np.empty(64 << 20, np.uint8) for _ in range(40)]
    if word == b"SLOW":
        time.sleep(60)
    if word == b"ONCE" and not Path(MARK).exists():
        Path(MARK).touch()
        os.kill(os.getpid(), signal.SIGSEGV)
    return plain(data, *rest)
pillow.pixels = planted
child.main()
"""
CODES = {b"SEGV": "crashed", b"ABRT": "crashed", b"KILL": "out-of-memory", b"HOGS": "out-of-memory"}
POLICY = PixelPolicy(height=6, width=5)
HURRY = Limits(seconds=0.5)


def tiff(seed: int, end: bytes = b"") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "TIFF")
    return buffer.getvalue() + end


class Memory:
    name = "memory"

    def __init__(self, files: list[bytes]) -> None:
        self.files = files

    def read(self, key: str) -> bytes:
        return self.files[int(key)]

    def stamp(self, key: str) -> str:
        return ""


def table(files: list[bytes]) -> Pictures:
    n = len(files)
    none = np.full(n, -1)
    targets = np.arange(n, dtype=np.int64) % 2
    return Pictures(Memory(files), [str(k) for k in range(n)], targets, ("a", "b"), none.astype(np.int8), none)


@pytest.fixture(autouse=True)
def _planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(sandbox, "PROGRAM", f"MARK = {str(tmp_path / 'mark')!r}\n{PLANTED}")
    sandbox._CHILDREN.close()
    yield
    sandbox._CHILDREN.close()
    assert sandbox.running() == 0


def code(data: bytes, limits: Limits = HURRY) -> str:
    with pytest.raises(PictureError) as caught:
        image.load(data, POLICY, limits=limits)
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize("end", sorted(CODES))
def test_a_decoder_that_dies_costs_one_picture(end: bytes) -> None:
    assert code(tiff(0, end), Limits(seconds=30)) == CODES[end]
    assert image.load(tiff(1), POLICY).shape == (3, 6, 5)


def test_a_decoder_that_never_ends_costs_its_time() -> None:
    image.load(tiff(0), POLICY)
    began = time.monotonic()
    assert code(tiff(1, b"SLOW")) == "too-slow"
    assert 0.4 < time.monotonic() - began < 5
    assert image.load(tiff(2), POLICY).shape == (3, 6, 5)


def test_a_child_killed_by_another_hand_costs_nothing(tmp_path: Path) -> None:
    assert image.load(tiff(0, b"ONCE"), POLICY).shape == (3, 6, 5)
    assert (tmp_path / "mark").exists()
    sandbox._CHILDREN.idle[0].process.kill()
    assert image.load(tiff(0), POLICY).shape == (3, 6, 5)


def test_a_child_that_cannot_start_is_no_fault_of_the_picture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sandbox, "PROGRAM", "raise SystemExit(3)")
    with pytest.raises(MachineError, match="exit status 3"):
        image.load(tiff(0), POLICY)
    with pytest.raises(MachineError, match="exit status 3"):
        cached(table([tiff(0)]), POLICY, root=tmp_path)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "nothing"))
    with pytest.raises(MachineError, match="No such file"):
        image.load(tiff(0), POLICY)


def everything(pixels: Pixels) -> np.ndarray:
    return pixels.take(np.arange(len(pixels)))


def test_a_set_with_killers_is_built_whatever_the_number_of_workers(tmp_path: Path) -> None:
    files = [tiff(k) for k in range(30)]
    killers = dict(zip((3, 4, 17, 29), CODES, strict=True))
    for k, end in killers.items():
        files[k] += end
    files[8] = files[8][:-40]
    shards = []
    for workers in (1, 3):
        found = cached(table(files), POLICY, root=tmp_path / str(workers), on_bad="skip", workers=workers)
        assert {int(bad.key): bad.code for bad in found.bad} == {k: CODES[end] for k, end in killers.items()} | {8: "truncated"}
        assert found.rows.tolist() == [k for k in range(30) if k not in killers and k != 8]
        shards.append([path.read_bytes() for path in sorted((tmp_path / str(workers)).rglob("*.npy"))])
        expected = np.stack([image.load(files[k], POLICY) for k in found.rows.tolist()])
        assert np.array_equal(everything(found), expected)
    assert shards[0] == shards[1], "bit-identical"


@pytest.mark.slow
def test_a_hang_costs_ten_seconds_of_one_worker(tmp_path: Path) -> None:
    files = [tiff(k, b"SLOW" if k == 2 else b"") for k in range(12)]
    began = time.monotonic()
    found = cached(table(files), POLICY, root=tmp_path, on_bad="skip", workers=2)
    assert [(bad.key, bad.code) for bad in found.bad] == [("2", "too-slow")]
    assert 9 < time.monotonic() - began < 14


def test_plain_sets_start_no_child(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), np.uint8)
    files = []
    for kind in ("PNG", "JPEG", "BMP", "PPM", "GIF"):
        for mode in ("RGB", "L"):
            buffer = io.BytesIO()
            Image.fromarray(pixels).convert(mode).save(buffer, kind)
            files.append(buffer.getvalue())
    survey(table(files))
    assert len(cached(table(files), POLICY, root=tmp_path)) == len(files)
    assert sandbox.running() == 0


def test_no_more_children_than_workers(tmp_path: Path) -> None:
    most = []
    telling = threading.Event()

    def watch() -> None:
        while not telling.wait(0.01):
            most.append(sandbox.running())

    watcher = threading.Thread(target=watch)
    watcher.start()
    cached(table([tiff(k) for k in range(60)]), POLICY, root=tmp_path, workers=2)
    telling.set()
    watcher.join()
    assert max(most) == 2


def test_what_is_made_apart_is_what_is_made_here() -> None:
    for mode in ("RGB", "L", "RGBA", "CMYK", "I;16", "F", "1", "LAB"):
        buffer = io.BytesIO()
        wide = Image.effect_mandelbrot((50, 40), (-2, -1.2, 0.6, 1.2), 60)
        Image.merge("LAB", [wide] * 3).save(buffer, "TIFF") if mode == "LAB" else wide.convert(mode).save(buffer, "TIFF")
        here = image.pillow.pixels(buffer.getvalue(), 3, (255, 255, 255), Limits())
        found = image.decode(buffer.getvalue(), channels=3)
        assert np.array_equal(found if here.ndim == 3 else found[:, :, 0], here)


CHILD = """
    import os, sys, threading, time
    import numpy as np
    from pathlib import Path
    sys.path.insert(0, sys.argv[1])
    from tests.image import test_sandbox as here
    from beholder.image import sandbox
    from beholder import image
    from beholder.cli.run import run
    sandbox.PROGRAM = f"MARK = {sys.argv[2]!r}" + chr(10) + here.PLANTED
"""


def started(code: str, tmp_path: Path, *args: str) -> subprocess.Popen[str]:
    text = textwrap.dedent(CHILD) + textwrap.dedent(code)
    command = [sys.executable, "-c", text, str(Path(__file__).parents[2]), str(tmp_path / "mark"), *args]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def children(tmp_path: Path) -> list[str]:
    """The command lines of decoding processes of this test that are alive."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_text("utf-8", errors="replace")
        except OSError:
            continue
        if f"MARK = {str(tmp_path / 'mark')!r}" in text and "child" in text:
            found.append(text)
    return found


def waited(truth: bool, tmp_path: Path, seconds: float) -> bool:
    """Wait until there are children, or none."""
    end = time.monotonic() + seconds
    while time.monotonic() < end and bool(children(tmp_path)) != truth:
        time.sleep(0.05)
    return bool(children(tmp_path)) == truth


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_who_asks_to_stop_waits_for_no_decoder(number: signal.Signals, tmp_path: Path) -> None:
    source = tmp_path / "set"
    for name in ("a", "b"):
        (source / name).mkdir(parents=True)
        for k in range(30):
            (source / name / f"{k}.tiff").write_bytes(tiff(k + 100 * (name == "b"), b"SLOW" if k else b""))
    run = "sys.exit(run(['train', sys.argv[3], '--out', sys.argv[3] + '.beholder']))"
    process = started(run, tmp_path, str(source))
    assert waited(True, tmp_path, 150)
    time.sleep(1)
    began = time.monotonic()
    process.send_signal(number)
    _, talk = process.communicate(timeout=30)
    assert time.monotonic() - began < 5
    assert process.returncode == 128 + number, talk
    assert "Traceback" not in talk
    assert waited(False, tmp_path, 1), "no orphans"


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_children_go_with_their_parent(tmp_path: Path) -> None:
    code = "image.load(here.tiff(0), here.POLICY); print(sandbox.running(), flush=True); time.sleep(60)"
    process = started(code, tmp_path)
    assert process.stdout is not None
    assert process.stdout.readline() == "1\n"
    assert len(children(tmp_path)) == 1
    process.kill()
    process.communicate()
    assert waited(False, tmp_path, 5)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_child_that_hangs_outlives_its_parent_by_seconds_only(tmp_path: Path) -> None:
    code = "image.load(here.tiff(0, b'SLOW'), here.POLICY, limits=here.Limits(seconds=3))"
    process = started(code, tmp_path)
    assert waited(True, tmp_path, 30)
    process.kill()
    process.communicate()
    assert waited(False, tmp_path, 12)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_children_of_its_own(tmp_path: Path) -> None:
    code = """
        import warnings
        warnings.simplefilter("ignore")
        image.load(here.tiff(0), here.POLICY)
        mine = sandbox._CHILDREN.idle[0].process.pid
        if os.fork() == 0:
            image.load(here.tiff(1), here.POLICY)
            assert sandbox._CHILDREN.idle[0].process.pid != mine and sandbox.running() == 1
            sandbox._CHILDREN.close()
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.wait()[1]) == 7
        image.load(here.tiff(2), here.POLICY)
        assert sandbox._CHILDREN.idle[0].process.pid == mine
    """
    process = started(code, tmp_path)
    _, talk = process.communicate(timeout=60)
    assert process.returncode == 0, talk


def test_pictures_under_a_pool_that_is_left_are_given_up() -> None:
    began = time.monotonic()
    with sandbox.decoders(2) as (pool, _):
        waiting = [pool.submit(image.load, tiff(k, b"SLOW"), POLICY) for k in range(4)]
        time.sleep(0.5)
    assert time.monotonic() - began < 4
    assert [future.cancelled() for future in waiting] == [False, False, True, True]
    for future in waiting[:2]:
        assert isinstance(future.exception(), PictureError)


@pytest.mark.slow
def test_a_picture_of_many_pixels_is_decoded_within_the_memory() -> None:
    """60 million pixels with transparency: 240 MB as stored, 180 MB as made; converted in bands it fits."""
    buffer = io.BytesIO()
    Image.new("RGBA", (10_000, 6_000), (10, 20, 30, 128)).save(buffer, "PNG", compress_level=1)
    found = image.load(buffer.getvalue(), replace(POLICY, background=(0, 0, 0)))
    assert found.max(axis=(1, 2)).tolist() == [5, 10, 15]
    assert code(buffer.getvalue(), Limits(memory=200 << 20)) == "out-of-memory"
