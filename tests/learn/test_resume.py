"""What `--resume` promises: the weights of the run that nobody disturbed, wherever it was cut."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import beholder
from beholder.base import events
from beholder.base.errors import Interrupted
from beholder.base.files import file_sha256
from beholder.learn import checkpoint, loop, prepare, run
from beholder.learn.checkpoint import Due, RunFolder

FIELDS: dict[str, Any] = {
    "net": "cnn",
    "width": 0.25,
    "optimiser": "muon",
    "epochs": 4,
    "batch": 8,
    "averaging": 0.9,
    "mixup": 0.3,
    "augment": "strong",
    "precision": "bf16",
    "dropout": 0.1,
    "seed": 3,
}


class Killed(BaseException):
    """Stands for the end of the process: nothing of Beholder catches it."""


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after every step, and batches that are read ahead rather than resident."""
    monkeypatch.setattr(Due, "__bool__", lambda self: True)
    monkeypatch.setattr(prepare, "free_memory", lambda on: 0)


def weights(path: Path) -> str:
    return file_sha256(path / "model.safetensors")


def rows(path: Path) -> list[dict[str, Any]]:
    """The history without its seconds."""
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in beholder.load(path).history]


def mid_epoch(patch: pytest.MonkeyPatch) -> Callable[[events.Event], None]:
    def at(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 5:
            raise Killed

    return at


def edge(patch: pytest.MonkeyPatch) -> Callable[[events.Event], None]:
    def at(event: events.Event) -> None:
        if event.message.startswith("epoch 2:"):
            raise Killed

    return at


def validating(patch: pytest.MonkeyPatch) -> Callable[[events.Event], None]:
    real, calls = run.validate, []

    def cut(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise Killed
        return real(*given, **options)

    patch.setattr(run, "validate", cut)
    return lambda event: None


def saving(patch: pytest.MonkeyPatch) -> Callable[[events.Event], None]:
    real, calls = os.fsync, []

    def cut(descriptor: int) -> None:
        calls.append(1)
        if len(calls) == 30:
            raise Killed
        real(descriptor)

    patch.setattr(os, "fsync", cut)
    return lambda event: None


@pytest.mark.parametrize(("before", "after"), [(0, 0), (2, 4), (4, 2)])
@pytest.mark.parametrize("moment", [mid_epoch, edge, validating, saving])
def test_a_run_that_was_cut_ends_in_the_same_bits(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None, moment: Any, before: int, after: int
) -> None:
    whole, out = tmp_path / "whole.beholder", tmp_path / "cut.beholder"
    beholder.train(parts, out=whole, **FIELDS)
    with monkeypatch.context() as patch, events.listen(moment(patch), alone=True), pytest.raises(Killed):
        beholder.train(parts, out=out, workers=before, **FIELDS)
    assert not out.exists()
    state, _ = RunFolder.beside(out).load()
    assert 0 < state["clock"]["step"] < 12
    beholder.train(parts, out=out, resume=True, workers=after, **FIELDS)
    assert weights(out) == weights(whole)
    assert rows(out) == rows(whole)
    assert {path.name for path in tmp_path.iterdir()} == {"leaves", "whole.beholder", "cut.beholder"}


def test_a_validation_that_takes_too_long_is_broken_off_and_done_by_the_resumed_run(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, out = tmp_path / "whole.beholder", tmp_path / "cut.beholder"
    beholder.train(parts, out=whole, **FIELDS)
    real, calls = run.validate, []

    def asked(*given: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(run, "validate", asked)
        patch.setattr("beholder.machine.stop.PATIENCE", -1.0)
        with pytest.raises(Interrupted) as caught:
            beholder.train(parts, out=out, **FIELDS)
    assert caught.value.exit_code == 143
    state, _ = RunFolder.beside(out).load()
    assert (state["at"]["epoch"], state["at"]["start"], len(state["at"]["history"])) == (1, 3, 1)
    assert len(beholder.load(out).history) == 1, "the best so far is that of the first epoch"
    beholder.train(parts, out=out, resume=True, **FIELDS)
    assert weights(out) == weights(whole)
    assert rows(out) == rows(whole)


def test_the_last_validation_is_not_lost_with_a_kill_before_it(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eager: None
) -> None:
    whole, out = tmp_path / "whole.beholder", tmp_path / "cut.beholder"
    fields = {**FIELDS, "epochs": 1}
    beholder.train(parts, out=whole, **fields)
    with monkeypatch.context() as patch:
        patch.setattr(loop.Run, "_validate", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            beholder.train(parts, out=out, **fields)
    beholder.train(parts, out=out, resume=True, **fields)
    assert rows(out) == rows(whole)
    assert weights(out) == weights(whole)


def test_minutes_and_precision_may_change_in_between_and_the_latter_is_said(parts: beholder.Parts, tmp_path: Path) -> None:
    out = tmp_path / "cut.beholder"

    def at(event: events.Event) -> None:
        if event.message == "training" and event.fields["done"] == 4:
            os.kill(os.getpid(), signal.SIGINT)

    with events.listen(at, alone=True), pytest.raises(Interrupted):
        beholder.train(parts, out=out, **FIELDS)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        bundle = beholder.train(parts, out=out, resume=True, **{**FIELDS, "precision": "fp32", "minutes": 5})
    warned = [event.message for event in heard if event.kind == "warn"]
    assert any("precision bf16 → fp32" in words and "bits may differ" in words for words in warned)
    assert any(event.message.startswith("resumed at step 4 of") for event in heard)
    assert bundle.history[-1]["epoch"] == 4


def test_a_checkpoint_is_never_dearer_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(checkpoint.time, "monotonic", lambda: now[0])
    due = Due(20.0, share=0.02)
    assert not due
    now[0] += 20
    assert due
    with due.timed():
        now[0] += 0.1
    now[0] += 19.9
    assert not due
    now[0] += 0.1
    assert due
    with due.timed():
        now[0] += 3.0
    now[0] += 149
    assert not due
    now[0] += 1
    assert due


def test_long_epochs_are_kept_every_so_many_seconds(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint, "WRITE_EVERY", 0.05)
    monkeypatch.setattr(Due, "__init__", lambda self, every: self.__dict__.update(_every=every, _share=1e9, _next=0.0))
    steps: list[int] = []
    real = RunFolder.save
    monkeypatch.setattr(RunFolder, "save", lambda self, *given: (steps.append(given[0]["at"]["start"]), real(self, *given))[1])
    slow = lambda event: time.sleep(0.03) if event.message == "training" else None  # noqa: E731
    with events.listen(slow, alone=True):
        beholder.train(parts, out=tmp_path / "m.beholder", **{**FIELDS, "batch": 2, "epochs": 1})
    assert any(0 < start < 12 for start in steps), "inside the epoch"
