"""Events: everything else emits them; sinks show or store them.

An event is a name and plain fields, in which numbers are numbers: only sinks make sentences of it (`base/sentences.py`). It is
emitted by one of `step`, `note`, `warn`, `progress`, `figures`; a sink is any function that takes an `Event` (`base/sinks.py`).
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field

from beholder.base.sentences import sentence


@dataclass(frozen=True)
class Event:
    """One thing that happened. `kind`: step | note | warn | progress | figures (which no console shows).

    name:   of a row of `SENTENCES`, of the task whose progress it is, or the sentence itself where nothing is counted
    fields: plain values; times in seconds, rates in pictures per second, scores and shares in 0..1
    time:   seconds since the epoch
    """

    kind: str
    name: str
    fields: Mapping[str, object] = field(default_factory=dict)
    time: float = field(default_factory=time.time)

    @property
    def message(self) -> str:
        """Return what the event says, as a sentence."""
        return sentence(self.name, self.fields)


Sink = Callable[[Event], None]

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
def only(*kinds: str, but: str = "") -> Iterator[None]:
    """Inside the block, only events of these kinds reach the sinks that listen: for work that is a detail of other work.

    but: the name of those that do not reach them all the same
    """
    outer = _current()

    def sink(event: Event) -> None:
        if event.kind in kinds and event.name != (but or None):
            for each in outer:
                each(event)

    with listen(sink, alone=True):
        yield


def _current() -> tuple[Sink, ...]:
    sinks = _sinks.get()
    if sinks is None:
        sinks = (importlib.import_module("beholder.base.sinks").usual(),)  # by name, as sinks know events
        _sinks.set(sinks)
    return sinks


def emit(event: Event) -> None:
    """Hand an event to every sink that listens."""
    for sink in _current():
        sink(event)


def step(number: int, title: str, what: str = "") -> None:
    """Say that step `number` of the six has begun."""
    emit(Event("step", "step", {"number": number, "title": title, "what": what}))


def note(name: str, **fields: object) -> None:
    """Say a decision with its reason, or another fact that a person would want to know."""
    emit(Event("note", name, fields))


def warn(name: str, *, hint: str = "", **fields: object) -> str:
    """Say that something is not as it should be, though the work goes on; return `name`, for the notes."""
    emit(Event("warn", name, {"hint": hint, **fields}))
    return name


def progress(task: str, done: int, total: int, **figures: float) -> None:
    """Say how far a long task is: `done` of `total` (0: unknown), with figures such as pictures per second."""
    emit(Event("progress", task, {"done": done, "total": total, **figures}))


def figures(name: str, **fields: object) -> None:
    """Hand out numbers that no sentence is made of here, as the verb returns them."""
    emit(Event("figures", name, fields))
