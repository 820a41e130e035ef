from __future__ import annotations

import io
import threading

import pytest

from beholder.base.events import Event, figures, listen, note, only, progress, step, warn
from beholder.base.sinks import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def progressed(done: int, total: int, at: float, task: str = "decode", **figures: object) -> Event:
    return Event("progress", task, {"done": done, "total": total, **figures}, at)


def test_what_is_said_reaches_every_sink_in_order() -> None:
    first: list[Event] = []
    second: list[Event] = []
    with listen(first.append, alone=True), listen(second.append):
        step(2, "Model", "cnn")
        note("bf16: the chip has AMX", precision="bf16")
        warn("one class is rare", hint="gather more", n=3)
        progress("train", 3, 10, loss=0.5)
        figures("scores", accuracy=0.9)
    assert [e.kind for e in first] == ["step", "note", "warn", "progress", "figures"]
    assert first == second
    assert first[0].message == "[2/6] Model: cnn"
    assert first[1].fields == {"precision": "bf16"}
    assert first[2].fields == {"hint": "gather more", "n": 3}
    assert first[3].fields == {"done": 3, "total": 10, "loss": 0.5}


def test_only_some_kinds_reach_the_sinks_and_a_named_event_does_not() -> None:
    heard: list[Event] = []
    with listen(heard.append, alone=True), only("warn", but="busy"):
        note("cnn has 8 layers")
        warn("busy", times=3.0)
        warn("one class is rare")
    assert [event.name for event in heard] == ["one class is rare"]
    with listen(heard.append, alone=True), only("warn"):
        warn("busy", times=3.0)
    assert heard[-1].name == "busy"


def test_alone_is_silence_and_ends_with_its_block(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[Event] = []
    with listen(heard.append, alone=True):
        with listen(alone=True):
            note("nobody hears this")
        note("heard")
    assert [e.message for e in heard] == ["heard"]
    assert capsys.readouterr() == ("", "")


def test_an_error_inside_the_block_restores_the_sinks() -> None:
    heard: list[Event] = []
    with listen(heard.append, alone=True):
        with pytest.raises(ZeroDivisionError), listen(alone=True):
            raise ZeroDivisionError
        note("heard")
    assert len(heard) == 1


def test_by_default_a_person_is_talked_to_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    said = threading.Thread(target=lambda: note("hello"))  # a thread starts with no sink of its own
    said.start()
    said.join()
    assert capsys.readouterr() == ("", "hello\n")


def test_console_writes_lines_and_hints() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console(Event("step", "[1/6] Data", {}))
    console(Event("note", "a fact", {}))
    console(Event("warn", "odd", {"hint": "look"}))
    assert stream.getvalue() == "\n[1/6] Data\na fact\nwarning: odd\n\nhint: look\n"


def test_off_a_terminal_progress_is_a_line_now_and_then() -> None:
    stream = io.StringIO()
    console = Console(stream, every=15.0)
    for done, at in ((0, 0.0), (1, 1.0), (2, 14.9), (3, 15.1), (4, 16.0), (10, 17.0)):
        console(progressed(done, 10, at))
    assert stream.getvalue().splitlines() == ["decode 0/10", "decode 3/10", "decode 10/10"]


def test_off_a_terminal_a_new_task_speaks_at_once() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console(progressed(1, 10, 0.0, "decode"))
    console(progressed(1, 10, 0.1, "train", loss=0.5))
    assert stream.getvalue() == "decode 1/10\ntrain 1/10  loss 0.500\n"


def test_on_a_terminal_progress_is_redrawn_and_left_before_a_line() -> None:
    stream = Terminal()
    console = Console(stream)
    console(progressed(1, 3, 0.0))
    console(progressed(2, 3, 0.1))
    console(Event("note", "a fact", {}))
    console(progressed(3, 3, 0.2))
    console(Event("note", "done", {}))
    assert stream.getvalue() == "\r\x1b[2Kdecode 1/3\r\x1b[2Kdecode 2/3\na fact\n\r\x1b[2Kdecode 3/3\ndone\n"


def test_a_total_of_zero_is_unknown() -> None:
    stream = io.StringIO()
    Console(stream)(progressed(7, 0, 0.0))
    assert stream.getvalue() == "decode 7\n"
