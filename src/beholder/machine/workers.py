"""What workers that carry out numbered ranges of work are asked and tell, and when one counts as lost.

Work is a function `(argument, index, threads)` that a text names, "module:function", as it may run on another machine. It
yields how many items of the range are through, 0 once it is ready, and leaves its result where `argument` says: whole or not at
all. threads: that it may compute with; 0: as many as it takes by itself.
"""

from __future__ import annotations

import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

from beholder.base import errors, events
from beholder.base.errors import BeholderError
from beholder.base.registry import attribute

WATCH = 0.1
"""Seconds between two looks at whether the process that started this one is there."""

TRIES = 3
"""Times that a range is begun before it is given up."""

START = 300.0
"""Seconds that a worker may take until it is ready: it loads libraries and a model."""

HANG = 30.0
"""Seconds without a sign of life after which a range that was under way counts as lost; more, where signs come slowly."""

Message = dict[str, Any]


@dataclass(frozen=True)
class Heard:
    """What is known of a range. done: items that are through; whole: its result is there; failed: why it was given up."""

    index: int
    done: int = 0
    whole: bool = False
    failed: str = ""


class Ranges:
    """Which ranges are still to be begun, and how often each was."""

    def __init__(self, todo: Iterable[int]) -> None:
        self.todo = deque(todo)
        self._begun: Counter[int] = Counter()
        self._idle = 0

    def begin(self) -> int:
        """Return the next range, which is begun now."""
        index = self.todo.popleft()
        self._begun[index] += 1
        return index

    def alive(self) -> None:
        """Note that a worker has given a sign of life."""
        self._idle = 0

    def lost(self, index: int, why: str, *, workers: int) -> Heard:
        """Put a range back, or give it up after `TRIES`, and return what is known of it then.

        Raises `MachineError` (no-process) where so many of the workers were lost one after the other before any was ready.
        """
        self._idle += 1
        if self._idle > TRIES * workers:
            hint = "leave --launch out to see why; where memory is short, give fewer"
            raise errors.MachineError(f"no worker gets ready: {why}", code="no-process", hint=hint)
        if self._begun[index] >= TRIES:
            return Heard(index, failed=f"{why}, after {TRIES} tries")
        events.warn(f"range {index}: {why}; it is begun again")
        self.todo.append(index)
        return Heard(index)

    def heard(self, index: int, message: Message, *, workers: int) -> Heard:
        """Return what a message of a worker says. Raises the `BeholderError` that it tells of."""
        self.alive()
        if "error" in message:
            raise raised(message["error"])
        if "failed" in message:
            return self.lost(index, message["failed"], workers=workers)
        return Heard(index, int(message["done"]), bool(message.get("whole")))

    def patience(self, index: int, slowest: float) -> float:
        """Return after how many seconds of silence a range is lost; slowest: seconds between two signs of life, so far."""
        return float(max(HANG, 10 * slowest) * 2 ** (self._begun[index] - 1))


@dataclass
class Silence:
    """How long a worker has been silent: since when, whether it was ready then, and the longest silence that ended."""

    since: float
    ready: bool = False
    slowest: float = 0.0

    def broken(self) -> None:
        """Note a sign of life."""
        now = time.monotonic()
        if self.ready:
            self.slowest = max(self.slowest, now - self.since)
        self.since, self.ready = now, True

    def too_long(self, patience: float) -> bool:
        """Return whether a worker that was ready is silent for longer than `patience` seconds, or another for `START`."""
        return time.monotonic() - self.since > (patience if self.ready else START)


def vacant(taken: Iterable[int]) -> int:
    """Return the first number, from 0, that none of the workers of a machine has: that of one that was lost, if any."""
    held = set(taken)
    return next(seat for seat in count() if seat not in held)


def seated(seat: int) -> dict[str, str]:
    """Return the environment of the worker of this number: that of this process, and LOCAL_RANK, by which it takes a device."""
    return {**os.environ, "LOCAL_RANK": str(seat)}


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Have a thread work beside the block, until the event that it is given says that the block is over."""
    over = threading.Event()
    thread = threading.Thread(target=work, args=(over,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def end_without(parent: int) -> None:
    """End this process once `parent`, which started it, is gone, killed perhaps: nobody wants what it does."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(WATCH)
        os._exit(1)

    threading.Thread(target=watch, name="beholder-parent", daemon=True).start()


def messages(work: str, argument: str, index: int, threads: int) -> Iterator[Message]:
    """Carry out one range and yield what is to be told of it as plain JSON values, errors too: what a worker does."""
    done = 0
    try:
        for done in attribute(work)(argument, index, threads):
            yield {"done": done}
        yield {"done": done, "whole": True}
    except BeholderError as error:
        told = {"message": error.message, "code": error.code, "hint": error.hint}
        yield {"error": {"kind": type(error).__name__, **told}}
    except Exception as error:  # noqa: BLE001  (whatever it is, it is told where somebody reads it)
        yield {"failed": f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}"}


def raised(told: dict[str, str]) -> BeholderError:
    """Return the error that a message tells of."""
    kind = getattr(errors, told["kind"], None)
    known = isinstance(kind, type) and issubclass(kind, BeholderError)
    found = (kind if known else BeholderError)(told["message"], code=told["code"], hint=told["hint"])  # type: ignore[misc]
    assert isinstance(found, BeholderError)
    return found
