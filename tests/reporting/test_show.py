from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import pytest

import beholder
from beholder.base.errors import MachineError, UsageError
from beholder.bundle.bundle import Bundle

SCORE = beholder.Score(0.9, 0.8, 0.95, 100)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was given."""
    found: list[str] = []
    monkeypatch.setattr("webbrowser.open", found.append)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    return found


def test_a_page_is_written_and_opened(opened: list[str], tmp_path: Path) -> None:
    page = beholder.show(SCORE)
    assert opened == [page.as_uri()]
    text = page.read_text("utf-8")
    assert "0.900 [0.800, 0.950] (n=100)" in text
    assert "default-src 'none'" in text
    assert beholder.show(SCORE, out=tmp_path / "score.html") == tmp_path / "score.html"
    assert len(opened) == 1, "a page that was named is not opened"


def test_a_path_is_a_bundle_or_a_source(opened: list[str], small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    source, path, _ = small
    assert "Classifier by cnn" in beholder.show(path, out=tmp_path / "a.html").read_text("utf-8")
    assert "pictures of 3 classes" in beholder.show(str(source), out=tmp_path / "b.html").read_text("utf-8")
    assert "without labels" in beholder.show(source / "rust", out=tmp_path / "c.html").read_text("utf-8")


def test_in_a_notebook_it_is_displayed(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    package = types.ModuleType("IPython")
    package.display = types.SimpleNamespace(display=shown.append, HTML=str)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", package.display)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    assert beholder.show(SCORE) is None
    assert "0.900 [0.800, 0.950] (n=100)" in shown[0]
    assert opened == []


def test_what_cannot_be_shown_or_written(opened: list[str], tmp_path: Path) -> None:
    for value in (3, None, [], [1], {"a": SCORE}):
        with pytest.raises(UsageError) as caught:
            beholder.show(value)
        assert caught.value.code == "cannot-show"
    with pytest.raises(UsageError) as missing:
        beholder.show(tmp_path / "absent")
    assert missing.value.code == "path-missing"
    (tmp_path / "file").write_text("dear")
    with pytest.raises(MachineError):
        beholder.show(SCORE, out=tmp_path / "file" / "score.html")
    assert opened == []
