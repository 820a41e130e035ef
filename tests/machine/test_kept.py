"""What the cache folder holds, and deleting of it while another process uses it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from beholder.base.errors import UsageError
from beholder.base.locks import hold
from beholder.base.records import PixelPolicy
from beholder.cli.run import run
from beholder.data.cache import cached
from beholder.machine.kept import KINDS, kept, prune
from beholder.sources import scan

DAY = 86400
POLICY = PixelPolicy(8, 8)
READER = """
import sys
import numpy as np
from beholder.base.records import PixelPolicy
from beholder.data.cache import cached
from beholder.sources import scan
pixels = cached(scan(sys.argv[1]), PixelPolicy(8, 8), root=sys.argv[2])
before = pixels.take(np.arange(len(pixels)))
print("ready", flush=True)
sys.stdin.readline()
print(bool((pixels.take(np.arange(len(pixels))) == before).all()), flush=True)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def unit(root: Path, kind: str, name: str, size: int, days: float = 0) -> Path:
    """A folder (or, of a name with a dot, a file) in the cache, last used so many days ago."""
    path = root / kind / name
    file = path if path.suffix else path / "pixels.npy"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"x" * size)
    os.utime(path, (time.time() - days * DAY,) * 2)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache of four units: 400 bytes unused for 90 days, 300 for 40, 200 for 10, 100 used just now."""
    root = tmp_path / "kept"
    unit(root, "pixels", f"{1:016x}/{1:016x}", 400, 90)
    unit(root, "facts", f"{2:032x}.npy", 300, 40)
    unit(root, "downloads", f"{3:032x}", 200, 10)
    unit(root, "features", f"lite0/{4:016x}", 100)
    return root


def left(root: Path) -> set[int]:
    return {file.stat().st_size for file in root.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("how", "stay"),
    [
        ({}, {200, 100}),
        ({"older": 0}, set()),
        ({"older": 50}, {300, 200, 100}),
        ({"older": 365}, {400, 300, 200, 100}),
        ({"to": 350 / 2**30}, {200, 100}),
        ({"to": 1.0}, {400, 300, 200, 100}),
        ({"everything": True}, set()),
    ],
)
def test_what_is_pruned(how: dict[str, float], stay: set[int], root: Path) -> None:
    gone = prune(root=root, **how)
    assert left(root) == stay
    assert set(gone) == {400, 300, 200, 100} - stay
    assert not (root / "pixels" / f"{1:016x}").exists() or 400 in stay


@pytest.mark.parametrize("how", [{"older": 1, "to": 1}, {"to": -1}, {"older": -1}, {"to": 1, "everything": True}])
def test_bounds_that_say_nothing_are_refused(how: dict[str, float], root: Path) -> None:
    with pytest.raises(UsageError):
        prune(root=root, **how)
    assert left(root) == {400, 300, 200, 100}


def test_nothing_is_deleted_that_beholder_did_not_name(root: Path) -> None:
    """A home that was given as the cache: its folder of downloads stays, and so do sets of torchvision."""
    for name in ("downloads/letter.pdf", "downloads/photos/1.jpg", "pixels/mine/art.png", "notes.txt", "torchvision/MNIST/x"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 7)
    prune(everything=True, root=root)
    assert len([file for file in root.rglob("*") if file.is_file()]) == 5
    assert left(root) == {7}


def test_what_is_being_written_stays_and_what_a_killed_run_left_goes(root: Path) -> None:
    new = unit(root, "pixels", f"{1:016x}/.{5:016x}.host.1.0a1b2c3d.tmp", 50)
    old = unit(root, "pixels", f"{1:016x}/.{6:016x}.host.1.0a1b2c3d.tmp", 60, 1)
    prune(everything=True, root=root)
    assert new.exists()
    assert not old.exists()


@pytest.mark.skipif(sys.platform == "win32", reason="no locks; there the system keeps what is open")
def test_a_shard_that_another_process_reads_stays_until_it_ends(leaves: Path, tmp_path: Path) -> None:
    root = tmp_path / "kept"
    command = [sys.executable, "-c", READER, str(leaves), str(root)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, env=environment(), **pipes) as reader:
        assert reader.stdout.readline() == "ready\n"
        unit(root, "pixels", f"{1:016x}/{1:016x}", 400)
        assert 400 in prune(everything=True, root=root)
        shards = [file for file in root.rglob("pixels.npy") if file.stat().st_size > 400]
        assert len(shards) == 1
        reader.stdin.write("\n")
        reader.stdin.flush()
        assert reader.stdout.readline() == "True\n"
    prune(everything=True, root=root)
    assert not shards[0].exists()
    assert cached(scan(leaves), POLICY, root=root).decoded == 36


@pytest.mark.skipif(sys.platform == "win32", reason="no locks; there the system keeps what is open")
def test_pixels_that_are_read_stay_as_long_as_they_live(leaves: Path, tmp_path: Path) -> None:
    pixels = cached(scan(leaves), POLICY, root=tmp_path / "kept")
    some = pixels.subset(np.arange(3))
    del pixels
    prune(everything=True, root=tmp_path / "kept")
    assert list((tmp_path / "kept" / "pixels").rglob("pixels.npy"))
    del some
    prune(everything=True, root=tmp_path / "kept")
    assert not list((tmp_path / "kept" / "pixels").rglob("*.npy"))


@pytest.mark.skipif(sys.platform == "win32", reason="no locks; there the system keeps what is open")
def test_an_archive_stays_as_long_as_its_reader_lives(root: Path) -> None:
    class Reader:
        pass

    archive = unit(root, "archives", f"{7:032x}.tar", 70)
    reader = Reader()
    hold(reader, archive)
    prune(everything=True, root=root)
    assert archive.exists()
    del reader
    prune(everything=True, root=root)
    assert not archive.exists()


def test_pruning_while_others_write_and_read_harms_nobody(leaves: Path, tmp_path: Path) -> None:
    code = READER.replace('print("ready", flush=True)\nsys.stdin.readline()', "")
    code = code.replace("pixels = ", "for _ in range(25): pixels = ")
    command = [sys.executable, "-c", code, str(leaves), str(tmp_path / "kept")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    others = [subprocess.Popen(command, env=environment(), **pipes) for _ in range(2)]
    while any(other.poll() is None for other in others):
        prune(everything=True, root=tmp_path / "kept")
    talk = [other.communicate(timeout=60) for other in others]
    assert [out for out, _ in talk] == ["True\n", "True\n"], talk


def test_the_command_shows_and_prunes(root: Path, capsys) -> None:
    assert run(["cache", "--cache", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["folder"] == str(root)
    assert told["bytes"] == 1000
    assert {row["kind"]: (row["n"], row["bytes"]) for row in told["kinds"]} == {
        "pixels": (1, 400), "facts": (1, 300), "downloads": (1, 200), "features": (1, 100),
    }  # fmt: skip
    assert run(["cache", "--cache", str(root), "--prune", "--older", "50", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deleted"] == {"n": 1, "bytes": 400}
    assert run(["cache", "--cache", str(root), "--prune", "--all"]) == 0
    assert "deleted: 3 files and folders" in capsys.readouterr().out
    assert kept(root) == []


@pytest.mark.parametrize("options", [["--all"], ["--older", "3"], ["--prune", "--all", "--to", "1"], ["--prune", "--to", "-1"]])
def test_wrong_options_delete_nothing(options: list[str], root: Path, capsys) -> None:
    assert run(["cache", "--cache", str(root), *options]) == 2
    assert "hint:" in capsys.readouterr().err
    assert left(root) == {400, 300, 200, 100}


def test_the_table_names_what_a_command_keeps(leaves: Path, tmp_path: Path, capsys) -> None:
    fields = ["--net", "mlp", "--epochs", "1", "--out", str(tmp_path / "m.beholder"), "--cache", str(tmp_path / "kept")]
    assert run(["train", str(leaves), *fields]) == 0
    assert {folder.name for folder in (tmp_path / "kept").iterdir()} <= set(KINDS)
    capsys.readouterr()
    assert run(["cache", "--cache", str(tmp_path / "kept")]) == 0
    assert "decoded pictures" in capsys.readouterr().out
