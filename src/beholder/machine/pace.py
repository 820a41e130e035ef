"""How quick this machine is at this moment: with how many threads, and how busy it is with other work."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from beholder.base import events
from beholder.machine.neighbours import Load, Neighbours
from beholder.machine.turns import least_seconds

BUSY = 1.5
"""From so many times as long as its own computing takes a piece of work says that the machine is busy."""

LOOKS, TAKEN = 1.0, 0.3
"""Seconds between two looks at what other programs take; cores that they compute on, and that threads here wait for as
they work, from which other numbers of threads are tried."""

DRIFT, STEADY = 2.5, 3
"""Where nobody knows what others take: so many batches in a row have to be slower by so much; a single one may be a stall."""

REST = 30.0
"""Numbers of threads are not tried again before so many times as long as their last trial took."""

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


WAITING, LOOK = 10.0, 0.02
"""An operation of all threads that takes so many times as long as one thread takes for all of it waits; seconds of a look."""

_FREE_AT: list[float] = []
"""When a look found no thread waiting for another last; that holds for `LASTING` seconds, too."""


def crowded(*, now: Callable[[], float] = time.perf_counter) -> bool:
    """Return whether threads wait for each other now, as other work keeps a core busy. `slowness`, of one thread, is 1 then."""
    most = torch.get_num_threads()
    if most == 1 or (_FREE_AT and now() - _FREE_AT[0] < LASTING):
        return False
    numbers = torch.zeros(most << 15, dtype=torch.float32, device="cpu")

    def seconds(count: int, look: float) -> float:
        torch.set_num_threads(count)
        numbers.add_(1)
        began, done = now(), 0
        while not done or now() - began < look:
            numbers.add_(1)
            done += 1
        return (now() - began) / done

    with restored():
        found = seconds(1, LOOK / 4) * WAITING < seconds(most, LOOK)
    _FREE_AT[:] = [] if found else [now()]
    return found


def contended() -> bool:
    """Return whether other work slows this one down so that fewer threads may be quicker: two looks have to say so."""
    return min(slowness(), slowness()) >= BUSY or (crowded() and crowded())


_MOST: ContextVar[int] = ContextVar("threads")


def most_threads() -> int:
    """Return the threads that torch had where the innermost block of `restored` began, or has now, outside of one."""
    return _MOST.get(torch.get_num_threads())


@contextmanager
def restored() -> Iterator[None]:
    """Leave torch with as many threads as it had before the block."""
    before = torch.get_num_threads()
    token = _MOST.set(before)
    try:
        yield
    finally:
        _MOST.reset(token)
        if torch.get_num_threads() != before:
            torch.set_num_threads(before)


@contextmanager
def calm() -> Iterator[None]:
    """On a busy machine, let BLAS compute with one thread inside the block: threads that wait for each other cost seconds."""
    if not contended():
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
    """Chooses the threads of batches: those that torch has; where other programs take cores, as many as are quickest then.

    most: the largest number of threads; look: what they have taken since it was called last, None where nobody knows
    now: a clock in seconds
    On an idle machine all are used, and so the same bits come out each time. They are tried on the batches themselves.
    """

    def __init__(
        self,
        *,
        most: int,
        look: Callable[[], Load | None] | None = None,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._counts = counts(most)
        self._look = look or (Neighbours().look if most > 1 else lambda: None)
        self._now = now
        self._due: list[int] = []
        self._seconds: dict[int, float] = {}
        self._again = False
        self._pace, self._slow, self._worked = 0.0, 0, 0.0
        self._looked = self._began = self._trial = self._until = now()
        self.threads = torch.get_num_threads()

    def begin(self) -> None:
        """Say that a batch begins."""
        if len(self._counts) == 1:
            return
        count = self._due[0] if self._due else self.threads
        if torch.get_num_threads() != count:
            torch.set_num_threads(count)
        self._began = self._now()

    def done(self, n: int, *, work: float = 0.0) -> None:
        """Say that the batch is done: n pictures, in all so much work, in any unit; by default that of a picture."""
        if len(self._counts) == 1:
            return
        now, work = self._now(), work or float(n)
        seconds = now - self._began
        pace = seconds / max(1e-12, work)
        if self._due:
            self._tried(pace, work / max(1, n))
            return
        self._slow = self._slow + 1 if self._pace and pace > DRIFT * self._pace else 0
        self._pace, self._worked = min(self._pace or pace, pace), self._worked + seconds
        if now - self._looked >= LOOKS and self._worked >= LOOKS / 10:
            self._judged(self._look(), now)

    def _judged(self, load: Load | None, now: float) -> None:
        """Ask for a trial where others take cores, or took them a while ago; use all threads once they no longer do."""
        fewer = self.threads < self._counts[0]
        if load is None:
            due = fewer or self._slow >= STEADY
        else:
            taken = load.others >= TAKEN * load.seconds
            due = taken and (fewer or load.waited >= TAKEN * self._worked)
            if fewer and not taken:
                self._take(self._counts[0], 0.0, {})
        self._looked, self._worked = now, 0.0
        if due and now >= self._until:
            self._due, self._seconds, self._again, self._trial = list(self._counts), {}, False, now

    def _tried(self, pace: float, each: float) -> None:
        """Note the pace of a trial: each number of threads has two, the second only where the first was not hopeless."""
        count = self._due.pop(0)
        self._seconds[count] = min(self._seconds.get(count, pace), pace)
        if not self._due and not self._again:
            least = min(self._seconds.values())
            self._again, due = True, [count for count in self._counts if self._seconds[count] <= 2 * least]
            self._due = due if len(due) > 1 else []
        if self._due:
            return
        self._looked, self._worked = self._now(), 0.0
        self._look()
        self._until = self._looked + REST * (self._looked - self._trial)
        best = min(self._seconds, key=lambda count: self._seconds[count])
        rates = {count: 1 / max(1e-12, seconds * each) for count, seconds in sorted(self._seconds.items())}
        self._take(best, self._seconds[best], rates)

    def _take(self, count: int, pace: float, rates: dict[int, float]) -> None:
        before, self.threads = self.threads, count
        self._pace, self._slow = pace, 0
        if count != before:
            events.note("threads", threads=count, rates=rates)


Answers = Callable[[Tensor], Tensor]
"""Maps a batch (B, …) to its results."""


def nimble(run: Answers, *, most: int) -> Answers:
    """Return what answers as `run` does, with the threads, `most` at most, that are quickest at the moment."""
    pace = Nimble(most=most)

    def paced(images: Tensor) -> Tensor:
        pace.begin()
        found = run(images)
        pace.done(len(images))
        return found

    return paced
