"""Trained candidates: beginnings of runs are compared, and the best one goes on from its checkpoint. No clock is read."""

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.conftest import Draw
from tests.learn.conftest import weights as weights

import beholder
from beholder.base import events, files
from beholder.base.deadline import Deadline
from beholder.base.errors import Interrupted
from beholder.base.files import file_sha256
from beholder.base.recipe import load
from beholder.bundle.config import Tried
from beholder.learn.account import STRONGEST
from beholder.learn.checkpoint import RunFolder
from beholder.learn.loop import Run
from beholder.learn.resumed import parts_kept
from beholder.learn.train import train
from beholder.study import slices
from beholder.study import steps as study
from beholder.study.ladder import SLICE, Ladder, begun_before
from beholder.study.slices import FROM, Room, sliced
from beholder.study.steps import steps

CNN: dict[str, Any] = {"net": "cnn", "batch": 8, "effort": 0.02, "minutes": 20.0, "precision": "fp32", "audit": "off"}
"""150 × 3 × 0.02 epochs, whose plan is done long before the time is up: the share of the schedule is one of the steps."""

HEAD = Tried("head", "a head", 0.5, 10, 1.0, 2.0, "kept")


@pytest.fixture(autouse=True)
def _measured_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of twenty minutes, seconds would go to measuring how long validation takes."""
    monkeypatch.setattr("beholder.learn.budget.SAMPLING", 0.0)


@pytest.fixture
def parts(leaves: Path) -> beholder.Parts:
    return beholder.split(beholder.scan(leaves), seed=0, near=False)


def ladder(**fields: Any) -> Ladder:
    """The ladder of a small net, beside which one of larger pictures stands."""
    recipe = load("quick").set(**{**CNN, **fields})
    return Ladder(recipe, (HEAD,), (recipe.set(size=32),))


def room(left: float = 1200.0, after: float = 0.0) -> Room:
    return Room(Deadline(left, now=lambda: 0.0), time.monotonic(), after)


def trained(parts: beholder.Parts, out: Path, *, resume: bool = False) -> beholder.Bundle:
    """Compare and train, as `steps` does."""
    began = time.monotonic()
    given = (begun_before(ladder().recipe, out) if resume else None) or ladder()
    found, going_on = sliced(given, parts, out, Room(Deadline.of(began, 20.0), began), resume=resume)
    how: dict[str, Any] = {"resume": going_on, "began": began, "before": found.tried, "whole_run": True}
    return train(parts, recipe=found.recipe, out=out, **how)


def verdict(monkeypatch: pytest.MonkeyPatch, dearer: float) -> None:
    """Let the dearer candidate be better in that share of the resamples."""
    monkeypatch.setattr(slices, "better", lambda *_: dearer)


def sha(out: Path) -> str:
    return file_sha256(out / "model.safetensors")


def test_the_default_goes_on_to_the_weights_of_a_run_that_nothing_was_compared_with(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, 0.5)
    bundle = trained(parts, tmp_path / "m.beholder")
    alone = train(parts, recipe=ladder().recipe, out=tmp_path / "alone.beholder", whole_run=True)
    assert sha(tmp_path / "m.beholder") == sha(tmp_path / "alone.beholder")
    assert [row["step"] for row in bundle.history] == [row["step"] for row in alone.history]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone.beholder", "leaves", "m.beholder"]
    first, second = [row for row in bundle.config.tried if row.rung == "slice"]
    assert (first.outcome, second.outcome) == (slices.KEPT, slices.CLOSE)
    assert bundle.config.tried[0] == HEAD


def test_a_dearer_candidate_that_is_better_is_its_checkpoint(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, 0.96)
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        bundle = trained(parts, tmp_path / "m.beholder")
    train(parts, recipe=ladder().rivals[0], out=tmp_path / "alone.beholder", whole_run=True)
    assert sha(tmp_path / "m.beholder") == sha(tmp_path / "alone.beholder"), "nothing of it is trained twice, or otherwise"
    assert bundle.recipe.data.size == 32
    rows = [row for row in bundle.config.tried if row.rung == "slice"]
    assert [row.outcome for row in rows] == [slices.BEATEN, slices.KEPT]
    assert all(row.n == len(parts.valid) and row.curve and row.score == row.curve[-1][1] for row in rows)
    at = next(event.fields for event in heard if event.name == "resumed")
    assert at["step"] == pytest.approx(SLICE * at["steps"], abs=1)
    expected = bundle.config.expected
    assert expected is not None
    assert expected.candidates == STRONGEST + 1, "the other candidate counts"
    assert expected.value <= expected.score


def test_the_seconds_of_a_slice_are_not_of_the_time_that_is_left(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, 1.0)
    out = tmp_path / "m.beholder"
    found, going_on = sliced(ladder(), parts, out, room(), resume=False)
    folder = RunFolder.beside(out)
    state, _ = folder.load()
    assert going_on
    assert state["clock"]["free"] == state["clock"]["spent"] > 0
    assert found.recipe == ladder().rivals[0]
    assert sorted(path.name for path in folder.path.glob("*.run")) == []
    assert sliced(replace(found, rivals=()), parts, out, room(), resume=True) == (replace(found, rivals=()), True)
    kept, wanted = folder.kept("parts"), parts_kept(parts)
    assert kept is not None, "a kill before training begins does not lose them"
    assert {name: array.tolist() for name, array in kept.items()} == {name: array.tolist() for name, array in wanted.items()}


def test_a_pretrained_net_that_goes_on_still_has_to_beat_its_head(
    draw: Draw, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, 1.0)
    parts = beholder.split(beholder.scan(draw(tmp_path / "set", each=14, size=(150, 140))), seed=0, near=False)
    recipe = load("quick").set(weights=weights, effort=0.1, batch=8, minutes=20.0, size=64, audit="off")
    given, out = Ladder(recipe, (HEAD,), (recipe.set(size=96),)), tmp_path / "m.beholder"
    found, going_on = sliced(given, parts, out, room(), resume=False)
    folder = RunFolder.beside(out)
    assert going_on
    assert folder.kept("head") is not None
    assert [row.what.split(",")[1] for row in found.tried[1:]] == [" 64 × 64 pixels", " 96 × 96 pixels"]
    bundle = train(parts, recipe=found.recipe, out=out, resume=True, before=found.tried, whole_run=True)
    assert bundle.config.floor is not None
    assert bundle.config.floor.name == "a linear head on frozen features"
    assert bundle.config.pixels.width == 96


class Cut(BaseException):
    """A kill: nothing catches it."""


@pytest.mark.parametrize("dearer", [0.5, 1.0])
def test_cut_off_at_each_checkpoint_a_run_decides_the_same(
    dearer: float, parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, dearer)
    wanted, out = trained(parts, tmp_path / "whole.beholder"), tmp_path / "m.beholder"
    keep, seen, bundle = Run.keep, set[tuple[str, bool]](), None

    def cut(run: Run) -> None:
        keep(run)
        assert run.saves.folder is not None
        at = run.saves.folder.path.name, "candidates" in RunFolder.beside(out).decided()
        if at not in seen:
            seen.add(at)
            raise Cut

    monkeypatch.setattr(Run, "keep", cut)
    while bundle is None:
        with suppress(Cut):
            bundle = trained(parts, out, resume=True)
    assert seen >= {("m.run", True), ("0001.run", True)}
    assert sha(out) == sha(tmp_path / "whole.beholder")
    told = [[(row.rung, row.what, row.outcome) for row in each.config.tried] for each in (bundle, wanted)]
    assert told[0] == told[1]


@pytest.mark.parametrize("dearer", [0.5, 1.0])
@pytest.mark.parametrize("came", [False, True], ids=["between the renames", "after them"])
def test_killed_while_the_run_is_handed_over_it_goes_on(
    came: bool, dearer: float, parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, dearer)
    whole, out = tmp_path / "whole.beholder", tmp_path / "m.beholder"
    train(parts, recipe=ladder().rivals[0] if dearer == 1 else ladder().recipe, out=whole, whole_run=True)
    take = files._take_place

    def cut(temporary: Path, path: Path) -> None:
        if path.name != "m.run":
            return take(temporary, path)
        path.replace(tmp_path / ".m.run.old")
        if came:
            temporary.replace(path)
        raise Cut

    with monkeypatch.context() as patch, suppress(Cut):
        patch.setattr(files, "_take_place", cut)
        trained(parts, out)
    assert (tmp_path / ".m.run.old" / "checkpoint").is_dir()
    assert (tmp_path / "m.run").exists() is came

    def never(*_: Any) -> None:
        raise AssertionError("a slice is trained anew")

    monkeypatch.setattr(slices, "advanced", never)
    trained(parts, out, resume=True)
    assert sha(out) == sha(whole)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["leaves", "m.beholder", "whole.beholder"]


def test_a_candidate_for_which_memory_does_not_suffice_is_left_out_and_no_batch_is_made_smaller(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another batch it would be another run than the one that training goes on with."""
    verdict(monkeypatch, 1.0)
    whole, out, given = slices.begun, tmp_path / "m.beholder", ladder(batch=16)

    def begun(prepared: Any, *more: Any, **how: Any) -> Any:
        if more[1].path.name == "0001.run" and prepared.plan.batch > 8:
            raise MemoryError
        return whole(prepared, *more, **how)

    monkeypatch.setattr(slices, "begun", begun)
    found, going_on = sliced(given, parts, out, room(), resume=False)
    assert (found.recipe, found.tried[-1].outcome) == (given.recipe, "left out: out of memory")
    bundle = train(parts, recipe=found.recipe, out=out, resume=going_on, before=found.tried, whole_run=True)
    assert bundle.config.plan["batch"] == 16


@pytest.mark.parametrize(
    ("left", "after", "fields", "rivals"),
    [
        (FROM - 1, 0.0, {}, True),
        (FROM + 20, 30.0, {}, True),  # with what follows the test there is less
        (60.0, 0.0, {}, True),
        (300.0, 0.0, {}, True),
        (1200.0, 0.0, {"epochs": 4}, True),
        (1200.0, 0.0, {}, False),
    ],
)
def test_nothing_is_compared_of_a_short_budget_of_epochs_or_without_candidates(
    left: float, after: float, fields: Any, rivals: bool, parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: Any) -> None:
        raise AssertionError("a slice was begun")

    monkeypatch.setattr(slices, "advanced", never)
    given = ladder(**fields) if rivals else replace(ladder(**fields), rivals=())
    for resume in (False, True):
        assert sliced(given, parts, tmp_path / "m.beholder", room(left, after), resume=resume) == (given, resume)
    assert [path.name for path in tmp_path.iterdir()] == ["leaves"]


def test_a_candidate_that_fails_is_left_out_and_a_default_that_fails_leaves_all_as_it_was(
    parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verdict(monkeypatch, 1.0)
    whole, failing = slices.begun, [1]

    def begun(*given: Any, **how: Any) -> Any:
        if given[2].path.name == ("m.run", "0001.run")[failing[0]]:
            raise ValueError("no")
        return whole(*given, **how)

    monkeypatch.setattr(slices, "begun", begun)
    found, going_on = sliced(ladder(), parts, tmp_path / "m.beholder", room(), resume=False)
    assert (going_on, found.recipe) == (True, ladder().recipe)
    assert found.tried[-1].outcome == "left out: ValueError: no"
    failing[0] = 0
    assert sliced(ladder(), parts, tmp_path / "m.beholder", room(), resume=False) == (ladder(), False)
    assert not (tmp_path / "m.run").exists()


def test_other_options_are_another_run(parts: beholder.Parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, keep = tmp_path / "m.beholder", Run.keep

    def cut(run: Run) -> None:
        keep(run)
        raise Cut

    with monkeypatch.context() as patch, suppress(Cut):
        patch.setattr(Run, "keep", cut)
        sliced(ladder(), parts, out, room(), resume=False)
    assert "candidates" in RunFolder.beside(out).decided()
    other = ladder(lr=0.01)
    assert sliced(other, parts, out, room(), resume=True) == (other, True), "training then says what changed"
    with pytest.raises(beholder.UsageError, match="recipe changed"):
        train(parts, recipe=other.recipe, out=out, resume=True, whole_run=True)


def test_the_six_steps_compare_go_on_and_say_so(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study, "climbed", lambda *_, **__: ladder())
    out, struck = tmp_path / "m.beholder", [False]

    def strike(event: events.Event) -> None:
        if "compared" in event.message and not struck[0]:
            struck[0] = True
            os.kill(os.getpid(), signal.SIGINT)

    with (
        events.listen(strike, alone=True),
        pytest.raises(Interrupted, match="while trained candidates were compared") as caught,
    ):
        steps(leaves, recipe=ladder().recipe, out=out)
    assert "--resume" in caught.value.hint
    outcome = steps(leaves, recipe=ladder().recipe, out=out, resume=True)
    said = json.loads(json.dumps(outcome.json()))
    assert [row["rung"] for row in said["tried"]][:4] == ["head", "slice", "slice", "training"]
    assert beholder.load(out).config.tried == outcome.bundle.config.tried
    assert not (tmp_path / "m.run").exists()
    assert [row["epoch"] for row in outcome.bundle.history] == sorted({row["epoch"] for row in outcome.bundle.history})
