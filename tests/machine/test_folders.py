"""Which cache folder is taken: the option, the variable, the system's."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from beholder.base.errors import MachineError, UsageError
from beholder.cli.run import run
from beholder.machine.folders import cache, cache_folder, forgotten


def test_the_default_is_the_users_own(home: Path, tmp_path: Path) -> None:
    assert home in cache_folder().parents
    assert cache_folder().name.lower() in {"beholder", "cache"}
    assert cache_folder("") == cache_folder()
    assert cache_folder(tmp_path / "given") == tmp_path / "given"
    assert not (tmp_path / "given").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="XDG is of Unix")
def test_the_option_goes_before_the_variable_and_that_before_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "system"))
    assert cache_folder() == tmp_path / "system" / "beholder"
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "variable"))
    assert cache_folder() == tmp_path / "variable"
    assert cache(tmp_path / "option") == tmp_path / "option" == cache_folder()
    assert cache_folder(tmp_path / "given") == tmp_path / "given"


def test_relative_names_and_that_of_the_home_are_made_absolute(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given, meant in (("here", tmp_path / "here"), ("~/there", home / "there")):
        monkeypatch.setenv("BEHOLDER_CACHE", given)
        assert cache_folder() == meant
    assert cache("chosen") == tmp_path / "chosen"
    monkeypatch.chdir(home)
    assert cache_folder() == tmp_path / "chosen"


def test_processes_started_from_here_use_the_same(tmp_path: Path) -> None:
    cache(tmp_path / "kept")
    code = "from beholder.machine.folders import cache_folder; print(cache_folder())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=dict(os.environ))
    assert done.stdout.strip() == str(tmp_path / "kept")


@pytest.mark.parametrize("place", ["a-file", "a-file/deep", "/dev/null/x"])
def test_a_cache_that_cannot_be_is_one_clear_error(place: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "a-file").write_text("in the way")
    with pytest.raises(MachineError) as caught:
        cache(tmp_path / place)
    assert caught.value.code == "cannot-write"
    assert run(["info", "--cache", str(tmp_path / place)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("error: cannot write ")
    assert "--cache" in said.partition("hint: ")[2]
    assert "BEHOLDER_CACHE" not in os.environ


def test_a_cache_without_a_name_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError) as caught:
        cache("")
    assert caught.value.code == "no-name"
    assert run(["info", "--cache", ""]) == 2
    assert capsys.readouterr().err.startswith("error: the cache folder has no name")
    assert not list(tmp_path.iterdir())
    assert "BEHOLDER_CACHE" not in os.environ
    assert cache(".") == tmp_path


def test_a_variable_that_names_a_file_costs_time_and_a_warning(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    (tmp_path / "a-file").write_text("in the way")
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "a-file"))
    assert run(["audit", str(leaves), "--out", str(tmp_path / "audit.csv"), "--check", "dark"]) == 0
    said = capsys.readouterr().err
    assert "could not be remembered" in said
    assert "--cache" in said
    assert run(["train", str(leaves), "--out", str(tmp_path / "m.beholder"), "--epochs", "1"]) == 1
    assert "--cache" in capsys.readouterr().err.rpartition("hint: ")[2]


def test_a_command_keeps_everything_in_the_folder_it_is_given(home: Path, leaves: Path, tmp_path: Path) -> None:
    before = sorted(home.rglob("*"))
    kept = tmp_path / "kept"
    fields = ["--net", "mlp", "--epochs", "1", "--out", str(tmp_path / "m.beholder"), "--cache", str(kept)]
    assert run(["train", str(leaves), *fields]) == 0
    assert {"pixels", "digests", "facts"} <= {folder.name for folder in kept.iterdir()}
    assert sorted(home.rglob("*")) == before


def test_a_cache_is_forgotten_by_the_thread_that_asks_for_it_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "kept"))
    inside, asked = threading.Event(), threading.Event()
    seen: list[Path] = []

    def dry() -> None:
        with forgotten() as folder:
            seen.extend((folder, cache_folder()))
            inside.set()
            assert asked.wait(10)
        seen.append(cache_folder())

    other = threading.Thread(target=dry)
    other.start()
    assert inside.wait(10)
    assert cache_folder() == tmp_path / "kept"
    assert os.environ["BEHOLDER_CACHE"] == str(tmp_path / "kept")
    assert seen[0] == seen[1] != tmp_path / "kept"
    assert seen[0].is_dir()
    asked.set()
    other.join(10)
    assert seen[2] == tmp_path / "kept"
    assert not seen[0].exists()
