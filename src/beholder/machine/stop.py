"""Ctrl-C and SIGTERM as a flag that long loops look at, so that they can save before they leave."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from beholder.base.errors import Interrupted

PATIENCE = 2.0
"""Seconds that a validation under way may still take after somebody asked to stop: all is to be left within 5."""


class Stop:
    """Whether somebody asked to stop. signal: the number of the signal received, 0 before that; asked: when, monotonic."""

    def __init__(self) -> None:
        self.signal = 0
        self.asked = 0.0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def late(self) -> bool:
        """Return True once it is time to drop what is under way: `PATIENCE` seconds after somebody asked to stop."""
        return self.signal != 0 and time.monotonic() - self.asked > PATIENCE

    def error(self, message: str, *, hint: str = "") -> Interrupted:
        """Return the error to leave with once everything is saved: exit code 130 for Ctrl-C, 143 for SIGTERM."""
        return Interrupted(message, hint=hint, exit_code=128 + (self.signal or signal.SIGINT))


@contextmanager
def stopping() -> Iterator[Stop]:
    """Inside the block the first Ctrl-C or SIGTERM sets the flag; a second one interrupts at once.

    Off the main thread signals cannot be caught and the flag stays down.
    """
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def note(number: int, _frame: FrameType | None) -> None:
        if stop:
            raise KeyboardInterrupt
        stop.signal, stop.asked = number, time.monotonic()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def terminating() -> Iterator[None]:
    """Inside the block SIGTERM raises `Interrupted` (exit code 143) where it strikes, as Ctrl-C raises KeyboardInterrupt."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise Interrupted("terminated", exit_code=128 + number)

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
