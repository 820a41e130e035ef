"""What a run would do, before it does it: its steps with the time that each should take, memory, disk, and what is written."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from beholder.base.brief import within

FACTOR = 2.0
"""By so much a prediction of seconds may be wrong, either way; docs/CLI.md has what was measured."""


@dataclass(frozen=True)
class Step:
    """One step of a run. n: pictures that it is about; seconds: predicted, NaN where it cannot be told."""

    step: str
    what: str
    n: int
    seconds: float

    @property
    def low(self) -> float:
        """Return the seconds that it should take at least."""
        return self.seconds / FACTOR

    @property
    def high(self) -> float:
        """Return the seconds that it should take at most."""
        return self.seconds * FACTOR

    def row(self) -> dict[str, object]:
        """Return the step as a row of a table."""
        return {"step": self.step, "what": self.what, "pictures": self.n, "seconds": told(self.seconds)}

    def json(self) -> dict[str, Any]:
        """Return the step as plain JSON values."""
        return {**asdict(self), "low": self.low, "high": self.high}


@dataclass(frozen=True)
class DryRun:
    """A plan that was not carried out.

    verb: train | tune | generate | detect; parts: pictures by part, before duplicates and unreadable ones are left out
    net, pixels: in words; minutes: the budget, 0 without one; memory: bytes at the peak, 0 where the system does not say
    disk: bytes that would be kept, by what; writes: paths that would be written; notes: what the plan takes for granted
    """

    verb: str
    source: str
    parts: Mapping[str, int]
    net: str
    pixels: str
    minutes: float
    steps: tuple[Step, ...]
    memory: int
    disk: Mapping[str, int]
    writes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    @property
    def seconds(self) -> float:
        """Return the seconds that all should take; with a budget no more than that."""
        total = math.fsum(step.seconds for step in self.steps if math.isfinite(step.seconds))
        return min(total, 60 * self.minutes) if self.minutes else total

    @property
    def high(self) -> float:
        """Return the seconds that all should take at most."""
        return min(FACTOR * self.seconds, 60 * self.minutes) if self.minutes else FACTOR * self.seconds

    def __repr__(self) -> str:
        return within("DryRun", [self.verb, self.net, f"{told(self.seconds)} s"])

    def json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values; seconds, bytes."""
        return {
            **{"dry_run": True, "verb": self.verb, "source": self.source, "parts": dict(self.parts), "net": self.net},
            **{"pixels": self.pixels, "minutes": self.minutes, "steps": [step.json() for step in self.steps]},
            "seconds": {"value": self.seconds, "low": self.seconds / FACTOR, "high": self.high, "factor": FACTOR},
            **{"memory": self.memory or None, "disk": dict(self.disk), "writes": list(self.writes), "notes": list(self.notes)},
        }

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {n:,}" for name, n in self.parts.items())
        rows = [f"{step.step:<11} {told(step.seconds):>8} s  {step.what} ({step.n:,} pictures)" for step in self.steps]
        budget = f", of the {self.minutes:g} minutes given" if self.minutes else ""
        total = f"about {told(self.seconds)} s in all{budget}; {told(self.seconds / FACTOR)} to {told(self.high)} s"
        disk = ", ".join(f"{name} {size(n)}" for name, n in self.disk.items())
        peak = f"memory: about {size(self.memory)} at the peak" if self.memory else "memory: this system does not say"
        where = ["nothing was written; a run would write:", *(f"  {path}" for path in self.writes)]
        head = [f"{self.verb} {self.source}: {parts}", f"net: {self.net}; pixels: {self.pixels}", ""]
        return "\n".join([*head, *rows, "", total, peak, f"disk: {disk}", *where, *(f"note: {note}" for note in self.notes)])


def told(seconds: float) -> str:
    """Return seconds as people read them: two digits below 100.

    >>> told(0.1234), told(7.123), told(61.4), told(math.nan)
    ('0.12', '7.1', '61', '?')
    """
    if not math.isfinite(seconds):
        return "?"
    return f"{seconds:,.0f}" if seconds >= 10 else f"{seconds:.2g}"


def size(n: int) -> str:
    """Return bytes as people read them.

    >>> size(800), size(12_300_000), size(5 << 30)
    ('1 kB', '12 MB', '5.4 GB')
    """
    if n >= 1_000_000_000:
        return f"{n / 1e9:.1f} GB"
    return f"{n / 1e6:.0f} MB" if n >= 1_000_000 else f"{math.ceil(n / 1e3)} kB"
