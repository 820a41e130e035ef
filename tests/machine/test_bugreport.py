"""A bug report says what is needed, and neither user, host, home nor the folders that pictures lie in."""

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
    assert "ZeroDivisionError: USER on HOST read ~/…/1.png" in said
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


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("/data/Ada Lovelace/scans/1.png: cannot be read", "…/1.png: cannot be read"),
        ("cannot copy /a/b/c.png to '/d/e f/g.png'", "cannot copy …/c.png to '…/g.png'"),
        ("D:\\scans\\Ada\\1.png", "D:/…/1.png"),
        ("/home/bob/a/b/x.py", "~/…/x.py"),
        ('File "/mnt/secret/train.py", line 3', 'File "…/train.py", line 3'),
        ("https://me:SECRET@example.org/a/x.zip?key=SECRET", "https://example.org/a/x.zip"),
        ("torch/nn/modules/conv.py and/or 3 / 4 of image/png", "torch/nn/modules/conv.py and/or 3 / 4 of image/png"),
    ],
)
def test_of_paths_the_last_part_stays_and_of_urls_no_secret(text: str, bare: str) -> None:
    assert bugreport.scrubbed(text) == bare


def test_a_user_without_a_home_is_no_reason_to_fail(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    def fails(_: object) -> None:
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr(Path, "home", homeless)
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path))
    assert bugreport.scrubbed("plain") == "plain"
    monkeypatch.setattr(commands, "pairs", fails)
    assert run(["info"]) == 1
    assert "error: internal: ZeroDivisionError: division by zero" in capsys.readouterr().err
    monkeypatch.setattr(bugreport, "scrubbed", fails)
    bugreport.note_error(ValueError("x"))


def test_mlflow_is_known_by_the_part_of_it_that_logs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bugreport, "_version", lambda package: "3.7" if package == "mlflow-skinny" else "")
    assert "- extras: mlflow (3.7)\n" in bugreport.report()


def test_what_cannot_be_kept_is_no_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("BEHOLDER_CACHE", str(tmp_path / "file" / "below"))
    bugreport.note_error(ValueError("x"), command="train")
