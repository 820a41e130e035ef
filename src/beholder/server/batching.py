"""Dynamic batching: waiting requests are run together, at the batch size that is fastest on this machine.

No picture ever waits for company: while the net runs, others gather, so batches grow with the load by themselves. How large a
batch is best is learned from the runs: on a CPU often one picture, on a GPU as many as there are.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")

AGAIN = 64
"""After so many runs the size that was not tried for longest is tried again: a stall must not condemn it for ever."""

WEIGHT = 0.2
"""Of the newest measurement in the moving average."""


class Sizes:
    """Which batch is best: seconds a picture by size, each a power of two, as measured.

    most: pictures in a batch at most; bound: seconds that one run may take, a single picture excepted
    """

    def __init__(self, *, most: int, bound: float) -> None:
        self._sizes = [1 << k for k in range(most.bit_length())]
        self._bound = bound
        self._pace: dict[int, float] = {}
        self._tried: dict[int, int] = {}
        self._runs = 0

    def choose(self, waiting: int) -> int:
        """Return how many of the `waiting` pictures (≥ 1) go next."""
        fitting = [size for size in self._sizes if size <= waiting and self._within(size)]
        new = [size for size in fitting if size not in self._pace]
        if new:
            return new[0]
        if self._runs % AGAIN == AGAIN - 1:
            return min(fitting, key=lambda size: self._tried[size])
        return min(fitting, key=lambda size: self._pace[size])

    def learn(self, size: int, seconds: float) -> None:
        """Note that a run of `size` pictures took `seconds`."""
        self._runs += 1
        self._tried[size] = self._runs
        pace = seconds / size
        before = self._pace.get(size)
        self._pace[size] = pace if before is None else before + WEIGHT * (pace - before)

    def _within(self, size: int) -> bool:
        """Return whether a run of `size` is expected to end in time: by its own pace, else by that of the next smaller."""
        known = [other for other in self._pace if other <= size]
        return size == 1 or not known or self._pace[max(known)] * size <= self._bound


class Batcher(Generic[Item]):
    """One thread that runs batches. run: takes items, returns nothing, never raises; done: told after each run.

    wanted: whether an item is still wanted; others are dropped unseen.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Any], *, sizes: Sizes, wanted: Callable[[Item], bool]) -> None:
        self._run = run
        self._sizes = sizes
        self._wanted = wanted
        self._waiting: deque[Item] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._work, name="beholder-batches", daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Let an item go with one of the next batches."""
        with self._changed:
            self._waiting.append(item)
            self._changed.notify()

    def close(self, *, wait: bool = True) -> None:
        """Run what waits, then end the thread; do not wait for that unless `wait`."""
        with self._changed:
            self._closed = True
            self._changed.notify()
        if wait:
            self._thread.join()

    def _work(self) -> None:
        while True:
            items = self._next()
            if not items:
                return
            items = [item for item in items if self._wanted(item)]
            if items:
                start = perf_counter()
                self._run(items)
                self._sizes.learn(_power(len(items)), (perf_counter() - start) * _power(len(items)) / len(items))

    def _next(self) -> list[Item]:
        with self._changed:
            while not self._waiting:
                if self._closed:
                    return []
                self._changed.wait()
            return [self._waiting.popleft() for _ in range(self._sizes.choose(len(self._waiting)))]


def _power(n: int) -> int:
    """Return the largest power of two that is at most `n`."""
    return 1 << (n.bit_length() - 1)
