"""Ctrl-C and SIGTERM: one rule for all that takes long.

Inside `stopping()` a signal raises a flag and, where it strikes, `Interrupted`, which no `except Exception` swallows. Inside
`Stop.held()` it only raises the flag: for a loop that looks at the flag and saves, and for what must not be torn apart.
Between two phases `check_stop()` asks again, as a library may have swallowed the error; and a block whose flag is up never ends
as if nothing had happened.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from beholder.base.errors import BeholderError, Interrupted

PATIENCE = 2.0
"""Seconds that a validation under way may still take after somebody asked to stop: all is to be left within 5."""


class Stop:
    """Whether somebody asked to stop. signal: the number of the signal received, 0 before that; asked: when, monotonic."""

    def __init__(self) -> None:
        self.signal = 0
        self.asked = 0.0
        self._holds = 0

    def __bool__(self) -> bool:
        return self.signal != 0

    @property
    def late(self) -> bool:
        """Return True once it is time to drop what is under way: `PATIENCE` seconds after somebody asked to stop."""
        return self.signal != 0 and time.monotonic() - self.asked > PATIENCE

    def error(self, message: str = "", *, hint: str = "") -> Interrupted:
        """Return the error to leave with once everything is saved: exit code 130 for Ctrl-C, 143 for SIGTERM."""
        said = message or ("terminated" if self.signal == signal.SIGTERM else "interrupted")
        return Interrupted(said, hint=hint, exit_code=128 + (self.signal or signal.SIGINT))

    @contextmanager
    def held(self) -> Iterator[None]:
        """Inside the block the first signal only raises the flag, and `check` is silent; a second one interrupts at once."""
        self._holds += 1
        try:
            yield
        finally:
            self._holds -= 1

    def check(self) -> None:
        """Raise `Interrupted` if somebody asked to stop."""
        if self and not self._holds:
            raise self.error()

    def note(self, number: int, _frame: FrameType | None) -> None:
        """Take a signal: this is its handler."""
        again = bool(self)
        if not again:
            self.signal, self.asked = number, time.monotonic()
        if again or not self._holds:
            raise self.error()


def _current() -> Stop | None:
    """Return what the signals of this process are handled by, if a block of `stopping` does, and this is its thread."""
    owner = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    main = threading.current_thread() is threading.main_thread()
    return owner if main and isinstance(owner, Stop) else None


def check_stop() -> None:
    """Raise `Interrupted` if somebody asked to stop, inside `stopping()`; anywhere else do nothing."""
    stop = _current()
    if stop is not None:
        stop.check()


@contextmanager
def stopping() -> Iterator[Stop]:
    """Inside the block Ctrl-C and SIGTERM raise `Interrupted` where they strike, or when the block ends at the latest.

    A block inside another shares its flag. Off the main thread signals cannot be caught and the flag stays down.
    """
    outer = _current()
    if outer is not None or threading.current_thread() is not threading.main_thread():
        yield outer if outer is not None else Stop()
        return
    stop = Stop()
    before = {number: signal.signal(number, stop.note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    except Exception as error:
        if stop:  # whatever broke, it broke as somebody asked to stop
            raise stop.error(f"interrupted; {error.message}" if isinstance(error, BeholderError) else "") from error
        raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    stop.check()
