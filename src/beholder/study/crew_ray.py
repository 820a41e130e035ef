"""Slices in tasks of a Ray cluster whose machines share a disk; one that is lost is begun again from its checkpoint."""

from __future__ import annotations

import _thread
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from beholder.base import events
from beholder.base.errors import BeholderError, UsageError
from beholder.base.files import write_atomic
from beholder.machine.cluster import at_hand, check_cluster, connected
from beholder.machine.cpu import threads as cores
from beholder.machine.device import device, free_memory
from beholder.machine.workers import beside
from beholder.study import worker
from beholder.study.crew import ENDING, LOSSES, TRIES, Given, halved
from beholder.study.search import Job, Slice
from beholder.study.trial import Field

TOKEN = "shared.txt"
"""The file that says to a worker that its folder is that of the search, and that the search goes on."""

SEEN, LOOK = 10.0, 0.5
"""Seconds in which a file that was written is to be seen by every machine, and between two looks for it or at it."""

BUSY = 30.0
"""Seconds after which it is said that no task of the search has come to its end, as the cluster may have no room for one."""


@dataclass(eq=False)
class Tasks:
    """A crew of `count` tasks at a time, each with `cpus` cores and `gpus` GPUs.

    folder: of the study; batch: of the recipe as it is, half of which a candidate is given that ran out of memory
    """

    ray: ModuleType
    folder: Path
    batch: int
    count: int
    cpus: int = 1
    gpus: int = 0
    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    _doing: dict[Any, Given] = field(default_factory=dict)
    _again: list[Given] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "max_retries": 0}
        self._task = self.ray.remote(**options)(advance)

    def run(self, jobs: Iterator[Job], took: Callable[[Job, Slice], None]) -> None:
        """Carry out the jobs, each asked for when a task is free, and tell what came of each.

        A job whose task is lost is begun again. Raises what `advance` raises on a machine that cannot take part, and
        `MachineError` (lost-head) where the cluster is lost.
        """
        said, heard = False, time.monotonic()
        write_atomic(self.folder / TOKEN, self.token.encode())
        try:
            while self._filled(jobs):
                ready, _ = self.ray.wait(list(self._doing), num_returns=1, timeout=LOOK)
                check_cluster()
                heard = time.monotonic() if ready else heard
                if not said and time.monotonic() - heard > BUSY:
                    events.note(f"waiting for trials on the cluster, {len(self._doing)} at a time")
                    said = True
                for ref in ready:
                    self._hear(ref, took)
        finally:
            self._leave()

    def _filled(self, jobs: Iterator[Job]) -> bool:
        """Have as many tasks as there may be, as long as there are jobs, and return whether there is any."""
        while len(self._doing) < self.count:
            job = None if self._again else next(jobs, None)
            if job is None and not self._again:
                break
            given = Given(job) if job is not None else self._again.pop()
            self._doing[self._task.remote(str(self.folder.resolve()), self.token, asdict(given.job), self.cpus)] = given
        return bool(self._doing)

    def _hear(self, ref: Any, took: Callable[[Job, Slice], None]) -> None:
        given, lost = self._doing.pop(ref), self.ray.exceptions
        try:
            took(given.job, Slice.of(self.ray.get(ref)))
            return
        except lost.OutOfMemoryError:
            half = self.batch if halved(self.folder, given.job) else 0
            again = given.again("its machine ran out of memory", most=TRIES, half=half)
        except lost.RayTaskError as error:
            if isinstance(error.cause, BeholderError):
                raise error.cause from None
            again = Slice(failed=f"{type(error.cause).__name__}: {error.cause}")
        except lost.RayError as error:
            check_cluster(error)
            again = given.again(f"its worker was lost ({type(error).__name__})", most=LOSSES)
        if isinstance(again, Slice):
            took(given.job, again)
        else:
            self._again.append(again)

    def _leave(self) -> None:
        """Have what is under way keep its checkpoint and end, which the token's absence tells it.

        Ray's own `cancel` is not called: of a task that ends at that moment it may end the process that asked.
        """
        (self.folder / TOKEN).unlink(missing_ok=True)
        with at_hand() as there:
            if self._doing and there:
                self.ray.wait(list(self._doing), num_returns=len(self._doing), timeout=ENDING)
        self._doing.clear()


@contextmanager
def tasks(folder: Path, count: int, batch: int) -> Iterator[Tasks]:
    """Yield a crew of `count` tasks, 0: as many as the cluster has GPUs, or else cores.

    Raises what `connected` raises.
    """
    with connected() as ray:
        room = ray.cluster_resources()
        cpus, gpus = max(1, int(room.get("CPU", 1))), int(room.get("GPU", 0))
        each = max(1, cpus // gpus) if gpus else 1
        yield Tasks(ray, folder, batch, count or gpus or cpus, each, min(1, gpus))


def advance(folder: str, token: str, job: Mapping[str, Any], threads: int) -> dict[str, Any]:
    """Carry out a job on the machine that this is called on, and return what it gave: what a task does.

    Raises `UsageError` (not-shared) where the folder of the study is not that of whoever asked, and what `worker.read` raises.
    """
    torch.set_num_threads(threads)
    memory = free_memory(device()) // (3 * max(1, cores() // threads) * 2**20)
    try:
        with events.listen(alone=True), _watched(Path(folder) / TOKEN, token):
            return asdict(worker.shared(_read(folder, token), Job(**job), threads, max(1, memory)))
    except KeyboardInterrupt:
        return asdict(Slice(failed="the search was left"))


@contextmanager
def _watched(file: Path, token: str) -> Iterator[None]:
    """Interrupt this process, as Ctrl-C would, once the search is left, and end it where that does not suffice."""

    def watch(over: threading.Event) -> None:
        while _holds(file, token) is not False:
            if over.wait(LOOK):
                return
        _thread.interrupt_main()
        if not over.wait(ENDING):
            os._exit(1)

    _check_shared(file, token)
    with beside(watch):
        yield


@lru_cache(maxsize=1)
def _read(folder: str, token: str) -> Field:
    """Return what slices are tried on, which a process of Ray keeps for its next task."""
    return worker.read(Path(folder))


def _check_shared(file: Path, token: str, *, now: Callable[[], float] = time.monotonic) -> None:
    """Raise `UsageError` (not-shared) where a file is not seen that whoever asked has written."""
    until = now() + SEEN
    while not _holds(file, token):
        if now() > until:
            break
        time.sleep(LOOK)
    else:
        return
    hint = "give --out on a disk that every machine of the cluster has at the same path"
    raise UsageError(f"a machine of the cluster does not see {file.parent}", code="not-shared", hint=hint)


def _holds(file: Path, token: str) -> bool | None:
    """Return whether a file holds the token; None where the disk does not answer."""
    try:
        return file.read_text("ascii") == token
    except (FileNotFoundError, UnicodeDecodeError):
        return False
    except OSError:
        return None
