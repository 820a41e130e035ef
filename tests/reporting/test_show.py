from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import beholder
from beholder.base.errors import DataError, MachineError, UsageError
from beholder.bundle.bundle import Bundle

SCORE = beholder.Score(0.9, 0.8, 0.95, 100)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that a browser was given."""
    found: list[str] = []
    monkeypatch.setattr("webbrowser.open", lambda address: not found.append(address))
    monkeypatch.setattr("beholder.machine.browser.has_screen", lambda: True)
    monkeypatch.delitem(sys.modules, "ipykernel", raising=False)
    return found


def test_a_page_is_written_and_opened(opened: list[str], tmp_path: Path) -> None:
    heard: list[Any] = []
    with beholder.listen(heard.append, alone=True):
        page = beholder.show(SCORE)
    assert opened == [page.as_uri()]
    assert [event.message for event in heard] == [f"the page is {page}"]
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


def test_where_no_browser_would_be_seen_the_path_is_said(opened: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beholder.machine.browser.has_screen", lambda: False)
    heard: list[Any] = []
    with beholder.listen(heard.append, alone=True):
        page = beholder.show(SCORE)
    assert opened == []
    assert [event.message for event in heard] == [f"no browser could be opened: open {page} yourself"]


def test_what_scan_takes_is_shown(small: tuple[Path, Path, Bundle], tmp_path: Path) -> None:
    def shown(value: Any) -> str:
        return str(beholder.show(value, out=tmp_path / "x.html").read_text("utf-8"))

    x = np.zeros((3, 8, 8), np.uint8)
    assert "3 pictures of 2 classes" in shown((x, ["a", "b", "a"]))
    assert "3 pictures without labels" in shown(x)
    assert "3 pictures of 2 classes" in shown(TensorDataset(torch.from_numpy(x)[:, None], torch.tensor([0, 1, 0])))
    paths = sorted(str(path) for path in small[0].rglob("*.png"))[:2]
    assert "2 pictures without labels" in shown(paths)
    with pytest.raises(UsageError, match=r"there is no .*absent") as missing:
        shown([str(tmp_path / "absent.jpg")])
    assert missing.value.code == "path-missing"
    with pytest.raises(DataError, match="3 pictures and labels of shape"):
        shown((x, [0, 1]))


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
    for value in (3, None, [], [1] * 30, {"a": SCORE}):
        with pytest.raises(UsageError) as caught:
            beholder.show(value)
        assert caught.value.code == "cannot-show"
    with pytest.raises(UsageError) as refused:
        beholder.show(SCORE, out=tmp_path / "x.png")
    assert refused.value.code == "bad-out"
    with pytest.raises(UsageError) as missing:
        beholder.show(tmp_path / "absent")
    assert missing.value.code == "path-missing"
    (tmp_path / "file").write_text("dear")
    with pytest.raises(MachineError):
        beholder.show(SCORE, out=tmp_path / "file" / "score.html")
    assert opened == []
