"""The command `look`: its page, its JSON, its exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.explanation.look.pages import bundle, picture
from typer.testing import CliRunner

from beholder.base.errors import BeholderError, PictureError, UsageError
from beholder.cli.commands import app


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The words that name a model and a picture, in a folder of their own."""
    monkeypatch.chdir(tmp_path)
    bundle("cnn").save("m.beholder")
    Image.fromarray(picture()).save("a.png")
    return ["look", "m.beholder", "a.png"]


def failed(words: list[str]) -> Any:
    return CliRunner().invoke(app, words).exception


def test_it_writes_a_page_and_prints_its_path_or_one_object(given: list[str]) -> None:
    done = CliRunner().invoke(app, given)
    assert (done.exit_code, done.stdout) == (0, "look.html\n")
    assert Path("look.html").read_text("utf-8").startswith("<!doctype html>")
    told = json.loads(CliRunner().invoke(app, [*given, "--json", "--label", "class 2", "--out", "b.html"]).stdout)
    assert (told["path"], told["label"], told["step"]["truth"]) == ("b.html", "class 2", "class 2")
    assert told["bytes"] == Path("b.html").stat().st_size


def test_what_is_wrong_is_said_with_its_code(given: list[str]) -> None:
    assert isinstance(failed([*given, "--label", "nobody"]), UsageError)
    before = Path("a.png").read_bytes()
    assert failed([*given, "--out", "a.png"]).code == "bad-out"
    assert Path("a.png").read_bytes() == before
    Path("bad.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    assert isinstance(failed(["look", "m.beholder", "bad.png"]), PictureError)
    missing = failed(["look", "none.beholder", "a.png"])
    assert isinstance(missing, BeholderError)
    assert missing.exit_code == 2
