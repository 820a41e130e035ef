"""Several slices at a time, each in a process of its own, among which cores and memory are divided."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.base.recipe import from_toml
from beholder.machine.cpu import threads
from beholder.machine.device import device, free_memory
from beholder.study.search import Job, Slice

PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from beholder.study.worker import main; main()"

ENDING = 5.0
"""Seconds that a process has to keep its checkpoint when the search is left."""

TRIES = 2
"""Times that a job is begun whose process dies of it."""


@dataclass(eq=False)
class _Worker:
    """A process and what it does.

    heard: the beginning of a line of its results; ready: whether it has read the source; begun: how often its job was begun
    """

    process: subprocess.Popen[bytes]
    job: Job | None = None
    heard: bytes = b""
    ready: bool = False
    begun: int = 0

    def give(self, job: Job, begun: int) -> None:
        """Let it carry out a job."""
        assert self.process.stdin is not None
        self.job, self.begun = job, begun
        with suppress(BrokenPipeError):  # that it has died is told where its results are read
            self.process.stdin.write(json.dumps(asdict(job)).encode() + b"\n")
            self.process.stdin.flush()

    def end(self) -> int:
        """Close its pipes and return its exit status."""
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        return status


@dataclass(eq=False)
class Processes:
    """A crew of `count` processes that work in the folder of a study.

    batch: of the recipe as it is, of which a candidate is given half whose process is killed
    """

    folder: Path
    count: int
    batch: int
    _workers: list[_Worker] = field(default_factory=list)
    _again: list[tuple[Job, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if os.name == "nt":  # whose pipes cannot be waited for
            raise UsageError("several trials at a time need Linux or macOS", code="no-workers", hint="leave --workers at 1")

    def run(self, jobs: Iterator[Job], took: Callable[[Job, Slice], None]) -> None:
        """Carry out the jobs, each asked for when a process is free, and tell what came of each.

        A job whose process dies is begun once more, in half the batch where it was killed. Raises `MachineError` (no-process)
        where none starts.
        """
        with selectors.DefaultSelector() as seen:
            try:
                while self._filled(seen, jobs):
                    for key, _ in seen.select():
                        self._hear(seen, key.data, took)
            finally:
                self._leave()

    def _filled(self, seen: selectors.BaseSelector, jobs: Iterator[Job]) -> bool:
        """Give each free process a job, start those that are missing, and return whether any has one."""
        for worker in [worker for worker in self._workers if worker.job is None]:
            following = self._following(jobs)
            if following is None:
                break
            worker.give(*following)
        while len(self._workers) < self.count and (following := self._following(jobs)) is not None:
            worker = _Worker(self._start())
            self._workers.append(worker)
            assert worker.process.stdout is not None
            seen.register(worker.process.stdout, selectors.EVENT_READ, worker)
            worker.give(*following)
        return any(worker.job is not None for worker in self._workers)

    def _following(self, jobs: Iterator[Job]) -> tuple[Job, int] | None:
        if self._again:
            return self._again.pop()
        job = next(jobs, None)
        return None if job is None else (job, 1)

    def _start(self) -> subprocess.Popen[bytes]:
        share, memory = max(1, threads() // self.count), free_memory(device()) // (3 * self.count * 2**20)
        words = [json.dumps(sys.path), str(self.folder), str(share), str(max(1, memory)), str(os.getpid())]
        command = [sys.executable or "python", "-c", PROGRAM, *words]
        pipe, nowhere = subprocess.PIPE, subprocess.DEVNULL
        try:
            return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, start_new_session=True)
        except OSError as error:
            hint = "close other programs, or give fewer --workers"
            raise MachineError(f"no process can be started: {error.strerror}", code="no-process", hint=hint) from error

    def _hear(self, seen: selectors.BaseSelector, worker: _Worker, took: Callable[[Job, Slice], None]) -> None:
        """Take the lines of a process: first that it is ready, then what its job gave; or that it has died."""
        assert worker.process.stdout is not None
        data = os.read(worker.process.stdout.fileno(), 1 << 16)
        *lines, worker.heard = (worker.heard + data).split(b"\n")
        for line in lines:
            if worker.ready and worker.job is not None:
                job, worker.job = worker.job, None
                took(job, Slice.of(json.loads(line)))
            worker.ready = True
        if not data:
            seen.unregister(worker.process.stdout)
            self._workers.remove(worker)
            self._died(worker, worker.end(), took)

    def _died(self, worker: _Worker, status: int, took: Callable[[Job, Slice], None]) -> None:
        """Begin the job of a process that died once more, or tell why there is no result."""
        if not worker.ready:
            what = f"a process of the search ended before it began, with status {status}"
            raise MachineError(what, code="no-process", hint="leave --workers at 1 to see why")
        job = worker.job
        if job is None:
            return
        killed = -status == getattr(signal, "SIGKILL", 9)
        why = f"its process was ended by signal {-status}" if status < 0 else f"its process ended with status {status}"
        why += ": too little memory, perhaps" if killed else ""
        if worker.begun >= TRIES:
            took(job, Slice(failed=f"{why}, {worker.begun} times"))
            return
        events.warn(f"trial {job.index + 1}: {why}; it is begun once more" + (" in half the batch" if killed else ""))
        recipe = from_toml(job.recipe, done=True)
        smaller = replace(job, recipe=recipe.set(batch=max(1, (recipe.train.batch or self.batch) // 2)).toml())
        self._again.append((smaller if killed and not job.rung else job, worker.begun + 1))

    def _leave(self) -> None:
        """End every process: one that is at work keeps its checkpoint first."""
        for worker in self._workers:
            with suppress(OSError):
                worker.process.send_signal(signal.SIGTERM)
        for worker in self._workers:
            with suppress(subprocess.TimeoutExpired):
                worker.process.wait(ENDING)
            worker.process.kill()
            worker.end()
        self._workers.clear()
