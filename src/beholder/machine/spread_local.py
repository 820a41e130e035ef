"""Ranges of work in child processes of this machine, among which its cores are divided."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.machine.cpu import threads
from beholder.machine.workers import Heard, Ranges, Silence, end_without, messages, seated, vacant

PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from beholder.machine.spread_local import main; main()"

LOOK = 1.0
"""Seconds between two looks at who is silent."""

SPINS = "10000"
"""How often a thread of OpenMP looks for the others before it sleeps, as `cli/run.py` has it for one process."""


@dataclass(eq=False)
class _Worker:
    """A child process. seat: its number, from 0; index: the range that it is at, -1: none; heard: the beginning of a line."""

    process: subprocess.Popen[bytes]
    seat: int
    silence: Silence
    index: int = -1
    heard: bytes = b""
    why: str = ""
    again: bool = field(default=False)

    def give(self, index: int) -> None:
        """Let it carry out a range."""
        assert self.process.stdin is not None
        self.index, self.silence.since = index, time.monotonic()
        self.silence.ready = False
        with contextlib.suppress(BrokenPipeError):  # that it has died is told where its lines are read
            self.process.stdin.write(b"%d\n" % index)
            self.process.stdin.flush()

    def end(self) -> int:
        """End it and return its exit status."""
        self.process.kill()
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with contextlib.suppress(OSError):
                assert pipe is not None
                pipe.close()
        return status


class _Crew:
    """Up to `count` children that carry out ranges of one work; each takes the GPU of its number, of those that there are."""

    def __init__(self, work: str, argument: str, ranges: Ranges, count: int) -> None:
        self.ranges, self.count = ranges, count
        self._words = [work, argument, str(max(1, threads() // count)), str(os.getpid())]
        self._workers: list[_Worker] = []
        self._seen = selectors.DefaultSelector()

    def run(self) -> Iterator[Heard]:
        """Yield what is heard of the ranges until all are through or given up."""
        with self._seen:
            try:
                while self._filled():
                    for key, _ in self._seen.select(LOOK):
                        yield from self._hear(key.data)
                    self._end_silent()
            finally:
                for worker in self._workers:
                    worker.process.kill()
                for worker in self._workers:
                    worker.end()

    def _filled(self) -> bool:
        """Give each idle child a range, start those that are missing, and return whether any is at work."""
        idle = [worker for worker in self._workers if worker.index < 0]
        while self.ranges.todo and (idle or len(self._workers) < self.count):
            (idle.pop() if idle else self._started()).give(self.ranges.begin())
        return any(worker.index >= 0 for worker in self._workers)

    def _started(self) -> _Worker:
        command = [sys.executable or "python", "-c", PROGRAM, json.dumps(sys.path), *self._words]
        seat = vacant(worker.seat for worker in self._workers)
        env = {"GOMP_SPINCOUNT": SPINS, **seated(seat), "OMP_NUM_THREADS": self._words[2]}
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        try:
            process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, env=env, start_new_session=True)
        except OSError as error:
            hint = "close other programs, or start fewer processes: --launch local:N"
            raise MachineError(f"no process can be started: {error.strerror}", code="no-process", hint=hint) from error
        worker = _Worker(process, seat, Silence(time.monotonic()))
        self._workers.append(worker)
        self._seen.register(process.stdout, selectors.EVENT_READ, worker)  # type: ignore[arg-type]
        return worker

    def _hear(self, worker: _Worker) -> Iterator[Heard]:
        assert worker.process.stdout is not None
        data = os.read(worker.process.stdout.fileno(), 1 << 16)
        *lines, worker.heard = (worker.heard + data).split(b"\n")
        for line in lines:
            worker.silence.broken()
            heard = self.ranges.heard(worker.index, said := json.loads(line), workers=self.count)
            if heard.whole or "failed" in said:
                worker.index = -1
            yield heard
        if data:
            return
        self._seen.unregister(worker.process.stdout)
        self._workers.remove(worker)
        status = worker.end()
        if worker.index >= 0:
            yield self.ranges.lost(worker.index, worker.why or _end(status), workers=self.count)

    def _end_silent(self) -> None:
        """End the children that are silent for too long: their ranges are then lost, and begun again."""
        for worker in self._workers:
            patience = self.ranges.patience(worker.index, worker.silence.slowest)
            if worker.index >= 0 and not worker.why and worker.silence.too_long(patience):
                worker.why = f"its process was silent for {time.monotonic() - worker.silence.since:.0f} s"
                worker.process.kill()


def local(work: str, argument: str, ranges: Ranges, count: int) -> Iterator[Heard]:
    """Yield what is heard of ranges that `count` child processes carry out; they end with this generator.

    Raises as `spread` does, and `UsageError` (no-workers) on Windows.
    """
    if os.name == "nt":  # whose pipes cannot be waited for
        raise UsageError("several processes at a time need Linux or macOS", code="no-workers", hint="leave --launch out")
    yield from _Crew(work, argument, ranges, min(count, max(1, len(ranges.todo)))).run()


def _end(status: int) -> str:
    """Return how a process ended."""
    if status >= 0:
        return f"its process ended with status {status}"
    killed = -status == getattr(signal, "SIGKILL", 9)
    return f"its process was ended by signal {-status}" + (": too little memory, perhaps" if killed else "")


def main() -> None:
    """Carry out ranges, one a line of stdin, and write what is to be told of them, a line of JSON each, to stdout."""
    work, argument, threads, parent = sys.argv[1:5]
    end_without(int(parent))
    told, sys.stdout = sys.stdout, sys.stderr
    with events.listen(alone=True):
        for line in sys.stdin:
            for message in messages(work, argument, int(line), int(threads)):
                told.write(json.dumps(message) + "\n")
                told.flush()
