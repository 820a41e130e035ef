from __future__ import annotations

import math
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from beholder.base.errors import UsageError
from beholder.base.events import Event, listen
from beholder.base.registry import Registry, attribute

WORDS = Registry("word", {"pi": "math:pi", "root": "math:sqrt"})


def plug(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> list[str]:
    asked: list[str] = []

    def entry_points(*, group: str) -> list[EntryPoint]:
        asked.append(group)
        return list(points)

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
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
    assert WORDS.load("tau", of=float) == math.tau
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


def test_a_module_that_ends_the_program_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "leaves_at_import.py").write_text("import sys\nsys.exit('no weights')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match="cannot import 'leaves_at_import:x': SystemExit: no weights") as caught:
        attribute("leaves_at_import:x")
    assert caught.value.code == "import-failed"
    plug(monkeypatch, EntryPoint("leaving", "leaves_at_import:x", "beholder.words"))
    with pytest.raises(UsageError, match=r"the word .leaving. failed: .*no weights") as failed:
        WORDS.load("leaving")
    assert failed.value.code == "plug-in-failed"


def test_what_is_wrong_with_a_plug_in_is_an_error_that_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [("gone", "nothing_here:x"), ("odd", "math:tau"), ("root", "math:sqrt"), ("half", "operator:truediv")]
    plug(monkeypatch, *(EntryPoint(name, value, "beholder.words") for name, value in points))
    table = Registry("word", {"pi": "math:pi"})
    for call in (lambda: table.load("gone"), lambda: table.load("odd", of=int), lambda: table.load("half")(1, 0)):
        with pytest.raises(UsageError, match=r"the word '(gone|odd|half)' failed") as caught:
            call()
        assert caught.value.code == "plug-in-failed"
    with pytest.raises(UsageError, match="float' object is not callable"):
        table.load("odd")()
    assert table.load("root")(4) == 2
    assert "odd" in table
    heard: list[Event] = []
    with listen(heard.append, alone=True):
        assert table.sound(of=float) == {"pi": math.pi, "odd": math.tau}
    assert [e.kind for e in heard] == ["warn"] * 3
    assert "'gone'" in heard[0].message


def test_errors_of_built_ins_are_as_they_are() -> None:
    with pytest.raises(ValueError, match="math domain"), WORDS.tolerant("root"):
        math.sqrt(-1)
