"""Windows and macOS, as far as can be seen from here: names and paths of theirs, and POSIX calls that they lack."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import unicodedata
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import pytest
from PIL import Image

import beholder
from beholder import sources
from beholder.base import files, sinks
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.cli.train import _stem
from beholder.sources import members, outside, shards, table, titles
from beholder.study.crew import Processes

SRC = Path(__file__).parent.parent / "src" / "beholder"

ABSENT = {
    "module": {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "crypt", "syslog"},
    "os": {
        *(
            "fork",
            "forkpty",
            "sched_getaffinity",
            "sched_setaffinity",
            "getuid",
            "geteuid",
            "getgid",
            "uname",
            "sysconf",
            "setsid",
        ),
        *("killpg", "getpgid", "getpgrp", "nice", "setpriority", "getloadavg", "mkfifo", "chown", "lchown", "fchown", "fchmod"),
        *(
            "O_DIRECTORY",
            "O_NOFOLLOW",
            "O_CLOEXEC",
            "O_NONBLOCK",
            "O_DIRECT",
            "pread",
            "pwrite",
            "statvfs",
            "WNOHANG",
            "WIFEXITED",
        ),
        *("posix_fadvise", "posix_fallocate", "sendfile", "memfd_create", "eventfd", "register_at_fork", "wait", "pipe2"),
    },
    "signal": {
        "SIGKILL",
        "SIGALRM",
        "SIGHUP",
        "SIGUSR1",
        "SIGUSR2",
        "SIGCHLD",
        "SIGPIPE",
        "setitimer",
        "alarm",
        "pthread_sigmask",
    },
    "socket": {"AF_UNIX", "SO_REUSEPORT", "socketpair"},
    "select": {"poll", "epoll", "kqueue"},
}
"""What Windows, or macOS, has not; `getattr(os, "…")` and `hasattr` do not count as a use."""

FENCED = {
    "base/locks.py": {"fcntl"},  # except ImportError: nothing is held
    "machine/launch.py": {"fcntl"},  # except ModuleNotFoundError: what the interface is called is not known
    "machine/neighbours.py": {"os.sysconf"},  # except AttributeError: what others compute is not known
    "machine/files.py": {"resource"},  # except ImportError: no limit is known
    "machine/cpu.py": {"os.sched_getaffinity"},  # except AttributeError: os.cpu_count
    "image/child.py": {"resource", "signal.setitimer", "os.sysconf"},  # sys.platform, hasattr, and behind /proc
    "image/sandbox.py": {"os.register_at_fork"},  # hasattr
    "study/columns.py": {"os.posix_fallocate"},  # except AttributeError: facts are in memory
    "server/workers.py": {"os.fork", "os.WNOHANG", "signal.pthread_sigmask"},  # hasattr(os, "fork"), else no-fork
}
"""File → what it uses of these all the same, with what happens where it is absent."""

SYSTEM_FILES = {f"machine/{name}.py" for name in ("cores", "cpu", "devices", "energy", "memory")} | {"image/child.py"}
"""Files that read /proc or /sys; each goes on where they are not there."""


def used(path: Path) -> set[str]:
    """Which of `ABSENT` a file uses."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.attr in ABSENT.get(node.value.id, ()):
            found.add(f"{node.value.id}.{node.attr}")
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name in ABSENT["module"]}
        elif isinstance(node, ast.ImportFrom) and node.module in (*ABSENT["module"], "os", "signal", "select", "socket"):
            names = {alias.name for alias in node.names}
            found |= (
                {node.module}
                if node.module in ABSENT["module"]
                else {f"{node.module}.{n}" for n in names & ABSENT[node.module]}
            )
    return found


def test_calls_that_windows_or_macos_lack_are_fenced() -> None:
    found = {str(path.relative_to(SRC).as_posix()): used(path) for path in SRC.rglob("*.py")}
    assert {name: what for name, what in found.items() if what} == FENCED


def test_only_a_few_files_read_what_linux_alone_has() -> None:
    for path in SRC.rglob("*.py"):
        texts = [node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)]
        reads = [text for text in texts if isinstance(text, str) and text.startswith(("/proc/", "/sys/", "/dev/"))]
        assert not reads or path.relative_to(SRC).as_posix() in SYSTEM_FILES, (path, reads)


LACKING = """
import asyncio, http.server, logging.handlers, multiprocessing, os, pkgutil, select, selectors, shutil, signal, socket
import subprocess, sys, tempfile
import beholder, fastapi, onnx, onnxruntime, scipy.optimize, sklearn.cluster, sklearn.linear_model, timm, torch, torchvision
import typer, uvicorn
from PIL import Image
BLOCKED = set(sys.argv[1].split(","))
for name in BLOCKED:
    sys.modules[name] = None
for name in sys.argv[2].split(","):
    module, _, attribute = name.partition(".")
    if hasattr(sys.modules[module], attribute):
        delattr(sys.modules[module], attribute)
sys.platform = "win32"
shutil.disk_usage = lambda path: shutil._ntuple_diskusage(2**40, 0, 2**40)  # which Windows has by a call of its own
failed = []
for info in pkgutil.walk_packages(beholder.__path__, "beholder."):
    if info.name.endswith("__main__"):
        continue
    try:
        __import__(info.name)
    except ModuleNotFoundError as error:
        if error.name in BLOCKED:
            failed.append((info.name, repr(error)))
    except Exception as error:
        failed.append((info.name, repr(error)))
assert not failed, failed
parts = beholder.split(beholder.scan(sys.argv[3]))
model = beholder.train(parts, net="logistic", epochs=1, out=sys.argv[4], precision="fp32")
assert beholder.load(sys.argv[4]).classes == model.classes
from beholder.cli.run import run
assert run(["evaluate", sys.argv[4], sys.argv[3], "--sections", "none"]) == 0
print("done")
"""


@pytest.mark.slow
def test_everything_imports_and_trains_where_posix_calls_are_absent(leaves: Path, tmp_path: Path) -> None:
    lacking = [f"{name}.{each}" for name in ("os", "signal", "socket", "select") for each in sorted(ABSENT[name])]
    lacking = [name for name in lacking if name not in ("socket.socketpair", "os.pipe2")]  # which Python itself needs here
    modules = ",".join(sorted(ABSENT["module"] - {"posix"}))
    command = [sys.executable, "-c", LACKING, modules, ",".join(lacking), str(leaves), str(tmp_path / "m.beholder")]
    environment = {**os.environ, "BEHOLDER_CACHE": str(tmp_path / "cache")}  # Windows' own is asked of its registry
    run = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.strip().endswith("done")


def test_files_are_flushed_and_renamed_as_windows_needs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place, new = tmp_path / "a.txt", tmp_path / "b.txt"
    place.write_bytes(b"old")
    new.write_bytes(b"new")
    modes: list[str] = []
    opened = Path.open

    def spied(path: Path, mode: str = "r", *rest: object, **more: object) -> object:
        modes.append(mode)
        return opened(path, mode, *rest, **more)  # type: ignore[arg-type]

    tries = []
    replaced = Path.replace

    def held(path: Path, target: Path) -> Path:
        tries.append(path)
        if len(tries) < 3:
            raise PermissionError(13, "the process cannot access the file")
        return replaced(path, target)

    monkeypatch.setattr(Path, "open", spied)
    monkeypatch.setattr(Path, "replace", held)
    monkeypatch.setattr(files.time, "sleep", lambda _: None)
    monkeypatch.setattr(files.os, "name", "nt")
    files._fsync(place)
    files._replace(new, place)
    files.fsync_folder(place)  # opens no folder
    monkeypatch.setattr(files.os, "name", "posix")
    assert modes == ["r+b"]
    assert len(tries) == 3
    assert place.read_bytes() == b"new"


def test_several_trials_at_a_time_are_refused_where_pipes_cannot_be_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("beholder.study.crew.os.name", "nt")
    with pytest.raises(UsageError, match="several trials at a time need Linux or macOS"):
        Processes(tmp_path, 2, 8)


@pytest.mark.parametrize("text", [r"C:\pictures", "C:/pictures", r"c:\pictures\leaves.zip", "D:", r"\\server\share\pictures"])
def test_a_drive_is_no_kind_of_source(text: str) -> None:
    assert sources._named(text) is None
    assert not sources.remote.is_url(text)
    assert not shards.is_pattern(text)
    with pytest.raises(UsageError) as caught:
        beholder.scan(text)
    assert caught.value.code == "path-missing"


def test_a_drive_is_no_kind_of_sink(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises((MachineError, UsageError)) as caught:
        sinks.named(r"mlflows:C:\logs")
    assert caught.value.code == "unknown-sink"
    opened = sinks.named(r"C:\logs\run.jsonl")
    opened.close()
    assert opened._name == "jsonl"


@pytest.mark.parametrize(
    ("source", "name"), [("hf:someone/pets", "pets"), ("boxes:cells.csv", "cells"), ("https://x.org/a/set.tar.gz", "set")]
)
def test_what_a_bundle_is_called_holds_no_colon(source: str, name: str) -> None:
    assert _stem(source) == name


def picture(path: Path, shade: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(path)


def test_a_table_may_have_backslashes_and_paths_of_another_machine(tmp_path: Path) -> None:
    for number in range(4):
        picture(tmp_path / "set" / ("day" if number % 2 else "night") / f"{number}.png", 10 * number)
    rows = [f"{PureWindowsPath('set', 'day' if n % 2 else 'night', f'{n}.png')},{'ab'[n % 2]}" for n in range(4)]
    (tmp_path / "own.csv").write_text("path,label\n" + "\n".join(rows))
    keys = list(beholder.scan(tmp_path / "own.csv").keys)
    assert keys == [f"set/{'day' if n % 2 else 'night'}/{n}.png" for n in range(4)]
    assert all(str(PurePosixPath(key)) == key and "\\" not in key for key in keys)
    far = [rf"C:\Users\someone\{row}" for row in rows]
    (tmp_path / "far.csv").write_text("path,label\n" + "\n".join(far))
    assert list(beholder.scan(tmp_path / "far.csv").keys) == keys


@pytest.mark.parametrize("name", [r"..\out.png", r"C:\out.png", "c:/out.png", r"a\..\..\out.png", "/out.png"])
def test_members_and_rows_that_lead_outside_are_noticed_by_either_slash(name: str) -> None:
    with pytest.raises(DataError, match="leads out of the archive"):
        members.safe(name, Path("a.zip"))
    assert outside.leads_outside(name) or outside._ABSOLUTE.match(name)


def test_members_of_a_zip_made_on_windows_have_slashes() -> None:
    assert members.safe(r"day\1.png", Path("a.zip")) == "day/1.png"
    assert table.parse(b"path,label\nday\\1.png,a\n.\\2.png,b\n", "t.csv", where="t.csv")[0].path == "day/1.png"


@pytest.mark.parametrize("name", ["CON", "con.png", "Aux", "nul.txt", "COM1", "lpt9.jpg", "prn"])
def test_names_of_devices_are_never_written(name: str) -> None:
    given = titles.Titles().give("", name)
    assert given == "_" + name
    assert not titles.is_title(name)
    assert not PureWindowsPath(given).is_reserved()


def test_names_that_windows_changes_are_changed_here_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(titles.os, "name", "nt")
    monkeypatch.setattr(titles, "_ODD", titles.re.compile(r'[<>:"|?*]'))
    assert titles._tamed("leaf. ") == "leaf_"
    assert titles._tamed('a<b>:"|?*.png') == "a_b______.png"


def test_names_that_differ_in_case_alone_get_two_files() -> None:
    give = titles.Titles().give
    assert [give("a", name) for name in ("Leaf.png", "leaf.PNG", "LEAF.png")] == ["Leaf.png", "leaf-2.PNG", "LEAF-3.png"]


def test_no_name_is_longer_than_systems_allow() -> None:
    given = titles.Titles().give("a", "ü" * 400 + ".png")
    assert len(given.encode()) <= titles.LONGEST
    assert given.endswith(".png")


def test_names_as_macos_writes_them_are_found(tmp_path: Path) -> None:
    apart, whole = (unicodedata.normalize(form, "käfer") for form in ("NFD", "NFC"))
    assert apart != whole
    for number in range(3):
        picture(tmp_path / "set" / apart / f"{apart}{number}.png", 10 * number)
        picture(tmp_path / "set" / "ant" / f"{number}.png", 100 + number)
    assert beholder.scan(tmp_path / "set").classes == ("ant", whole)
    rows = [f"{whole}/{whole}{n}.png,{whole}" for n in range(3)] + [f"ant/{n}.png,ant" for n in range(3)]
    (tmp_path / "set.csv").write_text("path,label\n" + "\n".join(f"set/{row}" for row in rows), "utf-8")
    assert len(beholder.scan(tmp_path / "set.csv")) == 6


def test_splits_csv_has_forward_slashes(small: tuple[Path, Path, object]) -> None:
    text = (small[1] / "splits.csv").read_text("utf-8")
    assert "\\" not in text
    assert "/" in text or os.sep not in text


def test_what_is_kept_in_the_cache_has_short_names(tmp_path: Path, leaves: Path) -> None:
    """Windows takes 260 characters of a path; a home of a long name has 80 of them."""
    beholder.cache(tmp_path / "c")
    parts = beholder.split(beholder.scan(leaves))
    beholder.train(parts, net="logistic", epochs=1)
    longest = max(len(str(path.relative_to(tmp_path / "c"))) for path in (tmp_path / "c").rglob("*"))
    assert longest < 120
