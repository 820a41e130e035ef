"""Threads are tried on the work itself where other programs take cores; no test here reads a clock."""

from __future__ import annotations

import pytest
import torch

from beholder.machine import pace
from beholder.machine.neighbours import Load
from beholder.machine.pace import STEADY, Nimble, counts, crowded, most_threads, nimble, quickest, restored, slowness


class Time:
    """A clock that work moves, at a pace that depends on the threads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float]) -> None:
        self.now, self.seconds, self.threads = 0.0, seconds, max(seconds)
        self.used: list[int] = []
        monkeypatch.setattr(torch, "set_num_threads", self.set)
        monkeypatch.setattr(torch, "get_num_threads", lambda: self.threads)

    def set(self, count: int) -> None:
        self.threads = count

    def work(self, images: torch.Tensor | None = None) -> torch.Tensor:
        self.used.append(self.threads)
        self.now += self.seconds[self.threads] * (1 if images is None else len(images))
        return torch.zeros(1)


@pytest.mark.parametrize(("seconds", "best"), [({2: 1.0, 1: 1.8}, 2), ({2: 4.0, 1: 0.9}, 1)])
def test_the_number_of_threads_with_which_work_takes_least_is_kept(
    monkeypatch: pytest.MonkeyPatch, seconds: dict[int, float], best: int
) -> None:
    time = Time(monkeypatch, seconds)
    assert quickest(time.work, most=2, now=lambda: time.now) == best == time.threads


def test_threads_that_wait_for_each_other_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 40.0, 1: 0.9})
    assert quickest(time.work, most=2, now=lambda: time.now) == 1
    assert time.used == [1, 1, 2, 1]


def test_one_thread_needs_no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {1: 1.0})
    assert quickest(time.work, most=1, now=lambda: time.now) == 1
    assert not time.used


def steps(time: Time, pace: Nimble, count: int) -> list[int]:
    """Return the threads of so many batches of 8 pictures."""
    time.used.clear()
    for _ in range(count):
        pace.begin()
        time.work(torch.zeros(8, 1))
        pace.done(8)
    return list(time.used)


def test_batches_are_tried_where_other_programs_take_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 0.1, 1: 0.09})  # one thread would do, but bits depend on how many there are
    loads = [Load(1.0, 0.02, 0.1)]
    pace = Nimble(most=2, look=lambda: loads[0], now=lambda: time.now)
    assert steps(time, pace, 12) == [2] * 12
    loads[0], time.seconds = Load(4.0, 4.0, 4.0), {2: 0.5, 1: 0.2}
    assert steps(time, pace, 8) == [2, 2, 1, 1, 1, 1, 1, 1]  # what takes more than twice as long is not tried again
    loads[0], time.seconds = Load(1.0, 0.0, 0.1), {2: 0.1, 1: 0.18}
    assert steps(time, pace, 6)[-4:] == [2] * 4


@pytest.mark.parametrize("load", [Load(1.0, 0.9, 0.1), Load(1.0, 0.1, 4.0)])
def test_what_this_program_takes_from_itself_and_what_others_compute_elsewhere_asks_for_no_trial(
    monkeypatch: pytest.MonkeyPatch, load: Load
) -> None:
    time = Time(monkeypatch, {2: 0.2, 1: 0.1})
    assert set(steps(time, Nimble(most=2, look=lambda: load, now=lambda: time.now), 30)) == {2}


def test_a_trial_is_not_repeated_before_it_costs_little(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 0.5, 1: 0.2})
    pace = Nimble(most=2, look=lambda: Load(4.0, 4.0, 4.0), now=lambda: time.now)
    used = steps(time, pace, 60)
    assert used == [2, 2, *[1] * 58]  # the trial took 7.2 seconds of 60 × 1.6
    assert steps(time, pace, 100).count(2) == 1


def test_the_second_trial_of_each_number_decides_where_they_are_close(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 0.2, 1: 0.25})
    pace = Nimble(most=2, look=lambda: Load(4.0, 4.0, 4.0), now=lambda: time.now)
    assert steps(time, pace, 8) == [2, 2, 1, 2, 1, 2, 2, 2]
    assert pace.threads == 2


def test_work_of_growing_pictures_is_compared_by_the_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 0.2, 1: 0.1})
    pace = Nimble(most=2, look=lambda: None, now=lambda: time.now)
    for size in (8, 8, 8, 64, 64, 64, 64, 64):
        pace.begin()
        time.work(torch.zeros(size, 1))
        pace.done(8, work=size)
    assert set(time.used) == {2}


def test_where_nobody_knows_what_others_take_batches_are_tried_as_the_pace_falls(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 0.2, 1: 0.3})
    pace = Nimble(most=2, look=lambda: None, now=lambda: time.now)
    assert set(steps(time, pace, 12)) == {2}
    time.seconds = {2: 4.0, 1: 0.9}
    assert steps(time, pace, 6) == [2] * STEADY + [2, 1, 1]
    time.seconds = {2: 0.2, 1: 0.4}
    assert steps(time, pace, 400)[-1] == 2


def test_a_single_slow_batch_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 1.0, 1: 1.8})
    pace = Nimble(most=2, look=lambda: None, now=lambda: time.now)
    for batch in range(12):
        pace.begin()
        time.now += 50.0 * (batch == 6)
        time.work(torch.zeros(8, 1))
        pace.done(8)
    assert set(time.used) == {2}


def test_answers_are_those_of_what_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch, {2: 1.0, 1: 1.8})
    assert nimble(lambda images: images + 1, most=2)(torch.zeros(3)).tolist() == [1.0, 1.0, 1.0]


@pytest.mark.parametrize(("alone", "together", "found"), [(0.001, 0.0005, False), (0.001, 0.009, False), (0.001, 0.02, True)])
def test_threads_wait_for_each_other_where_all_take_ten_times_as_long_as_one(
    monkeypatch: pytest.MonkeyPatch, alone: float, together: float, found: bool
) -> None:
    time = Time(monkeypatch, {2: together, 1: alone})
    monkeypatch.setattr(pace, "_FREE_AT", [])

    class Numbers:
        def add_(self, number: int) -> None:
            time.now += time.seconds[time.threads]

    monkeypatch.setattr(torch, "zeros", lambda n, **how: Numbers())
    assert crowded(now=lambda: time.now) is found
    assert time.threads == 2
    time.seconds = {2: 1.0, 1: 0.001}
    assert crowded(now=lambda: time.now) is found  # that none waits holds for a second


def test_the_most_threads_are_those_before_the_innermost_block(monkeypatch: pytest.MonkeyPatch) -> None:
    Time(monkeypatch, {4: 1.0, 1: 1.0})
    assert most_threads() == 4
    with restored():
        torch.set_num_threads(1)
        assert most_threads() == 4
        with restored():
            assert most_threads() == 1
        assert most_threads() == 4


def test_threads_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {4: 1.0, 1: 1.0})
    with restored():
        torch.set_num_threads(1)
    assert time.threads == 4


def test_what_is_worth_a_trial() -> None:
    assert [counts(most) for most in (1, 2, 3, 4, 16)] == [(1,), (2, 1), (3, 1), (4, 2, 1), (16, 8, 1)]


def test_that_the_machine_is_idle_is_remembered_for_a_second_and_that_it_is_busy_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, spun = [10.0], iter([1.1, 3.0, 2.0, 1.0])
    monkeypatch.setattr(pace, "_IDLE_AT", [])
    monkeypatch.setattr(pace, "_spun", lambda seconds: next(spun))
    monkeypatch.setattr(pace.time, "monotonic", lambda: now[0])
    assert [slowness(), slowness()] == [1.1, 1.0]
    now[0] = 10.9
    assert slowness() == 1.0
    now[0] = 11.1
    assert [slowness(), slowness(), slowness(), slowness()] == [3.0, 2.0, 1.0, 1.0]


def test_an_idle_machine_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 0.2])
    spins = iter([0.0, 0.0, 0.06, 0.06])
    monkeypatch.setattr(pace.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(pace.time, "thread_time", lambda: next(spins))
    assert slowness(0.05) == pytest.approx(4.0)
