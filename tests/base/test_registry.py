from __future__ import annotations

import math
import sys
from importlib.metadata import EntryPoint

import pytest

from beholder.base import registry
from beholder.base.errors import UsageError
from beholder.base.registry import Registry, attribute

WORDS = Registry("word", {"pi": "math:pi", "root": "math:sqrt"})


def plug(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> list[str]:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return list(points)

    monkeypatch.setattr(registry, "entry_points", entry_points)
    return asked


def test_a_built_in_is_loaded_by_name() -> None:
    assert WORDS.load("pi") == math.pi
    assert WORDS.load("root") is math.sqrt


def test_nothing_is_imported_before_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    table = Registry("word", {"grey": "colorsys:rgb_to_yiq"})
    assert table.names() == ["grey"]
    assert "colorsys" not in sys.modules
    table.load("grey")
    assert "colorsys" in sys.modules


def test_a_plug_in_adds_but_cannot_replace(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("tau", "math:tau", "beholder.words"), EntryPoint("pi", "math:e", "beholder.words")]
    asked = plug(monkeypatch, *points)
    assert WORDS.names() == ["pi", "root", "tau"]
    assert WORDS.load("tau") == math.tau
    assert WORDS.load("pi") == math.pi
    assert set(asked) == {"beholder.words"}


def test_an_unknown_name_gets_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    plug(monkeypatch)
    with pytest.raises(UsageError, match="there is no word named 'rot'") as caught:
        WORDS.load("rot")
    assert (caught.value.code, caught.value.hint) == ("unknown-word", "did you mean 'root'?")


def test_attributes_may_be_nested() -> None:
    assert attribute("pathlib:Path.home").__name__ == "home"


@pytest.mark.parametrize("target", ["nothing_here:x", "math:nothing", "math", "math:", ":x", "", "a b:c"])
def test_what_cannot_be_imported_is_wrong_usage(target: str) -> None:
    with pytest.raises(UsageError) as caught:
        attribute(target)
    assert caught.value.code == "import-failed"
    assert "module:function" in caught.value.hint
