"""Colours and escape sequences: where a terminal has them, nowhere else, and never against NO_COLOR or TERM=dumb."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from beholder.base.events import Event
from beholder.base.sinks import Bar, Console
from beholder.cli import show
from beholder.cli.run import run

ESCAPE = "\x1b"


class Screen(io.StringIO):
    """A stream that is a terminal, or says so."""

    def __init__(self, *, terminal: bool = True) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.fixture(autouse=True)
def _usual(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "COLORTERM", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "PY_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")


def outcome() -> Any:
    """What a run made, as `ended` shows it."""
    return SimpleNamespace(
        tried=lambda: [{"what": "a head", "score": 0.5}],
        evaluation="accuracy 0.9",
        card={"verdict": "good", "next": "beholder predict m x"},
        bundle=SimpleNamespace(config=SimpleNamespace(net=SimpleNamespace(name="cnn"))),
        seconds=1.0,
        path=Path("m.beholder"),
    )


def shown(monkeypatch: pytest.MonkeyPatch, *, terminal: bool = True) -> str:
    """All that results are printed by: a table, the card of a run, predictions."""
    screen = Screen(terminal=terminal)
    monkeypatch.setattr(sys, "stdout", screen)
    show.table([{"net": "cnn", "n": 3}])
    show.ended(outcome())
    show.print_table(iter([{"path": "a.png", "label": "rust", "p": 0.9, "probabilities": {"rust": 0.9, "ash": 0.1}}]))
    return screen.getvalue()


def test_a_terminal_gets_bold_and_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ESCAPE in shown(monkeypatch)


@pytest.mark.parametrize("variables", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}])
def test_no_escape_where_none_is_wanted(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    coloured = shown(monkeypatch)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    plain = shown(monkeypatch)
    assert ESCAPE not in plain
    assert "rust" in plain
    assert "beholder predict m x" in plain
    assert len(plain) < len(coloured)


def test_a_pipe_gets_none_unless_it_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ESCAPE not in shown(monkeypatch, terminal=False)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert ESCAPE in shown(monkeypatch, terminal=False)


def progress(done: int) -> Event:
    return Event("progress", "decode", {"done": done, "total": 3}, float(done))


@pytest.mark.parametrize(("variables", "in_place"), [({}, True), ({"NO_COLOR": "1"}, True), ({"TERM": "dumb"}, False)])
def test_progress_is_redrawn_in_place_where_a_terminal_can(
    variables: dict[str, str], in_place: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    screen = Screen()
    bar = Bar(screen)
    for done in (1, 2, 3):
        bar(progress(done))
    said = screen.getvalue()
    assert ("\r\x1b[2K" in said) is in_place
    assert "m" not in {part[:1] for part in said.split("\x1b[0")[1:]}, "progress has no colours"
    assert said.count("\n") == (1 if in_place else 2), "on a dumb terminal the first and the last"


def test_progress_in_a_file_has_no_escape_even_where_colour_is_forced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    screen = Screen(terminal=False)
    sink = Console(screen)
    sink(progress(1))
    sink(Event("note", "classes", {"table": [{"class": "rust", "pictures": 3}]}, 0.0))
    assert ESCAPE not in screen.getvalue()
    assert "rust" in screen.getvalue()


@pytest.mark.parametrize(
    "arguments", [["--help"], ["train", "--help"], ["train", "nowhere"], ["cache"], ["--show-completion", "zsh"]]
)
def test_commands_write_no_escape_with_no_color(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    out, err = Screen(), Screen()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    run(arguments)
    assert ESCAPE not in out.getvalue() + err.getvalue()
    assert out.getvalue() + err.getvalue()
