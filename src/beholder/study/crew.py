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
from beholder.machine.device import apart, device, free_memory
from beholder.machine.memory import shortages
from beholder.machine.workers import raised, seated, vacant
from beholder.study.search import Job, Slice

PROGRAM = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from beholder.study.worker import main; main()"

ENDING = 5.0
"""Seconds that a process has to keep its checkpoint when the search is left."""

TRIES, LOSSES = 2, 4
"""Times that a job is begun whose process dies of it, and one whose machine is lost."""


@dataclass(frozen=True)
class Given:
    """A job that was given to somebody, and how often so far."""

    job: Job
    begun: int = 1

    def again(self, why: str, *, most: int = TRIES, half: int = 0) -> Given | Slice:
        """Return what is given again once whoever had it is lost, or, after `most` times, that there is no result.

        It goes on from its checkpoint. half: of this batch, where memory did not suffice for it; 0: as it was
        """
        if self.begun >= most:
            return Slice(failed=f"{why}, {self.begun} times")
        less = " in half the batch" if half else ""
        events.warn(f"trial {self.job.index + 1}: {why}; it is begun once more{less}")
        if not half:
            return Given(self.job, self.begun + 1)
        recipe = from_toml(self.job.recipe, done=True)
        smaller = recipe.set(batch=max(1, (recipe.train.batch or half) // 2)).toml()
        return Given(replace(self.job, recipe=smaller), self.begun + 1)


@dataclass(eq=False)
class Worker:
    """A process and what it does.

    seat: its number, from 0, by which it takes a GPU
    heard: the beginning of a line of its results; ready: whether it has read the source; wrong: why it could not
    short: how often the system had run out of memory when its job was given
    """

    process: subprocess.Popen[bytes]
    seat: int = 0
    given: Given | None = None
    heard: bytes = b""
    ready: bool = False
    wrong: dict[str, str] | None = None
    short: int | None = None

    def give(self, given: Given) -> None:
        """Let it carry out a job."""
        assert self.process.stdin is not None
        self.given, self.short = given, shortages()
        with suppress(BrokenPipeError):  # that it has died is told where its results are read
            self.process.stdin.write(json.dumps(asdict(given.job)).encode() + b"\n")
            self.process.stdin.flush()

    def hear(self) -> tuple[Slice | None, bool]:
        """Wait for a word of it; return what came of its job, if that is known by now, and whether it is still there."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        *lines, self.heard = (self.heard + data).split(b"\n")
        if lines and not self.ready:
            self.wrong = json.loads(lines.pop(0)).get("error")
            self.ready = self.wrong is None
        found = [Slice.of(json.loads(line)) for line in lines]
        return (found[0] if found else None), bool(data)

    def lost(self) -> tuple[str, bool]:
        """Return why a process that ended did so, and whether it may be that memory did not suffice.

        Raises what kept it from its work, or `MachineError`: (changed) where Beholder, or a net or task of one's own, is not as
        it was when the search began, (no-process) where it did not begin by itself.
        """
        status, more = self.end(), shortages()
        if self.wrong is not None:
            error = raised(self.wrong)
            if error.code != "other-version":
                raise error
            what = f"what the search runs was changed while it ran: {error.message}"
            raise MachineError(what, code="changed", hint="run the same command again: it goes on with what is kept")
        if not self.ready and status >= 0:
            what = f"a process of the search ended before it began, with status {status}"
            raise MachineError(what, code="no-process", hint="leave --workers at 1 to see why")
        short = -status == getattr(signal, "SIGKILL", 9) and (more is None or more != self.short)
        why = f"its process was ended by signal {-status}" if status < 0 else f"its process ended with status {status}"
        return why + (": too little memory, perhaps" if short else ""), short

    def end(self) -> int:
        """Close its pipes and return its exit status."""
        status = self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        return status


def at_a_time(asked: int) -> int:
    """Return how many of so many trials are carried out at a time on this machine, and say where they are fewer.

    On the CPU they share the cores; of GPUs each takes one of its own.
    """
    found = apart(asked)
    if found < asked:
        there, hint = ("is one", "leave --workers at 1") if found == 1 else (f"are {found}", f"give --workers {found}")
        events.warn(f"{asked} trials at a time would take a GPU each, and there {there}: {found} at a time", hint=hint)
    return found


def started(folder: Path, count: int, seat: int) -> Worker:
    """Return process `seat` of `count` that carry out slices of a study. Raises `MachineError` (no-process).

    They share the cores and the memory; of GPUs each has one of its own, which its LOCAL_RANK says.
    """
    on = device()
    sharing = count if on.type == "cpu" else 1
    share, memory = max(1, threads() // count), free_memory(on) // (3 * sharing * 2**20)
    words = [json.dumps(sys.path), str(folder), str(share), str(max(1, memory)), str(os.getpid())]
    command = [sys.executable or "python", "-c", PROGRAM, *words]
    pipe, nowhere, env = subprocess.PIPE, subprocess.DEVNULL, seated(seat)
    try:
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=nowhere, env=env, start_new_session=True)
    except OSError as error:
        hint = "close other programs, or give fewer --workers"
        raise MachineError(f"no process can be started: {error.strerror}", code="no-process", hint=hint) from error
    return Worker(process, seat)


def leave(workers: list[Worker]) -> None:
    """End every process: one that is at work keeps its checkpoint first."""
    for worker in workers:
        with suppress(OSError):
            worker.process.send_signal(signal.SIGTERM)
    for worker in workers:
        with suppress(subprocess.TimeoutExpired):
            worker.process.wait(ENDING)
        worker.process.kill()
        worker.end()
    workers.clear()


def check_pipes() -> None:
    """Raise `UsageError` (no-workers) on Windows, whose pipes cannot be waited for."""
    if os.name == "nt":
        raise UsageError("several trials at a time need Linux or macOS", code="no-workers", hint="leave --workers at 1")


@dataclass(eq=False)
class Processes:
    """A crew of `count` processes that work in the folder of a study.

    batch: of the recipe as it is, half of which a candidate is given that ran out of memory before its first checkpoint
    """

    folder: Path
    count: int
    batch: int
    _workers: list[Worker] = field(default_factory=list)
    _again: list[Given] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_pipes()

    def run(self, jobs: Iterator[Job], took: Callable[[Job, Slice], None]) -> None:
        """Carry out the jobs, each asked for when a process is free, and tell what came of each.

        A job whose process dies is begun once more. Raises `MachineError` (no-process) where none starts.
        """
        with selectors.DefaultSelector() as seen:
            try:
                while self._filled(seen, jobs):
                    for key, _ in seen.select():
                        self._hear(seen, key.data, took)
            finally:
                leave(self._workers)

    def _filled(self, seen: selectors.BaseSelector, jobs: Iterator[Job]) -> bool:
        """Give each free process a job, start those that are missing, and return whether any has one."""
        for worker in [worker for worker in self._workers if worker.given is None]:
            following = self._following(jobs)
            if following is None:
                break
            worker.give(following)
        while len(self._workers) < self.count and (following := self._following(jobs)) is not None:
            worker = started(self.folder, self.count, vacant(worker.seat for worker in self._workers))
            self._workers.append(worker)
            assert worker.process.stdout is not None
            seen.register(worker.process.stdout, selectors.EVENT_READ, worker)
            worker.give(following)
        return any(worker.given is not None for worker in self._workers)

    def _following(self, jobs: Iterator[Job]) -> Given | None:
        if self._again:
            return self._again.pop()
        job = next(jobs, None)
        return None if job is None else Given(job)

    def _hear(self, seen: selectors.BaseSelector, worker: Worker, took: Callable[[Job, Slice], None]) -> None:
        """Take what a process says of its job; begin the job of one that has died once more."""
        found, alive = worker.hear()
        if found is not None and worker.given is not None:
            given, worker.given = worker.given, None
            took(given.job, found)
        if alive:
            return
        assert worker.process.stdout is not None
        seen.unregister(worker.process.stdout)
        self._workers.remove(worker)
        why, short = worker.lost()
        if worker.given is None:
            return
        again = worker.given.again(why, half=self.batch if short and halved(self.folder, worker.given.job) else 0)
        if isinstance(again, Slice):
            took(worker.given.job, again)
        else:
            self._again.append(again)


def halved(folder: Path, job: Job) -> bool:
    """Return whether the batch of a candidate may be halved: it has no checkpoint, which is of the batch that it had."""
    return not job.rung and not (folder / f"{job.index:04}.run" / "checkpoint").exists()
