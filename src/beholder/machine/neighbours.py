"""What other programs take from this one: how long its threads waited for a core, and what the others computed meanwhile."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")


@dataclass(frozen=True)
class Load:
    """Within so many seconds: how many threads of this process were ready and had no core, and how many others computed."""

    seconds: float
    waited: float
    others: float


@dataclass
class Neighbours:
    """Tells what has happened since the last look.

    proc: the folder in which Linux tells; now, own: wall-clock time and CPU time of this process in seconds
    """

    proc: Path = PROC
    now: Callable[[], float] = time.perf_counter
    own: Callable[[], float] = time.process_time
    _at: float = field(init=False)
    _waits: dict[str, float] = field(init=False)
    _others: float = field(init=False)

    def __post_init__(self) -> None:
        self._at, self._waits, self._others = self.now(), dict(self._waited()), self._computed() - self.own()

    def look(self) -> Load | None:
        """Return the load since the last look; None where the system does not tell, as only Linux does."""
        before, known, others = self._at, self._waits, self._others
        self.__post_init__()
        seconds = self._at - before
        if not self._waits or seconds <= 0:
            return None
        waited = sum(value - known.get(thread, 0.0) for thread, value in self._waits.items())
        return Load(seconds, waited, max(0.0, self._others - others))

    def _waited(self) -> Iterator[tuple[str, float]]:
        """Yield the threads of this process, each with the seconds that it has waited for a core."""
        try:
            threads = list((self.proc / "self" / "task").iterdir())
        except OSError:
            return
        for thread in threads:
            try:
                yield thread.name, int((thread / "schedstat").read_text("ascii").split()[1]) / 1e9
            except (OSError, ValueError, IndexError):
                continue  # it has ended

    def _computed(self) -> float:
        """Return the seconds that all cores have computed since the system started; 0 where it does not tell."""
        try:
            ticks = [int(value) for value in (self.proc / "stat").read_text("ascii").split("\n", 1)[0].split()[1:9]]
            return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for a disk
        except (OSError, ValueError, IndexError, AttributeError):
            return 0.0
