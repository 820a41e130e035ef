from __future__ import annotations

import pytest

from beholder.base.deadline import NEVER, Deadline


class Time:
    """A clock that stands still but for what is done."""

    def __init__(self) -> None:
        self.now = 100.0
        self.asked: list[int] = []

    def work(self, n: int) -> None:
        self.asked.append(n)
        self.now += 0.5 * n


@pytest.mark.parametrize(
    ("left", "few", "most", "count", "asked"),
    [
        (100.0, 4, 30, 30, [4]),
        (12.0, 4, 30, 20, [4]),  # two seconds are gone, and half a second is one
        (4.0, 4, 30, 4, [4]),
        (3.9, 4, 30, 0, [4]),
        (1.0, 4, 30, 0, [4]),
        (0.0, 4, 30, 0, []),
        (100.0, 4, 3, 0, []),
    ],
)
def test_as_much_as_there_is_time_for(left: float, few: int, most: int, count: int, asked: list[int]) -> None:
    time = Time()
    until = Deadline(time.now + left, lambda: time.now)
    assert until.fitting(time.work, few=few, most=most) == count
    assert time.asked == asked


def test_without_a_deadline_nothing_is_tried_and_work_that_takes_no_time_all_fits() -> None:
    assert NEVER.fitting(lambda n: pytest.fail("tried"), few=4, most=7) == 7
    assert Deadline(1.0, lambda: 0.0).fitting(lambda n: None, few=4, most=7) == 7


def test_it_is_moved_and_shortened() -> None:
    until = Deadline(20.0, lambda: 10.0)
    assert (until.left, until.passed, until.none) == (10.0, False, False)
    assert (until.within(3.0).at, until.within(30.0).at) == (13.0, 20.0)
    assert (until.at_least(3.0).at, until.at_least(30.0).at) == (20.0, 40.0)
    assert until.before(15.0).passed
    assert Deadline.of(7.0, 0.0).none
    assert Deadline.of(7.0, 0.5).at == 37.0
