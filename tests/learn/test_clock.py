from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
    clock.resume(step=500, total=1000, spent=50, done=0.6)
    assert (clock.spent, clock.done) == (50, 0.6)
    assert clock.state() == {"step": 500, "total": 1000, "spent": 50, "done": 0.6, "free": 0.0}
    steps = _run(clock, time, lambda _: 0.1) - 500
    assert steps == pytest.approx(100, abs=3)
    assert clock.done == pytest.approx(1.0)


@given(
    st.floats(0.1, 2.0), st.floats(0.0, 4.0), st.integers(1, 60), st.integers(1, 3), st.floats(1.0, 3.0), st.integers(0, 1000)
)
def test_the_budget_holds_with_validations_noise_and_a_machine_that_slows(
    step: float, validation: float, steps_per_epoch: int, every: int, slowing: float, seed: int
) -> None:
    """The end is on time to a step and a validation, the schedule rises to 1, a validation comes last."""
    time, draw, budget = Time(), random.Random(seed), 60.0
    clock = Clock(steps_per_epoch=steps_per_epoch, epochs=100_000, seconds=budget, every=every, validation=validation, now=time)
    seen, validated = [], -1
    while not clock.over:
        slow = slowing if clock.spent > budget / 2 else 1.0
        time.now += step * slow * draw.uniform(0.7, 1.3)
        clock.tick()
        seen.append(clock.done)
        if clock.over or clock.step % (every * steps_per_epoch) == 0:
            validated = clock.step
            with clock.pause(validating=True):
                time.now += validation * slow
    assert validated == clock.step
    assert seen == sorted(seen)
    assert clock.spent <= budget + 1.3 * step * slowing + (slowing - 1) * validation + 1e-6
    if clock.step > 30:
        assert clock.spent >= budget - 3 * step * slowing - 2 * slowing * validation
    if clock.step > 100 and slowing * validation < budget / 30:  # where one more or less matters little
        assert clock.done > 0.9


def test_a_stall_costs_its_own_time_and_not_the_schedule() -> None:
    """One step of two seconds among steps of a hundredth: the schedule goes on as before."""
    time = Time()
    clock = Clock(steps_per_epoch=1000, epochs=100, seconds=60, now=time)
    for step in range(500):
        time.now += 2.0 if step == 400 else 0.01
        clock.tick()
    assert clock.done == pytest.approx(clock.spent / 60, abs=0.05)


def test_one_step_is_taken_however_little_time_there_is() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=10, epochs=2, seconds=0.1, validation=5.0, now=time)
    assert not clock.over
    assert _run(clock, time, lambda _: 3.0) == 1


def test_time_that_the_epochs_do_not_need_is_known() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=10, epochs=2, seconds=100, now=time)
    _run(clock, time, lambda _: 1.0)
    assert clock.unused == 80
    _run(cut := Clock(steps_per_epoch=10, epochs=200, seconds=100, now=time), time, lambda _: 1.0)
    assert cut.unused == 0


def test_what_follows_the_loop_is_expected_to_be_as_slow_as_validation_was() -> None:
    """Validation takes twice what was expected, so twice the ten seconds of the end are kept free."""
    time = Time()
    clock = Clock(steps_per_epoch=50, epochs=1000, seconds=100, validation=1.0, after=10.0, now=time)
    while not clock.over:
        time.now += 0.1
        clock.tick()
        if clock.over or clock.step % 50 == 0:
            with clock.pause(validating=True):
                time.now += 2.0
    assert clock.spent == pytest.approx(80, abs=0.3)
    assert clock.done == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    ("epochs", "epoch", "steps", "last", "total"),
    [
        (10, 2, 4, 0.0, 22 + 7 * 4),  # this epoch and the seven later ones have 4 steps each
        (10, 2, 4, 0.2, 22 + 5 * 4 + 2 * 10),  # the last two have ten
        (10, 2, 4, 0.21, 22 + 4 * 4 + 3 * 10),
        (10, 8, 4, 0.5, 22 + 10),  # all that are left are among the last
        (10, 9, 4, 0.5, 22),
    ],
)
def test_a_plan_follows_the_length_of_its_epochs(epochs: int, epoch: int, steps: int, last: float, total: int) -> None:
    """Twenty steps are done, two of them in this epoch, which turns out to have four."""
    clock = Clock(steps_per_epoch=10, epochs=epochs, seconds=0, now=Time())
    clock.step = 20
    clock.lengthened(epoch, 2, steps, last=last)
    assert clock.total == total


@pytest.mark.parametrize(("seconds", "total"), [(0.0, 12 + 9 * 12), (0.5, 50), (60.0, 50)])
def test_longer_epochs_do_not_lengthen_a_plan_that_the_budget_made(seconds: float, total: int) -> None:
    clock = Clock(steps_per_epoch=10, epochs=10, seconds=seconds, now=Time())
    clock.total = 50
    clock.lengthened(0, 0, 12, last=0.0)
    assert clock.total == total


def test_of_epochs_whose_lengths_vary_the_schedule_still_ends_at_one() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=10, epochs=2, seconds=0, now=time)
    for _ in range(10):
        clock.tick()
    assert clock.done == pytest.approx(0.5)
    clock.lengthened(1, 0, 5, last=0.0)
    seen = [clock.done]
    while not clock.over:
        clock.tick()
        seen.append(clock.done)
    assert clock.step == 15
    assert seen == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9, 1.0])


@pytest.mark.parametrize(
    ("epoch", "done", "late"), [(7, 0.0, False), (8, 0.0, True), (0, 0.79, False), (0, 0.8, True), (9, 1.0, True)]
)
def test_the_last_share_is_that_of_the_epochs_or_of_the_schedule(epoch: int, done: float, late: bool) -> None:
    clock = Clock(steps_per_epoch=10, epochs=10, seconds=0, now=Time())
    clock.done = done
    assert clock.late(epoch, last=0.2) is late


def test_what_is_left_counts_later_validations() -> None:
    """Ten steps of a second each were taken; ten are left, and two validations of 3 s beside the one that is due."""
    time = Time()
    clock = Clock(steps_per_epoch=5, epochs=4, seconds=0, validation=3.0, now=time)
    for _ in range(10):
        time.now += 1.0
        clock.tick()
    assert (clock.taken, clock.left) == (10, pytest.approx(10 + 3 * 3.0))
    time.now += 1.0
    clock.tick()
    assert clock.left == pytest.approx(9 + 2 * 3.0)


def test_before_the_first_step_no_validation_is_due() -> None:
    """Four periods of five steps: four validations are to come, and as many while the first period lasts."""
    clock = Clock(steps_per_epoch=5, epochs=4, seconds=0, validation=3.0, now=Time())
    assert clock.left == 4 * 3.0
    clock.tick()
    assert clock.left == 4 * 3.0


def test_dearer_later_steps_are_reckoned_with() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=10, epochs=1, seconds=0, dearer=lambda done: 2.0 if done < 0.75 else 1.0, now=time)
    lefts = []
    for _ in range(8):
        time.now += 1.0
        clock.tick()
        lefts.append(clock.left)
    assert lefts[4:] == pytest.approx([10.0, 8.0, 6.0, 2.0])


def test_a_resumed_budget_has_the_seconds_that_were_not_of_it() -> None:
    time = Time()
    clock = Clock(steps_per_epoch=10, epochs=10, seconds=60, now=time)
    clock.resume(step=20, total=100, spent=50, done=0.2, free=30)
    assert (clock.step, clock.taken, clock.spent) == (20, 0, 50)
    time.now += 39.0
    clock.tick()
    assert not clock.over
    time.now += 1.0
    assert clock.over
    free = Clock(steps_per_epoch=10, epochs=10, seconds=0, now=time)
    free.resume(step=20, total=100, spent=50, done=0.2, free=30)
    time.now += 1000.0
    assert not free.over
