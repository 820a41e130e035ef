"""Sinks: what shows events to a person, or keeps them. Each is a function of one event, or an object that is called with it."""

from __future__ import annotations

import html
import importlib
import io
import json
import math
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from beholder.base import events, sentences
from beholder.base.errors import BeholderError, MachineError, UsageError
from beholder.base.events import Event, Sink
from beholder.base.registry import Registry

SINKS = Registry(
    "sink",
    {
        **{name: f"beholder.base.sinks:{name}" for name in ("console", "bar", "notebook", "jsonl")},
        **{name: f"beholder.machine.tracking:{name}" for name in ("tensorboard", "mlflow")},
    },
)
"""Functions from the text after `NAME:` to a sink; one that has `close` is closed when nobody listens any more."""


class Bar:
    """A sink of progress alone: a line that is redrawn in place on a terminal, unless that is a dumb one (TERM=dumb).

    Elsewhere it is one line at the start of a task, then at most one every `every` seconds, and one at its end.
    """

    def __init__(self, stream: TextIO | None = None, *, every: float = 15.0) -> None:
        self._stream = stream
        self._every = every
        self._open = False
        self._last = ("", 0.0)
        self._asked: tuple[TextIO | None, bool] = (None, False)

    @property
    def stream(self) -> TextIO:
        """Return where it writes: what stderr is at the moment, unless a stream was given."""
        return self._stream or sys.stderr

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind != "progress":
            return
        text, over = sentences.progress(event.name, event.fields), 0 < event.fields["total"] <= event.fields["done"]  # type: ignore[operator]
        if self._redraws():
            self.stream.write("\r\x1b[2K" + text + ("\n" if over else ""))
            self._open = not over
        else:
            task, at = self._last
            if not over and event.name == task and event.time - at < self._every:
                return
            self._last = ("" if over else event.name, event.time)
            self.stream.write(text + "\n")
        self.stream.flush()

    def _redraws(self) -> bool:
        """Return whether a line can be redrawn in place where this writes; asked once for each stream."""
        if self._asked[0] is not self.stream:
            self._asked = (self.stream, self.stream.isatty() and _steers(self.stream))
        return self._asked[1]

    def leave(self) -> None:
        """End the line that is open, so that others can follow."""
        if self._open:
            self.stream.write("\n")
        self._open = False


class Console(Bar):
    """A sink that talks to a person: lines on stderr, and progress as `Bar` shows it."""

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind in ("progress", "figures"):
            super().__call__(event)
            return
        self.leave()
        self.stream.write({"step": "\n", "warn": "warning: "}.get(event.kind, "") + event.message + "\n")
        if event.kind == "warn" and event.fields.get("hint"):
            self.stream.write(f"\nhint: {event.fields['hint']}\n")
        table = event.fields.get("table")
        if isinstance(table, Sequence) and table:
            self.stream.write(_drawn(table))
        self.stream.flush()


def _steers(stream: TextIO) -> bool:
    """Return whether the terminal behind a stream follows escape sequences."""
    from rich.console import Console as Drawing

    terminal = Drawing(file=stream)
    return not (terminal.is_dumb_terminal or terminal.legacy_windows)


def _drawn(rows: Sequence[Mapping[str, object]]) -> str:
    """Return rows that have the same keys as lines of columns, all but the first to the right."""
    from rich.console import Console as Drawing
    from rich.table import Table
    from rich.text import Text

    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for k, name in enumerate(rows[0]):
        shown.add_column(Text(name), justify="right" if k else "left")
    for row in rows:
        shown.add_row(*(Text(f"{value:,}" if isinstance(value, int) else str(value)) for value in row.values()))
    drawing = Drawing(file=io.StringIO(), width=100, color_system=None)
    with drawing.capture() as drawn:
        drawing.print(shown)
    return "".join(f"  {line.rstrip()}\n" for line in drawn.get().splitlines())


class Notebook(Console):
    """A sink for Jupyter: lines on stdout, as a cell shows stderr in red; progress is one output that changes in place."""

    def __init__(self, *, every: float = 0.2) -> None:
        super().__init__(every=every)
        self._shown: Any = None
        with suppress(ImportError), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # once, when it is imported, it misses widgets for bars that nobody needs here
            importlib.import_module("tqdm.auto")

    @property
    def stream(self) -> TextIO:
        """Return what stdout is at the moment."""
        return sys.stdout

    def __call__(self, event: Event) -> None:
        """Show one event."""
        if event.kind != "progress":
            super().__call__(event)
            return
        over, (task, at) = event.fields["done"] == event.fields["total"], self._last
        if event.name == task and event.time - at < self._every and not over:
            return
        self._last = ("" if over else event.name, event.time)
        text, total = sentences.progress(event.name, event.fields), event.fields["total"]
        bar = f'<progress max="{total}" value="{event.fields["done"]}" style="width: 16em"></progress> ' if total else ""
        self._show({"text/plain": text, "text/html": bar + html.escape(text)}, new=event.name != task)

    def _show(self, data: Mapping[str, str], *, new: bool) -> None:
        from IPython.display import display

        if new or self._shown is None:
            self._shown = display(data, raw=True, display_id=True)
        else:
            self._shown.update(data, raw=True)


class JsonLines:
    """A sink that appends to a file: a JSON object an event, {"time", "kind", "name", …fields, "message"}, at once on the disk.

    Numbers stay numbers, null where they are not finite; `name` is the kind where the event is a sentence already. Raises
    `MachineError` (cannot-write).
    """

    def __init__(self, path: str | Path) -> None:
        try:
            self._file = Path(path).open("a", encoding="utf-8", errors="surrogateescape", buffering=1)  # noqa: SIM115
        except OSError as error:
            hint = "name a file in a folder that is there and may be written to"
            raise MachineError(f"{path} cannot be written: {error.strerror}", code="cannot-write", hint=hint) from error

    def __call__(self, event: Event) -> None:
        """Write one event."""
        named = event.name in sentences.SENTENCES or event.kind in ("progress", "figures")
        row = {"time": event.time, "kind": event.kind, "name": event.name if named else event.kind, **event.fields}
        message = sentences.progress(event.name, event.fields) if event.kind == "progress" else event.message
        self._file.write(json.dumps(_plain({**row, "message": message}), ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: numbers that are not finite are null, and what is no JSON is its text."""
    if hasattr(value, "tolist"):
        value = value.tolist()  # of NumPy, or a tensor
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if value is None or isinstance(value, (str, int)) else str(value)


def console(_rest: str = "") -> Sink:
    """Return the sink that talks on stderr."""
    return Console()


def bar(_rest: str = "") -> Sink:
    """Return the sink that shows progress alone."""
    return Bar()


def notebook(_rest: str = "") -> Sink:
    """Return the sink for Jupyter."""
    return Notebook()


def jsonl(path: str) -> Sink:
    """Return the sink that writes JSON lines."""
    return JsonLines(path)


def usual() -> Sink:
    """Return the sink that listens where nobody said otherwise: that of notebooks in one, else the console."""
    return Notebook() if "ipykernel" in sys.modules else Console()


class _Named:
    """A sink that was named in a text: where it fails that is said once, and the work goes on without it."""

    def __init__(self, name: str, rest: str) -> None:
        self._name, self._sink, self._failed = name, SINKS.load(name)(rest), False

    def __call__(self, event: Event) -> None:
        if self._failed:
            return
        try:
            with SINKS.guarded(self._name):
                self._sink(event)
        except Exception as error:  # noqa: BLE001  (whatever a sink raises, the run goes on)
            self._failed = True
            events.warn(f"{self._said(error)}; what follows is not in it")

    def close(self) -> None:
        """Close what can be closed."""
        try:
            with SINKS.guarded(self._name):
                getattr(self._sink, "close", lambda: None)()
        except Exception as error:  # noqa: BLE001  (what has been done is not lost for the log of it)
            if not self._failed:
                events.warn(f"{self._said(error)}; the end of the run may not be in it")

    def _said(self, error: Exception) -> str:
        """Return why a sink failed, in a line."""
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        return error.message if isinstance(error, BeholderError) else f"--log {self._name}: {said}"


def told(text: str | Path) -> tuple[str, str]:
    """Return (name of a sink, what it is given) of a text: NAME:REST of a sink in `SINKS`, or the path of a .jsonl file.

    It opens nothing. Raises `UsageError` (unknown-sink).
    """
    name, colon, rest = str(text).partition(":")
    if colon and name in SINKS:
        return name, rest
    if Path(text).suffix == ".jsonl":
        return "jsonl", str(text)
    hint = f"name a file that ends in .jsonl, or NAME:… of a sink: {', '.join(SINKS)}"
    raise UsageError(f"there is no sink '{text}'", code="unknown-sink", hint=hint)


def named(text: str | Path) -> _Named:
    """Return the sink of a text as `told` takes it. Raises what that raises, and `MachineError` where it cannot be opened."""
    return _Named(*told(text))


@contextmanager
def listen(*sinks: Sink | str | Path, alone: bool = False) -> Iterator[None]:
    """Send events to `sinks` inside the block, beside those already listening or, with `alone`, instead of them.

    sinks: functions of an event (`.kind`, `.name`, `.fields`, `.time`, `.message`); the path of a .jsonl file, to which a JSON
    object is appended for each event; or NAME:REST of a sink of `beholder.sinks`, such as one of a plug-in. `alone` without
    sinks is silence. Raises `UsageError` (unknown-sink, bad-type), `MachineError` (cannot-write).

    >>> import beholder
    >>> heard = []
    >>> with beholder.listen(heard.append, alone=True):
    ...     pictures = beholder.scan(([[[0]], [[255]]], ["dark", "bright"]))
    """
    for sink in sinks:
        if not (callable(sink) or isinstance(sink, (str, Path))):
            hint = "a sink is a function of an event, such as list.append, or a text such as 'run.jsonl'"
            raise UsageError(f"{sink!r} is no sink", code="bad-type", hint=hint)
    with ExitStack() as stack:
        opened = [named(sink) if isinstance(sink, (str, Path)) else sink for sink in sinks]
        for sink in opened:
            if isinstance(sink, _Named):
                stack.callback(sink.close)
        stack.enter_context(events.listen(*opened, alone=alone))
        yield
