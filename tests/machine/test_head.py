"""When the head of a cluster counts as lost; no Ray runs here."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable

import pytest

from beholder.machine import head
from beholder.machine.head import ANSWER, LOOK, PATIENCE, Head, watched


class Clock:
    """Seconds that pass while a question is asked, or between two."""

    def __init__(self) -> None:
        self.at = 0.0

    def __call__(self) -> float:
        return self.at


def asked(clock: Clock, answers: Iterable[str | float]) -> Callable[[], str]:
    """Return what gives answers in turn; a number: nobody answers, and so many seconds pass."""
    told = iter(answers)

    def ask() -> str:
        answer = next(told)
        if isinstance(answer, str):
            return answer
        clock.at += answer
        raise ConnectionError("timed out")

    return ask


def looks(answers: list[str | float]) -> tuple[list[bool], Head, float]:
    clock = Clock()
    found, seen = Head(asked(clock, answers), clock), []
    for _ in answers:
        clock.at += LOOK
        seen.append(found.look())
    return seen, found, clock.at


def test_a_head_that_is_silent_for_ten_seconds_goes_on_and_one_for_twenty_is_lost() -> None:
    assert looks(["", ANSWER, ANSWER, "", ANSWER, ANSWER, ANSWER, ""])[0] == [True] * 8
    seen, found, took = looks(["", ANSWER, ANSWER, ANSWER, ANSWER])
    assert seen == [True] * 4 + [False]
    assert (took - LOOK, found.why) == (PATIENCE, "its head has not answered for 20 s")


def test_one_whose_questions_fail_at_once_is_given_as_long() -> None:
    seen, _, took = looks([0.0] * 20)
    assert (seen, took) == ([True] * 19 + [False], PATIENCE)


def test_an_hour_for_which_this_process_was_stopped_is_not_the_silence_of_the_head() -> None:
    assert looks([3600.0, 3600.0, 3600.0, ""])[0] == [True] * 4


def test_another_head_is_noticed_by_its_first_answer() -> None:
    seen, found, _ = looks(["", "another head"])
    assert seen == [True, False]
    assert (found.error().code, found.error().exit_code) == ("lost-head", 1)
    assert found.error().message == "the Ray cluster is lost: another head"
    assert "same command" in found.error().hint


def test_whoever_goes_on_without_the_cluster_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOOK", 0.001)
    told: list[str] = []
    left = threading.Event()
    lost = Head(lambda: "gone")
    with watched(lost, lambda: (told.append(lost.why), left.set())[0]):
        assert left.wait(5)
    assert told == ["gone"]


def test_a_process_that_does_not_leave_is_ended_with_the_message(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    ended: list[int] = []
    out = threading.Event()
    monkeypatch.setattr(head, "LOOK", 0.001)
    monkeypatch.setattr(head, "LEAVING", 0.001)
    monkeypatch.setattr(os, "_exit", lambda code: (ended.append(code), out.set()))
    with watched(Head(lambda: "another head")):
        assert out.wait(5)
    assert ended == [1]
    assert capfd.readouterr().err.startswith("error: the Ray cluster is lost: another head\n\nhint: ")


def test_one_that_leaves_in_time_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "LOOK", 0.001)
    monkeypatch.setattr(os, "_exit", lambda code: pytest.fail(f"ended with {code}"))
    lost = Head(lambda: "gone")
    with watched(lost):
        while not lost.why:
            pass
