"""A bug report says what is needed, and nobody's name: neither user nor host nor home."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from pathlib import Path

import pytest

from beholder.cli import commands
from beholder.cli.run import run
from beholder.machine import bugreport


@pytest.fixture
def somebody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user and a host with names, whose cache lies at home."""
    home = tmp_path / "home" / "ada"
    home.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("platform.node", lambda: "workshop.example.org")
    monkeypatch.setenv("BEHOLDER_CACHE", str(home / "cache"))
    return home


def test_the_report_has_versions_machine_and_precision(somebody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["info", "--bug-report"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("### Beholder\n")
    assert f"beholder {importlib.metadata.version('beholder')}" in said
    assert f"torch {importlib.metadata.version('torch')}" in said
    assert f"python: {platform.python_version()}" in said
    for row in ("| device | ", "| cores | ", "| memory_free | ", "| precision | ", "| precision_reason | "):
        assert row in said
    assert "| cache | ~" in said
    assert "No unexpected error is known." in said
    for name in (str(somebody), "ada", "workshop", "example.org"):
        assert name not in said


def test_the_last_unexpected_error_is_in_it_without_names(
    somebody: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(_: object) -> None:
        raise ZeroDivisionError(f"ada on workshop.example.org read {somebody}/pictures/1.png")

    monkeypatch.setattr(commands, "pairs", fails)
    assert run(["info"]) == 1
    assert "beholder info --bug-report" in capsys.readouterr().err
    monkeypatch.undo()
    monkeypatch.setenv("HOME", str(somebody))
    monkeypatch.setenv("BEHOLDER_CACHE", str(somebody / "cache"))
    assert run(["info", "--bug-report"]) == 0
    said = capsys.readouterr().out
    assert "Last unexpected error, of `beholder info` on " in said
    assert "ZeroDivisionError: USER on HOST read ~/pictures/1.png" in said
    assert "in fails" in said
    assert str(somebody) not in said


def test_homes_of_any_system_and_folders_of_packages_are_taken_out(somebody: Path) -> None:
    assert bugreport.scrubbed("/home/bob/x.py, /Users/eve/y, C:\\Users\\Carl\\z") == "~/x.py, ~/y, ~\\z"
    assert bugreport.scrubbed(f"{sys.path[-1]}/torch/nn.py") == "torch/nn.py"
    assert bugreport.scrubbed("adapter of ada, canada, ada-2") == "adapter of USER, canada, ada-2"
    assert bugreport.scrubbed(f"{somebody}/a") == "~/a"


def test_a_user_without_a_name_is_no_reason_to_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 10001")

    monkeypatch.setattr("getpass.getuser", nobody)
    assert bugreport.scrubbed("plain") == "plain"


def test_what_cannot_be_kept_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "file" / "below"))
    bugreport.note_error(ValueError("x"), command="train")
