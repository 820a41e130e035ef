"""Sinks that hand the numbers of a run to trackers: `tensorboard:FOLDER` and `mlflow:FOLDER_OR_URI[#EXPERIMENT]`.

They are extras (`track`). Each number of an event in `NUMBERS` goes by the name EVENT/FIELD, at the step of training that it
belongs to; the values of the recipe are MLflow's parameters, and a text in TensorBoard.
"""

from __future__ import annotations

import os
import re
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from typing import Any

from beholder.base.brief import without_secrets
from beholder.base.errors import BeholderError, MachineError, UsageError
from beholder.base.events import Event, Sink

NUMBERS = {"training": "step", "epoch": "step", "trial": "trial", "scores": ""}
"""Event → the field that says at which step its numbers are; none: at the last step there was."""

QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
}
"""Of MLflow, unless the person set them: nothing is sent anywhere else, and a server that is gone delays no run for minutes."""


class _Steps:
    """The numbers of events, each with name and step. Progress comes at every step, with figures that change more seldom."""

    def __init__(self) -> None:
        self._last = 0
        self._told = -1

    def of(self, event: Event) -> Iterator[tuple[str, float, int]]:
        """Yield (name, value, step) of each number of an event that is tracked."""
        if event.name not in NUMBERS:
            return
        which = NUMBERS[event.name]
        at = event.fields.get(which, self._last)
        step = int(float(at)) if isinstance(at, Real) else self._last
        if event.kind == "progress":
            if step == self._told:
                return
            self._told = step
        if which == "step":
            self._last = max(self._last, step)
        for name, value in event.fields.items():
            if isinstance(value, Real) and not isinstance(value, bool) and name not in (which, "done", "total"):
                yield f"{event.name}/{name}", float(value), step


class TensorBoard:
    """A sink that writes event files of TensorBoard into a folder. Raises `UsageError` (needs-extra), `MachineError`."""

    def __init__(self, folder: str) -> None:
        with _needing("tensorboard"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorboard  # noqa: F401  (torch's writer names it badly where it is not there)
            from torch.utils.tensorboard import SummaryWriter
        with _opening(folder):
            self._writer = SummaryWriter(folder, flush_secs=10)
        self._steps = _Steps()

    def __call__(self, event: Event) -> None:
        """Write the numbers of one event."""
        if event.name == "recipe":
            rows = "\n".join(f"| {name} | `{value}` |" for name, value in _values(event).items())
            self._writer.add_text("recipe", f"| field | value |\n|---|---|\n{rows}")
        for name, value, step in self._steps.of(event):
            self._writer.add_scalar(name, value, step, walltime=event.time)

    def close(self) -> None:
        """Write what is left, and close the file."""
        self._writer.close()


class MLflow:
    """A sink that makes a run of MLflow: numbers are its metrics, the recipe its parameters.

    Metrics go out together, at most every `EVERY` seconds. The run ends as finished, killed (Ctrl-C) or failed.
    Raises `UsageError` (needs-extra), `MachineError` (tracking) where the store cannot be had.
    """

    EVERY, MOST = 2.0, 900
    """Seconds between two batches of metrics, and metrics of one: MLflow takes a thousand at once."""

    def __init__(self, store: str = "", experiment: str = "") -> None:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        with _needing("mlflow"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow.entities import Metric, Param
            from mlflow.tracking import MlflowClient
        self._kinds: Any = (Metric, Param)
        with _opening(store or "MLflow's own store"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            uri, artifacts = _store(store)
            self._client: Any = MlflowClient(tracking_uri=uri)
            self._run: str = self._began(experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", "beholder"), artifacts)
        self._steps, self._lock, self._sent = _Steps(), threading.Lock(), time.monotonic()
        self._metrics: list[Any] = []
        self._params: dict[str, str] = {}

    def _began(self, experiment: str, artifacts: str | None) -> str:
        found = self._client.get_experiment_by_name(experiment)
        number = found.experiment_id if found else self._client.create_experiment(experiment, artifact_location=artifacts)
        made = self._client.create_run(number, run_name=time.strftime("%Y-%m-%d %H:%M:%S"))
        return str(made.info.run_id)

    def __call__(self, event: Event) -> None:
        """Take the numbers of one event, and send what is due."""
        metric, _ = self._kinds
        if event.name == "recipe":
            self._parameters(_values(event))
        found = [metric(name, value, int(1000 * event.time), step) for name, value, step in self._steps.of(event)]
        with self._lock:
            self._metrics += found
            due = time.monotonic() - self._sent >= self.EVERY or len(self._metrics) >= self.MOST or event.name == "scores"
        if due:
            self._send()

    def _parameters(self, values: Mapping[str, str]) -> None:
        """Log parameters, which MLflow never changes: where another training has others, these are tags, last.NAME."""
        _, param = self._kinds
        new = {name: value for name, value in values.items() if name not in self._params}
        self._params |= new
        self._client.log_batch(self._run, params=[param(name, value) for name, value in new.items()])
        for name, value in values.items():
            if self._params[name] != value:
                self._client.set_tag(self._run, f"last.{name}", value)

    def _send(self) -> None:
        with self._lock:
            metrics, self._metrics, self._sent = self._metrics, [], time.monotonic()
        for start in range(0, len(metrics), self.MOST):
            self._client.log_batch(self._run, metrics=metrics[start : start + self.MOST])

    def close(self) -> None:
        """Send what is left, and end the run."""
        error = sys.exc_info()[1]
        status = "FINISHED" if error is None or not getattr(error, "exit_code", 1) else "FAILED"
        status = "KILLED" if isinstance(error, KeyboardInterrupt) else status
        try:
            self._send()
        finally:
            self._client.set_terminated(self._run, status)


def tensorboard(folder: str) -> Sink:
    """Return the sink that writes for TensorBoard into a folder."""
    if not folder:
        hint = "a folder a run, such as tensorboard:runs/first; then: tensorboard --logdir runs"
        raise UsageError("tensorboard: names no folder", code="bad-value", hint=hint)
    return TensorBoard(str(Path(folder).expanduser()))


def mlflow(store: str) -> Sink:
    """Return the sink that makes a run of MLflow: in a folder, at a tracking URI, or, of nothing, where MLflow itself would."""
    where, _, experiment = store.partition("#")
    return MLflow(where, experiment)


def _store(where: str) -> tuple[str | None, str | None]:
    """Return MLflow's tracking URI and where artifacts go, None for its own choice: a folder holds a database of SQLite."""
    if not where or "://" in where or re.fullmatch(r"databricks(-uc)?(:.*)?", where):
        return where or None, None
    folder = Path(where).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{(folder / 'mlflow.db').as_posix()}", (folder / "artifacts").as_uri()


def _values(event: Event) -> dict[str, str]:
    """Return the recipe of an event as texts, each short enough for a parameter."""
    values = event.fields.get("values")
    return {name: str(value)[:500] for name, value in values.items()} if isinstance(values, Mapping) else {}


@contextmanager
def _needing(library: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        hint = "pip install 'beholder[track]'"
        raise UsageError(f"{library} cannot be imported: {error}", code="needs-extra", hint=hint) from error


@contextmanager
def _opening(store: str) -> Iterator[None]:
    try:
        yield
    except BeholderError:
        raise
    except Exception as error:  # databases, HTTP and file systems raise what they like
        said = next(iter(str(error).splitlines()), "") or type(error).__name__
        hint = "name a folder that may be written to, or a server that answers; docs/TRACKING.md"
        text = without_secrets(f"nothing can be logged to {store}: {said}")
        raise MachineError(text, code="cannot-write", hint=hint) from error
