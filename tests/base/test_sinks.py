from __future__ import annotations

import io
import json
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import MachineError, UsageError
from beholder.base.events import Event, note, progress
from beholder.base.sentences import SENTENCES, sentence
from beholder.base.sinks import Bar, Console, Notebook, usual


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_numbers_are_numbers_in_a_log_and_sentences_on_a_console(tmp_path: Path) -> None:
    path, stream = tmp_path / "run.jsonl", io.StringIO()
    figures = {"epoch": 2, "loss": 0.25, "valid_loss": float("nan"), "valid_score": np.float32(0.5), "best": True}
    with beholder.listen(path, Console(stream), alone=True):
        note("epoch", **figures)
        progress("training", 3, 10, loss=0.25, rate=1234.5, lr=0.1)
        note("a sentence of its own", table=[{"class": "rust", "pictures": 3}])
        events.figures("scores", accuracy=0.75)
    first, second, third, fourth = lines(path)
    assert (first["name"], first["epoch"], first["loss"], first["valid_loss"]) == ("epoch", 2, 0.25, None)
    assert (first["valid_score"], first["best"], first["kind"]) == (0.5, True, "note")
    assert first["message"] == "epoch 2: loss 0.250, validation loss nan, validation score 0.5000 (best so far)"
    assert (second["name"], second["done"], second["total"], second["lr"]) == ("training", 3, 10, 0.1)
    assert (third["name"], third["message"]) == ("note", "a sentence of its own")
    assert third["table"] == [{"class": "rust", "pictures": 3}]
    assert (fourth["name"], fourth["accuracy"]) == ("scores", 0.75)
    shown = stream.getvalue().splitlines()
    assert shown[:2] == [first["message"], "training 3/10  loss 0.250  1234 pictures/s"]
    assert "0.75" not in stream.getvalue(), "what the verb returns is not said twice"


def test_a_log_is_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "run.jsonl"
    for word in ("one", "two"):
        with beholder.listen(str(path), alone=True):
            note(word)
    assert [line["message"] for line in lines(path)] == ["one", "two"]


def test_a_sink_that_is_not_there_is_refused_before_any_work(tmp_path: Path) -> None:
    for text in ("run.txt", "wandb:runs"):
        with pytest.raises(UsageError) as caught, beholder.listen(text):
            raise AssertionError("the work must not begin")
        assert caught.value.code == "unknown-sink"
        assert ".jsonl" in caught.value.hint
    with pytest.raises(MachineError) as refused, beholder.listen(tmp_path / "absent" / "run.jsonl"):
        raise AssertionError("the work must not begin")
    assert refused.value.code == "cannot-write"


class Refused(Exception):
    """What a library may raise, which no code of Beholder knows."""


@pytest.mark.parametrize("at", ["__call__", "close"])
def test_whatever_a_named_sink_raises_the_run_goes_on(at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Event] = []

    def refuse(sink: Any, *_: object) -> None:
        sink._file.close()
        raise Refused("no such table\nand more")

    monkeypatch.setattr(f"beholder.base.sinks.JsonLines.{at}", refuse)
    with beholder.listen(heard.append, alone=True):
        with beholder.listen(tmp_path / "run.jsonl"):
            note("first")
            note("second")
        note("after")
    assert [event.message for event in heard if event.kind == "note"] == ["first", "second", "after"]
    (warning,) = [event.message for event in heard if event.kind == "warn"]
    assert warning.startswith("--log jsonl: no such table; ")


@pytest.mark.parametrize("sink", [None, 3, ["run.jsonl"]])
def test_what_is_neither_a_function_nor_a_text_is_refused(sink: Any) -> None:
    with pytest.raises(UsageError, match="is no sink") as caught, beholder.listen(sink):
        pass
    assert caught.value.code == "bad-type"
    assert caught.value.hint


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Event] = []

    def full(_sink: object, _event: Event) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("beholder.base.sinks.JsonLines.__call__", full)
    with beholder.listen(tmp_path / "run.jsonl", heard.append, alone=True):
        note("first")
        note("second")
    assert [event.kind for event in heard if event.kind == "warn"] == ["warn"]
    assert [event.message for event in heard if event.kind == "note"] == ["first", "second"]


def test_a_bar_shows_progress_alone() -> None:
    stream = io.StringIO()
    with beholder.listen(Bar(stream), alone=True):
        note("a fact")
        progress("decode", 1, 2)
    assert stream.getvalue() == "decode 1/2\n"


def test_in_a_notebook_progress_changes_in_place(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    shown: list[list[str]] = []
    bars: list[str] = []

    class Handle:
        def update(self, data: dict[str, str], *, raw: bool) -> None:
            shown[-1].append(data["text/plain"])
            bars.append(data["text/html"])

    def display(data: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        shown.append([data["text/plain"]])
        return Handle()

    package = types.ModuleType("IPython")
    package.display = types.SimpleNamespace(display=display)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython", package)
    monkeypatch.setitem(sys.modules, "IPython.display", package.display)
    monkeypatch.setitem(sys.modules, "ipykernel", types.ModuleType("ipykernel"))
    sink = usual()
    assert isinstance(sink, Notebook)
    for done, at in ((0, 0.0), (1, 0.1), (2, 0.3), (3, 0.35)):
        sink(Event("progress", "decode", {"done": done, "total": 3}, at))
    sink(Event("note", "a fact", {}, 1.0))
    sink(Event("progress", "training", {"done": 1, "total": 3}, 2.0))
    assert bars[0] == '<progress max="3" value="2" style="width: 16em"></progress> decode 2/3'
    assert shown == [["decode 0/3", "decode 2/3", "decode 3/3"], ["training 1/3"]]
    assert capsys.readouterr() == ("a fact\n", "")


def test_every_row_of_the_table_of_sentences_can_be_made() -> None:
    numbers = {"left": 1.0, "seconds": 2.0, "after": 3.0, "stall": 1.0, "share": 0.5, "times": 2.0, "threshold": 0.5}
    counts = {
        "epoch": 1,
        "epochs": 2,
        "step": 3,
        "steps": 4,
        "number": 1,
        "n": 5,
        "of": 6,
        "trial": 1,
        "trials": 2,
        "classes": 3,
    }
    scores = {"loss": 0.5, "valid_loss": 0.5, "valid_score": 0.5, "best": False, "threads": 2}
    scores |= {"score": 0.5, "value": 0.5, "low": 0.4, "high": 0.6, "tested": 100, "candidates": 2, "trained": 3}
    words = dict.fromkeys(("title", "what", "engine", "reason", "labels", "path", "outcome"), "w")
    tables = {"rates": {"torch": 10.0}, "params": {"lr": 0.1}, "parts": {"train": 3}}
    for name in SENTENCES:
        said = sentence(name, {**numbers, **counts, **scores, **words, **tables})
        assert said != name
        assert "{" not in said


def test_every_name_is_documented(root: Path) -> None:
    text = (root / "docs" / "EVENTS.md").read_text("utf-8")
    assert [name for name in SENTENCES if f"`{name}`" not in text] == []


def test_a_notebook_leaves_the_filters_of_warnings_as_they_are() -> None:
    before = list(warnings.filters)
    Notebook()
    assert list(warnings.filters) == before
