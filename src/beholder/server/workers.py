"""Several processes behind one address: each loads its own bundles and takes connections from the same socket."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType

from beholder.base import events
from beholder.base.errors import BeholderError, MachineError, UsageError

ENDING = (signal.SIGINT, signal.SIGTERM)

YOUNG = 10.0
"""Seconds; a worker that lived longer is started again at once, one that did not has to wait."""

FIRST, LONGEST = 0.5, 30.0
"""Seconds that the next worker of a slot has to wait after one that died young; they double each time, up to the longest."""

TRIES = 3
"""Workers of each slot that may die before any has served; then there is no service to keep up."""

TICK = 0.1
"""Seconds between two looks at the workers."""

Call = Callable[[], object]
Ended = Callable[[int], object]
Work = Callable[[int, Call], None]
"""What a worker does: it takes its slot, and what to call once it serves."""


def many(count: int, work: Work, *, leaving: Call, serving: Call = lambda: None, ended: Ended = lambda _: None) -> None:
    """Run `work` in `count` processes until SIGTERM or Ctrl-C, which they get too; start again each that dies.

    One that dies soon after its start is started again ever later, and the others go on meanwhile.
    serving: called in this process once one serves; leaving: called in it when told to stop, to let go of what they share:
    else a client would not be refused; ended: called in it with the slot of a worker that died, before the next one starts.
    Raises `UsageError` where the system cannot fork; before one has served, what a worker raised, `MachineError` where all die.
    """
    if not hasattr(os, "fork"):
        raise UsageError("several workers need a system that forks", code="no-fork", hint="leave --workers at 1")
    crew = _Crew(work, leaving, serving, ended, most=TRIES * count, due=dict.fromkeys(range(count), 0.0))
    before = {number: signal.signal(number, crew.leave) for number in ENDING}
    try:
        while not crew.is_over:
            crew.look()
            time.sleep(TICK)
    finally:
        if crew.running:
            crew.leave()
        for child in crew.running:
            os.waitpid(child, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass
class _Worker:
    """A process. since: monotonic; hears: the end of a pipe at which it says that it serves, or the error that ends it."""

    slot: int
    since: float
    hears: int
    served: bool = False
    error: BeholderError | None = None

    def listen(self) -> None:
        """Take what it said so far."""
        try:
            data = os.read(self.hears, 1 << 16)
        except BlockingIOError:
            return
        for line in data.decode().splitlines():
            said = json.loads(line)
            self.served |= not said
            if said:
                self.error = BeholderError(said["message"], code=said["code"], hint=said["hint"])
                self.error.exit_code = said["exit_code"]


@dataclass
class _Crew:
    """The workers. most: deaths before any served; due: when a slot's next is started, monotonic; leaving: all are to stop.

    running: by process; waits: seconds that the last one of a slot had to wait
    """

    work: Work
    let_go: Call
    serves: Call
    ends: Ended
    most: int
    due: dict[int, float]
    running: dict[int, _Worker] = field(default_factory=dict)
    waits: dict[int, float] = field(default_factory=dict)
    leaving: bool = False
    served: bool = False
    deaths: int = 0

    @property
    def is_over(self) -> bool:
        """Return whether all have left."""
        return self.leaving and not self.running

    def leave(self, _number: int = 0, _frame: FrameType | None = None) -> None:
        """Tell all to stop, and let go of what they share; told so again, let them drop what is under way.

        The second time is said by another signal: some systems stop a service by SIGTERM to each of its processes, and what
        comes from here is then a worker's second one.
        """
        self._tell(signal.SIGINT if self.leaving else signal.SIGTERM)
        self.leaving = True
        self.let_go()

    def _tell(self, number: int) -> None:
        for child in list(self.running):
            os.kill(child, number)

    def look(self) -> None:
        """Hear what they say, see to those that ended, and start those that are due."""
        for worker in self.running.values():
            self._hear(worker)
        while self.running:
            child, status = os.waitpid(-1, os.WNOHANG)
            if not child:
                break
            worker = self.running.pop(child)
            self._hear(worker)
            os.close(worker.hears)
            if not self.leaving:
                self._ended(worker, status)
        for slot, when in sorted(self.due.items()):
            if not self.leaving and time.monotonic() >= when:
                self._start(slot)

    def _hear(self, worker: _Worker) -> None:
        worker.listen()
        if worker.served and not self.served:
            self.served = True
            self.serves()

    def _start(self, slot: int) -> None:
        del self.due[slot]
        hears, says = os.pipe()
        os.set_blocking(hears, False)
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # between the fork and the child's own handlers none may be lost
        try:
            self.running[_started(self.work, slot, says)] = _Worker(slot, time.monotonic(), hears)
        except OSError as error:
            os.close(hears)
            self._again(slot, f"cannot be started ({error.strerror or error})", young=True)
        finally:
            os.close(says)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
        if self.leaving:  # told so while it was being started
            self._tell(signal.SIGTERM)

    def _ended(self, worker: _Worker, status: int) -> None:
        """Let another one take its place. Raises where no worker ever served, and none will."""
        self.deaths += 1
        self.ends(worker.slot)
        if not self.served and worker.error is not None:
            raise worker.error
        why = worker.error.message if worker.error is not None else _why(status)
        if not self.served and self.deaths >= self.most:
            raise MachineError(f"workers end at their start ({why})", code="worker-died", hint="try --workers 1")
        self._again(worker.slot, f"ended ({why})", young=time.monotonic() - worker.since < YOUNG)

    def _again(self, slot: int, what: str, *, young: bool) -> None:
        """Say what became of a slot's worker, and when the next is started."""
        wait = self.waits[slot] = min(LONGEST, max(FIRST, 2 * self.waits.get(slot, 0.0))) if young else 0.0
        self.due[slot] = time.monotonic() + wait
        events.warn(f"worker {slot} {what} and is started again" + (f" in {wait:g} s" if wait else ""))


def _started(work: Work, slot: int, says: int) -> int:
    """Return the process that runs `work`; what it has to say to this one goes to the file descriptor `says`, a line each."""
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
        work(slot, lambda: _say(says, {}))
        code = 0
    except BeholderError as error:
        _say(says, {"message": error.message, "code": error.code, "hint": error.hint, "exit_code": error.exit_code})
    except Exception as error:  # noqa: BLE001  (what leaves this function would go on as the parent)
        events.warn(f"internal: {type(error).__name__}: {error}")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say(says: int, said: dict[str, str | int]) -> None:
    os.write(says, json.dumps(said).encode() + b"\n")


def _why(status: int) -> str:
    code = os.waitstatus_to_exitcode(status)
    return f"signal {-code}" if code < 0 else f"exit code {code}"
