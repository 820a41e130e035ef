"""A search that other machines take part in by way of files: jobs, results and signs of life lie in the study's folder.

Each of the others has three files there, which it makes itself: NAME.alive, which changes every few seconds, NAME.job and
NAME.done. Whoever leads deletes them once it takes the other for lost, which tells the other so, should it still be there. No
clock is compared with that of another machine: a file has changed, or it has not, for so many seconds of one's own clock.
"""

from __future__ import annotations

import contextvars
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.base.files import write_atomic
from beholder.study.crew import LOSSES, Given, halved
from beholder.study.search import Crew, Job, Slice

LOOK, BEAT, LOST = 0.25, 2.0, 60.0
"""Seconds between two looks into the folder, between two signs of life, and without one until a machine counts as lost."""

FENCE = 4 * BEAT
"""Seconds that whoever leads again waits, so that the others have noticed and ended what they were at."""


def study_at(out: Path, ending: str = "") -> Path:
    """Return where a search is kept, beside its bundle: M.tune beside M.beholder, and M.tune with an ending."""
    return out.with_name(f"{out.name.removesuffix('.beholder')}.tune{ending}")


def folder_of(study: Path) -> Path:
    """Return where the files of those that take part lie, given the folder of a study."""
    return study / "crew"


def said(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file; {} where there is none, or none as yet."""
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def say(path: Path, what: Mapping[str, Any]) -> None:
    """Put a JSON object into a file, whole."""
    write_atomic(path, json.dumps(what).encode())


@dataclass
class Signs:
    """When files changed last, by one's own clock, `now`, in seconds."""

    now: Callable[[], float]
    _seen: dict[Path, tuple[bytes, float]] = field(default_factory=dict)

    def silence(self, path: Path) -> float:
        """Return the seconds since a file was seen to change, or was looked at first; of no file, infinity."""
        try:
            found = path.read_bytes()
        except OSError:
            self._seen.pop(path, None)
            return float("inf")
        before, when = self._seen.get(path, (None, 0.0))
        if found != before:
            when = self.now()
            self._seen[path] = (found, when)
        return self.now() - when


@dataclass(eq=False)
class Shared:
    """A crew beside which whoever joins carries out jobs, too.

    own: the crew of this process; folder: of the study; batch: of the recipe as it is
    offer: writes what the others need, once the first is there; it may raise `UsageError` where they cannot take part
    """

    own: Crew
    folder: Path
    batch: int
    offer: Callable[[], None]
    now: Callable[[], float] = time.monotonic
    _at: dict[str, tuple[Given, int]] = field(default_factory=dict)
    _again: list[Given] = field(default_factory=list)
    _jobs: Iterator[Job] = field(default_factory=lambda: iter(()))
    _took: Callable[[Job, Slice], None] = lambda *_: None
    _lock: Any = field(default_factory=threading.RLock)
    _wrong: list[Exception] = field(default_factory=list)
    _refused: str | None = None
    _beat: float = 0.0

    def __post_init__(self) -> None:
        self._signs, self._keys = Signs(self.now), count(1)

    def run(self, jobs: Iterator[Job], took: Callable[[Job, Slice], None]) -> None:
        """Carry out the jobs, here and wherever somebody has joined, and tell what came of each."""
        self._jobs, self._took = jobs, took
        done = threading.Event()
        beside = threading.Thread(target=contextvars.copy_context().run, args=(self._serve, done), daemon=True)
        beside.start()
        try:
            while True:
                self.own.run(iter(self._next, None), self._taken)
                with self._lock:
                    self._check()
                    if not self._at and not self._again:
                        break
                done.wait(LOOK)
        finally:
            done.set()
            beside.join()

    def _serve(self, done: threading.Event) -> None:
        try:
            while not done.wait(LOOK):
                self.turn()
        except Exception as error:  # noqa: BLE001  (it is raised where the search is led)
            self._wrong.append(error)

    def _check(self) -> None:
        if self._wrong:
            raise self._wrong[0]

    def _next(self) -> Job | None:
        """Return a job for this machine's own crew."""
        with self._lock:
            self._check()
            given = self._following()
            return None if given is None else given.job

    def _following(self) -> Given | None:
        if self._again:
            return self._again.pop()
        job = next(self._jobs, None)
        return None if job is None else Given(job)

    def _taken(self, job: Job, found: Slice) -> None:
        with self._lock:
            self._took(job, found)

    def turn(self) -> None:
        """Take the results that are there, give jobs to those that are free, and take back those of the lost."""
        folder = folder_of(self.folder)
        names = sorted(path.stem for path in folder.glob("*.alive"))
        there = [name for name in names if self._signs.silence(folder / f"{name}.alive") < LOST]
        if there or self._at:
            self._lead(folder)
        with self._lock:
            for name in list(self._at):
                self._look_after(folder, name, lost=name in names and name not in there, left=name not in names)
            for name in set(names) - set(there):
                _forget(folder, name)
            for name in there if not self._refused else ():
                if name not in self._at and (given := self._following()) is not None:
                    key = next(self._keys)
                    self._at[name] = given, key
                    say(folder / f"{name}.job", {"key": key, "job": asdict(given.job)})

    def _lead(self, folder: Path) -> None:
        """Give a sign of life, with what the others need, or why they cannot take part."""
        if self._refused is None:
            try:
                self.offer()
                self._refused = ""
            except UsageError as error:
                self._refused = error.message
        if self.now() - self._beat >= BEAT or not self._beat:
            self._beat = self.now()
            say(folder / "lead.json", {"beat": self._beat, "refused": self._refused})

    def _look_after(self, folder: Path, name: str, *, lost: bool, left: bool) -> None:
        """Take the result of one that has a job, or have the job done again, if it was lost."""
        given, key = self._at[name]
        found = said(folder / f"{name}.done")
        again: Given | Slice
        if found.get("key") == key and "slice" in found:
            again = Slice.of(found["slice"])
        elif found.get("key") == key:
            half = self.batch if found.get("short") and halved(self.folder, given.job) else 0
            again = given.again(str(found.get("lost")), half=half)
        elif left:
            again = given
        elif lost:
            again = given.again(f"nothing was heard of {name} for {LOST:.0f} s", most=LOSSES)
        else:
            return
        del self._at[name]
        if isinstance(again, Slice):
            self._took(given.job, again)
        else:
            self._again.append(again)


def _forget(folder: Path, name: str) -> None:
    """Delete the files of one that is lost."""
    for ending in ("alive", "job", "done"):
        with suppress(OSError):
            (folder / f"{name}.{ending}").unlink()


def cleared(study: Path, *, wait: Callable[[float], None] = time.sleep) -> None:
    """Take the jobs back that a search which was killed has given away; wait: until those that have them have noticed."""
    files = folder_of(study)
    led = "beat" in said(files / "lead.json")
    (files / "lead.json").unlink(missing_ok=True)
    names = [path.stem for path in files.glob("*.alive")] if led else []
    for name in names:
        _forget(files, name)
    if names:
        events.note(f"{len(names)} others may still work for the search that was ended here: waiting until they have noticed")
        wait(FENCE)


def over(study: Path) -> None:
    """Tell those that take part that the search is over."""
    if folder_of(study).is_dir():
        with suppress(OSError, MachineError):
            say(folder_of(study) / "lead.json", {"over": uuid.uuid4().hex})


@contextmanager
def shared(own: Crew, folder: Path, batch: int, offer: Callable[[], None]) -> Iterator[Shared]:
    """Yield a crew that others may join, as `Shared`, until the block ends."""
    try:
        yield Shared(own, folder, batch, offer)
    finally:
        over(folder)
