from __future__ import annotations

import pytest

from beholder.learn.clock import Clock


class Time:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def _run(clock: Clock, time: Time, seconds_of) -> int:
    while not clock.over:
        time.now += seconds_of(clock.step)
        clock.tick()
    return clock.step


def test_without_a_budget_the_plan_is_epochs_times_steps() -> None:
    time = Time()
    assert _run(Clock(steps_per_epoch=7, epochs=3, seconds=0, now=time), time, lambda _: 1000.0) == 21


def test_a_budget_is_kept_and_the_schedule_ends_where_it_should() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=1000, epochs=100, seconds=60, now=time)
    _run(clock, time, lambda _: 0.1)
    assert clock.spent == pytest.approx(60, abs=0.3)
    assert clock.done == pytest.approx(1.0, abs=0.01)


def test_a_machine_that_slows_is_replanned_for() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=1000, epochs=100, seconds=60, now=time)
    seen = []

    def seconds_of(step: int) -> float:
        seen.append(clock.done)
        return 0.1 if step < 200 else 0.3

    _run(clock, time, seconds_of)
    assert clock.spent <= 60.5
    assert seen == sorted(seen)
    assert clock.done > 0.9


def test_slow_first_steps_do_not_shrink_the_plan() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=100, epochs=2, seconds=100, now=time)
    assert _run(clock, time, lambda step: 5.0 if step < 3 else 0.1) == 200


def test_a_plan_that_fits_the_budget_is_done_whole() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=10, epochs=2, seconds=1000, now=time)
    assert _run(clock, time, lambda _: 1.0) == 20
    assert clock.left == 0


def test_resuming_counts_what_was_spent() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=1000, epochs=10, seconds=60, now=time)
    clock.resume(step=500, total=1000, spent=50)
    assert (clock.spent, clock.done) == (50, 0.5)
    steps = _run(clock, time, lambda _: 0.1) - 500
    assert steps == pytest.approx(100, abs=3)
