"""Threads are tried on the work itself, and again where its pace drifts; no test here reads a clock."""

from __future__ import annotations

import pytest
import torch

from beholder.machine import pace
from beholder.machine.pace import STEADY, Nimble, counts, quickest, restored, slowness


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


def test_batches_are_tried_in_turn_where_the_pace_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 1.0, 1: 0.9})  # one thread would do, but bits depend on how many there are
    run = Nimble(time.work, most=2, now=lambda: time.now)
    for _ in range(12):
        run(torch.zeros(8, 1))
    assert set(time.used) == {2}
    time.seconds = {2: 5.0, 1: 2.0}  # somebody else is at work
    for _ in range(STEADY + 4):
        run(torch.zeros(8, 1))
    assert time.used[12:] == [2] * STEADY + [2, 1, 1, 1]
    time.seconds = {2: 1.0, 1: 1.1}  # it is over
    for _ in range(STEADY + 3):
        run(torch.zeros(8, 1))
    assert run.threads == 2


def test_threads_that_were_just_tried_are_tried_again_only_where_the_pace_drifts(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 4.0, 1: 0.9})
    quickest(time.work, most=2, now=lambda: time.now)
    time.used.clear()
    run = Nimble(time.work, most=2, now=lambda: time.now)
    for _ in range(6):
        run(torch.zeros(8, 1))
    assert time.used == [1] * 6
    time.seconds = {2: 0.2, 1: 0.4}
    for _ in range(STEADY + 3):
        run(torch.zeros(8, 1))
    assert run.threads == 2


def test_a_single_slow_batch_is_a_stall(monkeypatch: pytest.MonkeyPatch) -> None:
    time = Time(monkeypatch, {2: 1.0, 1: 1.8})
    run = Nimble(time.work, most=2, now=lambda: time.now)
    for batch in range(12):
        time.now += 50.0 * (batch == 6)
        run(torch.zeros(8, 1))
    assert set(time.used) == {2}


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
