"""Profiling: exclusive wall-clock seconds per named span. Off by default, and then almost free.

>>> with recorded() as ledger:
...     with span("decode"):
...         pass
>>> sorted(ledger.seconds)
['decode']
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from types import TracebackType

NAMES = ("start", "decode", "audit", "augment", "forward", "backward", "optimiser", "evaluate", "save", "stall")
"""The spans of a run, in the order in which a table shows them; what lies in none of them is "other"."""


class Ledger:
    """Seconds by span. A moment belongs to the innermost open span only, so the spans and "other" sum to the wall time.

    began: `time.monotonic()` from which the wall time counts, what lies before now being "start"; default now
    """

    def __init__(self, *, began: float | None = None, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._at = now()
        self._began = self._at if began is None else began
        self._open: list[str] = []
        self.seconds: dict[str, float] = {} if began is None else {"start": self._at - began}
        self.settle: Callable[[], None] = lambda: None
        """Called at each edge: on a device that works asynchronously it waits, so that spans show work and not launches."""

    @property
    def wall(self) -> float:
        """Return the seconds since the ledger began."""
        return self._now() - self._began

    def enter(self, name: str) -> None:
        """Open a span inside the one that is open."""
        self._charge()
        self._open.append(name)

    def leave(self) -> None:
        """Close the innermost span."""
        self._charge()
        self._open.pop()

    def table(self) -> dict[str, float]:
        """Return seconds by span so far, those of `NAMES` first, "other" (the rest of the wall time) last."""
        self._charge()
        order = [*(name for name in NAMES if name in self.seconds), *sorted(self.seconds.keys() - {*NAMES, "other"})]
        rows = {name: self.seconds[name] for name in order}
        return {**rows, "other": self._at - self._began - sum(rows.values())}

    def _charge(self) -> None:
        self.settle()
        now = self._now()
        name = self._open[-1] if self._open else "other"
        self.seconds[name] = self.seconds.get(name, 0.0) + now - self._at
        self._at = now


class _Span:
    """An open span of a ledger."""

    __slots__ = ("_ledger", "_name")

    def __init__(self, ledger: Ledger, name: str) -> None:
        self._ledger, self._name = ledger, name

    def __enter__(self) -> None:
        self._ledger.enter(self._name)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ledger.leave()


_OFF: AbstractContextManager[None] = nullcontext()
_ledger: ContextVar[Ledger | None] = ContextVar("beholder_ledger", default=None)


def current() -> Ledger | None:
    """Return the ledger that is being kept; None in threads, whose work overlaps with that of the one that waits for them."""
    return _ledger.get()


def span(name: str) -> AbstractContextManager[None]:
    """Return a context whose time counts as `name`, less that of the spans inside it. Must not hold a `yield`."""
    ledger = _ledger.get()
    return _OFF if ledger is None else _Span(ledger, name)


@contextmanager
def recorded(*, began: float | None = None) -> Iterator[Ledger]:
    """Keep a ledger inside the block. `began`: `time.monotonic()` from which its wall time counts; default now."""
    ledger = Ledger(began=began)
    token = _ledger.set(ledger)
    try:
        yield ledger
    finally:
        _ledger.reset(token)
