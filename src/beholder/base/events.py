"""The only room that reports. Everything else emits events; sinks show or store them.

An event is said by one of `step`, `note`, `warn`, `progress`; a sink is any function that takes an `Event`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TextIO


@dataclass(frozen=True)
class Event:
    """One thing that happened. `kind`: step | note | warn | progress. `time`: seconds since the epoch."""

    kind: str
    message: str
    fields: Mapping[str, object] = field(default_factory=dict)
    time: float = field(default_factory=time.time)


Sink = Callable[[Event], None]


class Console:
    """A sink that talks to a person: lines on stderr, progress redrawn in place on a terminal.

    Off a terminal, progress is one line at the start of a task, then at most one every `every` seconds, and one at its end.
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 15.0) -> None:
        self._stream = stream
        self._every = every
        self._open = False
        self._last = ("", 0.0)

    def __call__(self, event: Event) -> None:
        """Show one event."""
        stream = self._stream or sys.stderr
        if event.kind == "progress":
            self._progress(event, stream)
            return
        if self._open:
            stream.write("\n")
            self._open = False
        stream.write({"step": "\n", "warn": "warning: "}.get(event.kind, "") + event.message + "\n")
        if event.kind == "warn" and event.fields.get("hint"):
            stream.write(f"\nhint: {event.fields['hint']}\n")
        stream.flush()

    def _progress(self, event: Event, stream: TextIO) -> None:
        done, total = int(str(event.fields["done"])), int(str(event.fields["total"]))
        over = total > 0 and done >= total
        text = f"{event.message} {done}/{total}" if total else f"{event.message} {done}"
        figures = event.fields.get("figures")
        if isinstance(figures, Mapping):
            text += "".join(f"  {key} {value}" for key, value in figures.items())
        if stream.isatty():
            stream.write("\r\x1b[2K" + text + ("\n" if over else ""))
            self._open = not over
        else:
            task, at = self._last
            if not over and event.message == task and event.time - at < self._every:
                return
            self._last = ("" if over else event.message, event.time)
            stream.write(text + "\n")
        stream.flush()


_sinks: ContextVar[tuple[Sink, ...] | None] = ContextVar("beholder_sinks", default=None)


@contextmanager
def listen(*sinks: Sink, alone: bool = False) -> Iterator[None]:
    """Send events to `sinks` inside the block, beside those already listening or, with `alone`, instead of them.

    `listen(alone=True)` is silence.
    """
    token = _sinks.set(tuple(sinks) if alone else (*_current(), *sinks))
    try:
        yield
    finally:
        _sinks.reset(token)


@contextmanager
def only(*kinds: str) -> Iterator[None]:
    """Inside the block, only events of these kinds reach the sinks that listen: for work that is a detail of other work."""
    outer = _current()

    def sink(event: Event) -> None:
        if event.kind in kinds:
            for each in outer:
                each(event)

    with listen(sink, alone=True):
        yield


def _current() -> tuple[Sink, ...]:
    sinks = _sinks.get()
    if sinks is None:
        sinks = (Console(),)
        _sinks.set(sinks)
    return sinks


def emit(event: Event) -> None:
    """Hand an event to every sink that listens."""
    for sink in _current():
        sink(event)


def step(number: int, name: str, what: str = "") -> None:
    """Say that step `number` of the six has begun."""
    emit(Event("step", f"[{number}/6] {name}" + (f": {what}" if what else ""), {"number": number, "name": name}))


def note(message: str, **fields: object) -> None:
    """Say a decision with its reason, or another fact that a person would want to know."""
    emit(Event("note", message, fields))


def warn(message: str, *, hint: str = "", **fields: object) -> None:
    """Say that something is not as it should be, though the work goes on."""
    emit(Event("warn", message, {"hint": hint, **fields}))


def progress(task: str, done: int, total: int, **figures: object) -> None:
    """Say how far a long task is: `done` of `total` (0: unknown), with figures such as pictures per second."""
    emit(Event("progress", task, {"done": done, "total": total, "figures": figures}))
