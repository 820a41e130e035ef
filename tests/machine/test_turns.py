from __future__ import annotations

import pytest

from beholder.machine.turns import least_seconds


class Time:
    """A clock that work moves: each call of a piece of work takes the next of its seconds."""

    def __init__(self, **seconds: list[float]) -> None:
        self.now, self.done = 0.0, ""
        self.work = {name: self._piece(name, list(each)) for name, each in seconds.items()}

    def _piece(self, name: str, left: list[float]):
        def do() -> None:
            self.done += name
            self.now += left.pop(0)

        return do


def test_work_takes_turns_and_the_least_of_all_rounds_counts() -> None:
    time = Time(a=[3.0, 1.0, 2.0], b=[2.0, 5.0, 4.0])
    assert least_seconds(time.work, rounds=3, now=lambda: time.now) == pytest.approx({"a": 1.0, "b": 2.0})
    assert time.done == "ababab"


def test_one_piece_alone_is_done_once() -> None:
    time = Time(a=[3.0, 1.0])
    assert least_seconds(time.work, now=lambda: time.now) == {"a": 3.0}


def test_what_is_hopeless_is_not_done_again() -> None:
    time = Time(a=[1.0, 1.0, 1.0], b=[2.5], c=[1.5, 1.5, 1.5])
    assert least_seconds(time.work, rounds=3, hopeless=2, now=lambda: time.now)["b"] == 2.5
    assert time.done == "abcacac"
