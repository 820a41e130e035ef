"""How quick this machine is at this moment: with how many threads, and how busy it is with other work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from beholder.base import events
from beholder.machine.turns import least_seconds

BUSY = 1.5
"""From so many times as long as its own computing takes a piece of work says that the machine is busy."""

DRIFT = 1.7
"""Factor by which the pace must have changed before other numbers of threads are tried again."""

STEADY = 3
"""So many batches in a row must be slower or quicker by `DRIFT`: a single one may be a stall."""


SPIN, IDLE, LASTING = 0.03, 1.2, 1.0
"""Seconds of computing that tell how busy the machine is; up to which slowness it is idle; for how many seconds that holds."""

_IDLE_AT: list[float] = []
"""When a spin of `SPIN` seconds found the machine idle last: a small run asks five times within a second."""


def slowness(seconds: float = SPIN) -> float:
    """Return how many times as long work takes now as on an idle machine, 1 at least: by a spin of `seconds` of computing."""
    usual = seconds == SPIN
    if usual and _IDLE_AT and time.monotonic() - _IDLE_AT[0] < LASTING:
        return 1.0
    found = _spun(seconds)
    if usual:
        _IDLE_AT[:] = [time.monotonic()] if found < IDLE else []
    return found


def _spun(seconds: float) -> float:
    began, busy = time.perf_counter(), time.thread_time()
    while time.thread_time() - busy < seconds:
        pass
    return max(1.0, (time.perf_counter() - began) / seconds)


@contextmanager
def restored() -> Iterator[None]:
    """Leave torch with as many threads as it had before the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def calm() -> Iterator[None]:
    """On a busy machine, let BLAS compute with one thread inside the block: threads that wait for each other cost seconds."""
    if slowness() < BUSY:
        yield
        return
    with threadpool_limits(1, user_api="blas"):
        yield


def counts(most: int) -> tuple[int, ...]:
    """Return the numbers of threads that are worth a trial: all, half where that is more than one, and one."""
    return tuple(sorted({most, max(1, most // 2) if most > 3 else most, 1}, reverse=True))


def quickest(work: Callable[[], object], *, most: int, now: Callable[[], float] = time.perf_counter) -> int:
    """Return with how many threads, `most` at most, `work` takes the least time now, and let torch compute with so many.

    Two rounds in which they take turns, the fewest first: on a busy machine threads that wait for each other may take 60 times
    as long, and what took twice the least is not tried again. The first call, in which kernels are chosen, does not count.
    """
    tried = counts(most)[::-1]
    if len(tried) == 1:
        return most
    torch.set_num_threads(tried[0])
    work()

    def at(count: int) -> None:
        torch.set_num_threads(count)
        work()

    seconds = least_seconds({count: partial(at, count) for count in tried}, hopeless=2, now=now)
    best = min(tried, key=lambda count: (seconds[count], -count))
    torch.set_num_threads(best)
    return best


class Nimble:
    """Runs batches with the threads that torch has, until their pace drifts: then with as many as are quickest at the moment.

    run: maps a batch (B, …) to its results; most: the largest number of threads; now: a clock in seconds
    On an idle machine all are used, and so the same bits come out each time. They are tried on the batches themselves.
    """

    def __init__(self, run: Callable[[Tensor], Tensor], *, most: int, now: Callable[[], float] = time.perf_counter) -> None:
        self._run, self._now = run, now
        self._counts = counts(most)
        self._due: list[int] = []
        self._seconds: dict[int, float] = {}
        self._strange, self._pace = 0, 0.0
        self.threads = torch.get_num_threads()

    def __call__(self, images: Tensor) -> Tensor:
        """Run one batch."""
        if len(self._counts) == 1:
            return self._run(images)
        trial = bool(self._due)
        count = self._due.pop(0) if trial else self.threads
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
        began = self._now()
        found = self._run(images)
        seconds = (self._now() - began) / max(1, len(images))
        if trial:
            self._tried(count, seconds)
        else:
            self._paced(seconds)
        return found

    def _paced(self, seconds: float) -> None:
        """Compare a picture's seconds with the pace: with all threads only what is slower asks for another trial."""
        if not self._pace:
            self._pace = seconds
            return
        fewer = self.threads < self._counts[0]
        strange = seconds > DRIFT * self._pace or (fewer and seconds < self._pace / DRIFT)
        self._strange = self._strange + 1 if strange else 0
        if not fewer:
            self._pace = min(self._pace, seconds)
        if self._strange >= STEADY:
            self._due, self._seconds, self._strange = list(self._counts), {}, 0

    def _tried(self, count: int, seconds: float) -> None:
        self._seconds[count] = seconds
        if self._due:
            return
        before, self.threads = self.threads, min(self._seconds, key=lambda count: self._seconds[count])
        self._pace = self._seconds[self.threads]
        torch.set_num_threads(self.threads)
        if self.threads != before:
            rates = {count: 1 / max(1e-9, each) for count, each in sorted(self._seconds.items())}
            events.note("threads", threads=self.threads, rates=rates)
