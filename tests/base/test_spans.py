from __future__ import annotations

import threading
import time
from functools import partial

import pytest

from beholder.base import spans
from beholder.base.spans import Ledger, current, recorded, span


class Time:
    def __init__(self) -> None:
        self.now = 10.0

    def __call__(self) -> float:
        return self.now


def test_a_moment_belongs_to_the_innermost_span_and_all_sum_to_the_wall_time() -> None:
    time = Time()
    ledger = Ledger(now=time)
    time.now += 1
    ledger.enter("evaluate")
    time.now += 2
    ledger.enter("decode")
    time.now += 4
    ledger.leave()
    time.now += 8
    ledger.leave()
    time.now += 16
    assert ledger.table() == {"decode": 4, "evaluate": 10, "other": 17}
    assert sum(ledger.table().values()) == ledger.wall == 31


def test_the_wall_time_may_begin_before_the_ledger() -> None:
    time = Time()
    ledger = Ledger(began=3.0, now=time)
    time.now += 5
    assert ledger.table() == {"start": 7, "other": 5}
    assert ledger.wall == 12


def test_an_open_span_counts_up_to_now_and_an_error_closes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Time()
    monkeypatch.setattr(spans, "Ledger", partial(Ledger, now=clock))

    def failing() -> None:
        with span("decode"):
            clock.now += 2
            assert ledger.table() == {"decode": 2, "other": 0}
            raise KeyError

    with recorded() as ledger:
        with pytest.raises(KeyError):
            failing()
        clock.now += 4
        assert ledger.table() == {"decode": 2, "other": 4}


def test_spans_are_off_unless_recorded_and_in_other_threads() -> None:
    assert current() is None
    with span("decode"):
        pass
    seen: list[Ledger | None] = []
    with recorded() as ledger:
        assert current() is ledger
        thread = threading.Thread(target=lambda: seen.append(current()))
        thread.start()
        thread.join()
    assert seen == [None]
    assert current() is None


def test_edges_wait_for_a_device() -> None:
    calls: list[int] = []
    with recorded() as ledger:
        ledger.settle = lambda: calls.append(1)
        with span("forward"):
            pass
    assert len(calls) == 2


def test_a_span_that_is_off_is_next_to_free() -> None:
    """A quarter of a millisecond for a hundred of them is allowed: the shortest steps take two milliseconds."""
    best = min(_hundred() for _ in range(20))
    assert best < 2.5e-4


def _hundred() -> float:
    began = time.thread_time()
    for _ in range(100):
        with span("forward"):
            pass
    return time.thread_time() - began
