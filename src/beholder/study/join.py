"""Taking part in a search that another machine leads: jobs are found in the study's folder, and results are left there."""

from __future__ import annotations

import os
import platform
import re
import selectors
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.files import followed, telling_disk_errors
from beholder.machine.stop import check_stop, stopping
from beholder.study.crew import Given, Worker, at_a_time, check_pipes, leave, started
from beholder.study.crew_shared import BEAT, LOOK, Signs, folder_of, said, say, study_at
from beholder.study.search import Job
from beholder.study.worker import read

WAIT = 300.0
"""Seconds that nobody leads the search, after which one that has joined it leaves."""


@dataclass(frozen=True)
class Joined:
    """What was done for a search that another machine leads: the slices that were carried out to their end."""

    slices: int

    def json(self) -> dict[str, int]:
        """Return it as plain JSON values."""
        return {"slices": self.slices}

    def __str__(self) -> str:
        return f"the search is over; this machine carried out {self.slices} slices of trials"


def join(out: str | Path, *, workers: int = 1) -> Joined:
    """Carry out trials of the search that is led at `out` until it is over, `workers` at a time, and return how many slices.

    Raises `UsageError` (no-search) where nobody leads one for `WAIT` seconds, (refused) where others cannot take part in it,
    and what `worker.read` raises where this machine cannot.
    """
    check_pipes()
    workers = at_a_time(workers)
    study = study_at(followed(Path(out)))
    lead, seats = Lead(folder_of(study), time.monotonic), [Seat(study, workers, seat) for seat in range(workers)]
    with telling_disk_errors(study):
        folder_of(study).mkdir(parents=True, exist_ok=True)
    checked = False
    with stopping():
        events.note(f"joining the search at {out}")
        try:
            while lead.goes_on():
                if lead.found and not checked:
                    read(study)
                    checked = True
                for seat in seats:
                    seat.turn(time.monotonic(), work=checked)
                _hear(seats)
                check_stop()
        finally:
            for seat in seats:
                seat.leave()
    return Joined(sum(seat.done for seat in seats))


def _hear(seats: list[Seat]) -> None:
    """Wait a moment for what the processes say."""
    at_work = {seat.worker.process.stdout: seat for seat in seats if seat.worker is not None}
    if not at_work:
        time.sleep(LOOK)
        return
    with selectors.DefaultSelector() as seen:
        for pipe, seat in at_work.items():
            assert pipe is not None
            seen.register(pipe, selectors.EVENT_READ, seat)
        for key, _ in seen.select(LOOK):
            key.data.hear()


@dataclass(eq=False)
class Lead:
    """Who leads the search in a folder; now: the time in seconds; found: whether somebody was seen to lead."""

    folder: Path
    now: Callable[[], float]
    found: bool = False

    def __post_init__(self) -> None:
        self._signs, self._since = Signs(self.now), self.now()
        self._over = said(self.folder / "lead.json").get("over")

    def goes_on(self) -> bool:
        """Return whether the search goes on, as far as is known. Raises `UsageError` (no-search, refused)."""
        file = self.folder / "lead.json"
        what = said(file)
        if refused := what.get("refused"):
            raise UsageError(f"nobody can join the search: {refused}", code="refused", hint="see docs/SCALING.md")
        if "over" in what and what["over"] != self._over:
            return False
        if "beat" in what and self._signs.silence(file) < BEAT:
            self.found, self._since = True, self.now()
        if self.now() - self._since > WAIT:
            hint = "start the same command without --join on another machine, with the same --out on a disk that both see"
            raise UsageError(f"nobody leads a search at {self.folder.parent}", code="no-search", hint=hint)
        return True


@dataclass(eq=False)
class Seat:
    """One of those that take part, and its process.

    study: the folder of the search; count: of processes that share this machine; seat: which of them this one is, from 0
    name: of its files; "" before it has any, and after they were deleted by whoever leads; done: slices carried out
    """

    study: Path
    count: int
    seat: int = 0
    name: str = ""
    worker: Worker | None = None
    key: int = 0
    done: int = 0
    _beat: float = field(default=0.0)

    def _file(self, ending: str) -> Path:
        return folder_of(self.study) / f"{self.name}.{ending}"

    def turn(self, now: float, *, work: bool = True) -> None:
        """Give a sign of life, and take the job that is there; end what is under way, if it is no longer wanted.

        work: whether to take a job
        """
        if self.name and now - self._beat >= BEAT and not self._alive(now):
            self.drop()
        if not self.name:
            self._begin(now)
        if not work or (self.worker is not None and self.worker.given is not None):
            return
        what = said(self._file("job"))
        if what and what["key"] != self.key:
            self.key = what["key"]
            self.worker = self.worker or started(self.study, self.count, self.seat)
            self.worker.give(Given(Job(**what["job"])))

    def _begin(self, now: float) -> None:
        """Make the files of this one, by which whoever leads learns that it is there."""
        machine = re.sub(r"\W", "-", platform.node())[:32]
        self.name, self.key, self._beat = f"{machine}-{os.getpid()}-{uuid.uuid4().hex[:6]}", 0, now
        with telling_disk_errors(self.study):
            folder_of(self.study).mkdir(parents=True, exist_ok=True)
            for ending in ("job", "done", "alive"):
                self._file(ending).write_text("", "ascii")

    def _alive(self, now: float) -> bool:
        """Give a sign of life; return False where the file is gone: whoever leads has given the job to somebody else."""
        self._beat = now
        try:
            with self._file("alive").open("r+") as file:
                file.write(f"{now}\n")
        except FileNotFoundError:
            return False
        return True

    def hear(self) -> None:
        """Take what its process says, and leave the result where whoever leads looks for it."""
        assert self.worker is not None
        found, alive = self.worker.hear()
        if found is not None:
            self.worker.given = None
            self.done += 1
            say(self._file("done"), {"key": self.key, "slice": asdict(found)})
        if not alive:
            worker, self.worker = self.worker, None
            why, short = worker.lost()
            if worker.given is not None:
                say(self._file("done"), {"key": self.key, "lost": why, "short": short})

    def drop(self) -> None:
        """End what is under way at once: it is no longer wanted."""
        if self.worker is not None:
            self.worker.process.kill()
            self.worker.end()
        self.worker, self.name = None, ""

    def leave(self) -> None:
        """Keep the checkpoint of what is under way, and tell whoever leads that its job is to be given to somebody else."""
        if self.worker is not None:
            leave([self.worker])
            self.worker = None
        for ending in ("alive", "job", "done") if self.name else ():
            with suppress(OSError):
                self._file(ending).unlink()
