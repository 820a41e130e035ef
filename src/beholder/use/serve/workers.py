"""Several processes behind one address: each loads its own bundles and takes connections from the same socket."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from types import FrameType

from beholder.base import events
from beholder.base.errors import BeholderError, MachineError, UsageError

ENDING = (signal.SIGINT, signal.SIGTERM)

YOUNG = 10.0
"""Seconds; a worker that ends before is not started again: what ended it would end the next one too."""


def many(count: int, work: Callable[[int], None]) -> None:
    """Run `work(slot)` in `count` processes until SIGTERM or Ctrl-C, which they get too; start again one that dies.

    Raises `UsageError` where the system cannot fork, `MachineError` where a worker dies at its start.
    """
    if not hasattr(os, "fork"):
        raise UsageError("several workers need a system that forks", code="no-fork", hint="leave --workers at 1")
    crew = _Crew(work)
    before = {number: signal.signal(number, crew.leave) for number in ENDING}
    try:
        for slot in range(count):
            crew.start(slot)
        while crew.running:
            crew.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Crew:
    """The workers. running: slot and start (monotonic) by process; leaving: whether they were told to stop."""

    def __init__(self, work: Callable[[int], None]) -> None:
        self.running: dict[int, tuple[int, float]] = {}
        self.leaving = False
        self._work = work

    def start(self, slot: int) -> None:
        """Start the worker of a slot."""
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # between the fork and the child's own handlers none may be lost
        self.running[_started(self._work, slot)] = (slot, time.monotonic())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        if self.leaving:  # told so while it was being started
            self.leave()

    def leave(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Tell all to stop."""
        self.leaving = True
        for child in list(self.running):
            os.kill(child, signal.SIGTERM)

    def wait(self) -> None:
        """Wait until one ends; start it again unless it was told to, or was young."""
        child, status = os.wait()
        slot, since = self.running.pop(child)
        if self.leaving:
            return
        if time.monotonic() - since < YOUNG:
            self.leave()
            for other in self.running:
                os.waitpid(other, 0)
            raise MachineError(f"a worker ended at its start ({_why(status)})", code="worker-died", hint="try --workers 1")
        events.warn(f"worker {slot} ended ({_why(status)}) and is started again")
        self.start(slot)


def _started(work: Callable[[int], None], slot: int) -> int:
    """Return the process that runs `work(slot)`."""
    sys.stdout.flush()
    sys.stderr.flush()
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        os.setpgid(0, 0)  # Ctrl-C at a terminal reaches the parent alone, which passes it on once
        for number in ENDING:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        work(slot)
        code = 0
    except BeholderError as error:
        events.warn(error.message, hint=error.hint)
    except Exception as error:  # noqa: BLE001  (what leaves this function would go on as the parent)
        events.warn(f"internal: {type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _why(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"
