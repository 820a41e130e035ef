"""The first rungs of a run with a budget: floors, heads that are compared, a first bundle, and what is said of it all."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from tests.study.test_onboard import photo

import beholder
from beholder.base.deadline import Deadline
from beholder.base.errors import Interrupted
from beholder.base.recipe import load
from beholder.bundle.config import Tried
from beholder.data.survey import survey
from beholder.learn import begin
from beholder.learn.checkpoint import RunFolder
from beholder.learn.monitors import Best
from beholder.reporting import render
from beholder.study import ladder, scratch
from beholder.study import steps as study
from beholder.study.folded import head_logits
from beholder.study.ladder import (
    SURE,
    _beside,
    _compared,
    _is_better,
    _Judged,
    _Material,
    _too_dear,
    _weighted,
    begun_before,
    candidates_of,
    climbed,
)
from beholder.study.policy import Curated, curated
from beholder.study.steps import steps
from beholder.tasks import named
from beholder.tasks.objectives import aim

RECIPE = load("quick").set(minutes=3.0, audit="off")


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ladder")
    rng = np.random.default_rng(0)
    for kind, name in enumerate(("stripes", "blobs", "checks")):
        (folder / name).mkdir()
        for number in range(24):
            photo(rng, kind).resize((160, 160)).save(folder / name / f"{number}.jpg", quality=90)
    return folder


@pytest.fixture(scope="module")
def parts(photos: Path) -> Curated:
    return curated(beholder.scan(photos), RECIPE)


def test_floors_and_a_head_are_tried_and_the_head_is_gone_on_with(parts: Curated) -> None:
    began = time.monotonic()
    found = climbed(parts, RECIPE, began=began, until=Deadline.of(began, 3.0))
    assert [row.rung for row in found.tried] == ["floor", "floor", "head"]
    commonest, nearest, head = found.tried
    assert commonest.score == pytest.approx(1 / 3, abs=0.1)
    assert nearest.n == head.n == len(parts.parts.train) + len(parts.parts.valid)
    assert head.score is not None
    assert head.score > 0.6
    assert head.outcome == "kept"
    assert found.recipe.net.name == "timm:tf_efficientnet_lite0"
    assert all(row.began >= 0 and row.seconds >= 0 for row in found.tried)


def test_a_net_that_is_named_stays(parts: Curated) -> None:
    began = time.monotonic()
    found = climbed(parts, RECIPE.set(net="fastnet"), began=began, until=Deadline.of(began, 3.0))
    assert found.recipe.net.name == "fastnet"
    assert [row.what for row in found.tried] == ["the commonest answer"]


def judged(right: Any, score: float | None = None) -> _Judged:
    values = np.asarray(right, np.float64)
    none = np.empty((len(values), 0), np.float32)
    reached = float(values.mean()) if score is None else score
    return _Judged(RECIPE, np.arange(len(values)), values, none, none, none, reached, 1.0, 1.0)


def test_a_dearer_candidate_has_to_be_better_by_a_paired_test() -> None:
    base = np.arange(200) % 5 > 0
    few, many = base.copy(), base.copy()
    few[np.flatnonzero(~base)[:2]] = True  # two more right of 200: 2 / sqrt(2) standard errors
    many[np.flatnonzero(~base)[:4]] = True
    assert 2 / np.sqrt(2) < SURE < 4 / np.sqrt(4)
    assert not _is_better(judged(few), judged(base))
    assert _is_better(judged(many), judged(base))
    assert not _is_better(judged(many, score=0.7), judged(base)), "the objective has to be better too"
    assert not _is_better(judged(base), judged(base))
    larger = replace(judged(few), recipe=RECIPE.set(size=256))
    assert _is_better(larger, judged(base)), "larger pictures are better as a rule"
    assert not _is_better(replace(larger, score=base.mean() - 0.01), judged(base))
    assert not _is_better(replace(larger, recipe=RECIPE.set(size=256, net="timm:tf_efficientnet_lite1")), judged(base))


@pytest.mark.parametrize(("fewer", "slice", "rival"), [(1, 101, True), (2, 101, False), (1, 99, False)])
def test_a_dearer_candidate_that_is_about_as_good_is_a_rival_where_a_slice_has_steps_enough(
    fewer: int, slice: int, rival: bool, parts: Curated
) -> None:
    base = np.arange(200) % 5 > 0
    right = base.copy()
    right[np.flatnonzero(base)[:fewer]] = False  # 1 / sqrt(1) or 2 / sqrt(2) standard errors fewer
    pictures = parts.parts.train
    until = Deadline(3 * 0.5 / 0.6 * 16 * slice * 32 / len(pictures), now=lambda: 0.0)
    on = _Material(parts.parts, cast(Any, None), pictures, np.zeros(0, np.int64), cast(Any, None), 0.0, until)
    larger = replace(judged(right), recipe=RECIPE.set(size=256), needed=0.5)
    assert _beside(judged(base), larger, on).rivals == ((larger.recipe,) if rival else ())


@pytest.mark.parametrize(
    ("left", "cheap", "dear", "why"),
    [
        (100, 0.1, 20, "its features would take"),
        (100, 5, 20, ""),  # there is no time for training, so the head may have two thirds of what is left
        (100, 5, 70, "its features would take"),
        (300, 0.5, 20, "epochs of fine-tuning"),  # 0.6 × 300 s / (3 × 20 s): 3 epochs; of the cheap one 120, of 1.6 steps
        (400, 0.5, 13, ""),
        (300, 10, 20, ""),  # of the cheap one there is no time for 100 steps either: the better head is all that counts
    ],
)
def test_a_dearer_candidate_has_to_leave_time_for_training(
    parts: Curated, left: float, cheap: float, dear: float, why: str
) -> None:
    pictures = parts.parts.train
    material = _Material(parts.parts, None, pictures, np.zeros(0, np.int64), None, 0.0, Deadline(left, now=lambda: 0.0))  # type: ignore[arg-type]
    found = _too_dear(dear, replace(judged([1]), needed=cheap), material)
    assert (why in found) if why else not found


@pytest.mark.parametrize(
    ("longest", "asked", "sides"),
    [(192, 0, []), (200, 0, [256]), (319, 0, [256]), (320, 0, [256, 320]), (4000, 0, [256, 320, 384]), (4000, 320, [])],
)
def test_no_picture_is_enlarged_for_a_head_but_by_the_first_step(
    longest: int, asked: int, sides: list[int], parts: Curated
) -> None:
    looked = replace(survey(parts.parts.train), width=longest)
    first, *larger = candidates_of(RECIPE.set(size=asked), looked)
    assert first.data.size == asked
    assert [each.data.size for each in larger] == sides, "192 pixels on a CPU, at most twice the 224 of the weights"


@pytest.mark.parametrize(
    ("scores", "each", "tried", "best"),
    [
        ([0.80, 0.82, 0.82, 0.81], 4.0, 4, 320),
        ([0.80, 0.82, 0.83, 0.84], 4.0, 4, 384),
        ([0.80, 0.82, 0.81, 0.99], 4.0, 3, 256),  # what comes after a lower score is not tried
        ([0.80, 0.79, 0.99, 0.99], 4.0, 2, 0),
        ([0.80, 0.82, 0.84, 0.99], 20.0, 3, 256),  # 20 × (320 / 192)² seconds are more than two thirds of a minute
        ([0.80, 0.82, 0.84, 0.99], 0.01, 2, 256),  # there is time for fine-tuning, which would be slower
    ],
)
def test_pictures_of_a_head_become_larger_as_long_as_that_is_no_worse_and_there_is_time(
    scores: list[float], each: float, tried: int, best: int, parts: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    pictures = parts.parts.train
    looked = replace(survey(pictures), width=512, height=384)
    candidates = list(candidates_of(RECIPE, looked))
    reached = {candidate.data.size: score for candidate, score in zip(candidates, scores, strict=True)}

    def head(candidate: beholder.Recipe, *_: Any, **__: Any) -> tuple[_Judged, list[Tried]]:
        return replace(judged([1], reached[candidate.data.size]), recipe=candidate), []

    monkeypatch.setattr(ladder, "_judged", head)
    monkeypatch.setattr(ladder, "seconds_of", lambda _, __, recipe, ___: each * (recipe.data.size or 192) ** 2 / 192**2)
    until = Deadline(60.0, now=lambda: 0.0)
    on = _Material(parts.parts, looked, pictures, np.zeros(0, np.int64), cast(Any, None), 0.0, until)
    found, rows = _compared(candidates, on)
    assert found is not None
    assert (found.recipe.data.size, len(rows)) == (best, tried)
    assert [row.outcome for row in rows].count("kept") == 1
    assert ("its features would take" in rows[-1].outcome) == (each == 20.0)


def test_whatever_ends_a_run_a_first_model_is_there(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any, **__: Any) -> None:
        raise RuntimeError("as if killed")

    monkeypatch.setattr(study, "train_and_test", killed)
    out = tmp_path / "m.beholder"
    with pytest.raises(RuntimeError, match="as if killed"):
        steps(photos, recipe=RECIPE, out=out)
    bundle = beholder.load(out)
    assert bundle.config.interrupted
    assert bundle.config.calibration is not None
    right = sum(bundle(path).label == path.parent.name for path in photos.glob("*/*.jpg"))
    assert right > 36, "of 72 in three classes"


def test_what_was_tried_is_kept_in_the_run_folder_for_a_resumed_run(tmp_path: Path) -> None:
    out, rows = tmp_path / "m.beholder", [Tried("head", "a head", 0.5, 10, 1.0, 2.0, "kept")]
    folder = RunFolder.beside(out)
    folder.begin({"recipe": ""}, resume=False)
    folder.decide({"net": "timm:tf_efficientnet_lite0", "size": 256, "tried": [vars(row) for row in rows]})
    assert begun_before(RECIPE, out) is None, "without a checkpoint there is nothing to go on with"
    folder.save({}, {})
    found = begun_before(RECIPE, out)
    assert found is not None
    assert (found.recipe.net.name, found.recipe.data.size) == ("timm:tf_efficientnet_lite0", 256)
    assert list(found.tried) == rows


def test_a_run_with_a_budget_says_what_was_tried_and_what_to_expect(photos: Path, tmp_path: Path) -> None:
    outcome = steps(photos, recipe=RECIPE.set(minutes=0.6), out=tmp_path / "m.beholder")
    said = json.loads(json.dumps(outcome.json()))
    assert [row["rung"] for row in said["tried"]][:3] == ["floor", "floor", "head"]
    assert said["tried"][-1]["rung"] == "training"
    expected = said["expected"]
    assert expected["low"] <= expected["value"] <= expected["score"] <= 1
    assert expected["tested"] == outcome.bundle.config.parts["test"]
    assert outcome.tried()[0]["what"] == "the commonest answer"
    assert "a test of" in outcome.card["expected"]
    assert "What was tried" in render(outcome.bundle, outcome.evaluation)
    again = beholder.load(tmp_path / "m.beholder")
    assert again.config.tried == outcome.bundle.config.tried


def test_what_a_resumed_run_did_not_hear_it_hears_again(parts: Curated, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load("quick").set(epochs=3, size=64, lr=0.002)
    heard = beholder.train(parts.parts, recipe=recipe)
    whole = begin.run_of
    monkeypatch.setattr(begin, "run_of", lambda *given, heard, **named: whole(*given, **named))
    again = beholder.train(parts.parts, recipe=recipe)
    assert [row["valid_score"] for row in again.history] == [row["valid_score"] for row in heard.history]
    assert again.config.valid_score == heard.config.valid_score
    assert again.config.floor == heard.config.floor


def test_a_run_that_is_ended_before_training_says_that_a_first_model_is_there(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ended(*_: Any, **__: Any) -> None:
        raise Interrupted("terminated", exit_code=143)

    monkeypatch.setattr(study, "train_and_test", ended)
    out = tmp_path / "m.beholder"
    with pytest.raises(Interrupted, match=f"terminated before training; a first model, .*, is in {out}") as caught:
        steps(photos, recipe=RECIPE, out=out)
    assert caught.value.exit_code == 143
    assert beholder.load(out).config.interrupted
    with pytest.raises(Interrupted, match=r"^terminated$"):
        steps(photos, recipe=RECIPE.set(minutes=0.0), out=tmp_path / "none.beholder")


@pytest.mark.parametrize("sure", [0.0, 1.0])
def test_a_run_that_is_cut_short_keeps_the_head_unless_training_is_surely_better(
    sure: float, parts: Curated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(begin, "better", lambda *_: sure)
    whole = Best.offer

    def offered(self: Best, net: Any, *, score: float, loss: float, epoch: int) -> bool:
        kept = whole(self, net, score=1.0 + epoch, loss=loss, epoch=epoch)  # each epoch is better than the one before
        if epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return kept

    monkeypatch.setattr(Best, "offer", offered)
    out = tmp_path / "m.beholder"
    with pytest.raises(Interrupted, match="the best so far is in"):
        beholder.train(parts.parts, recipe=load("quick").set(epochs=4, size=64), out=out)
    config = beholder.load(out).config
    assert config.interrupted
    assert (config.valid_score == 2.0) == bool(sure)


@pytest.mark.parametrize(("objective", "kept"), [("accuracy", False), ("balanced_accuracy", True)])
def test_balanced_class_weights_are_taken_where_the_objective_gains_by_them(objective: str, kept: bool) -> None:
    recipe, rng = RECIPE.set(objective=objective), np.random.default_rng(0)
    kinds = np.repeat([0, 1], [400, 40])
    features = rng.normal(1.2 * kinds[:, None], 1.0, (440, 2)).astype(np.float32)
    targets, fold, rows = np.eye(2, dtype=np.float32)[kinds], np.arange(440) % 5, np.arange(440)
    task = aim(recipe, named("single"), ("many", "few"))
    logits = head_logits(features, targets, fold, task=task)
    reached = float(task.objective(logits, targets))
    first = _Judged(recipe, rows, np.zeros(440), features, targets, logits, reached, 1.0, 1.0)
    none = np.full(440, -1)
    pictures = beholder.Pictures(
        cast(Any, None), tuple(map(str, rows)), kinds, ("many", "few"), none.astype(np.int8), none.astype(np.int64)
    )
    on = _Material(cast(Any, SimpleNamespace(train=pictures)), cast(Any, None), pictures, fold, task, 0.0, Deadline())
    best, told = _weighted(first, [Tried("head", "a head", reached, 440, 0.0, 0.0, "kept")], on)
    assert best.recipe.train.class_weights == ("balanced" if kept else "none")
    assert [row.outcome == "kept" for row in told] == [not kept, kept]
    assert (best.score > reached) == kept
    even = replace(on, parts=cast(Any, SimpleNamespace(train=pictures.take(np.arange(320, 440)))))
    assert _weighted(first, [], even) == (first, []), "80 beside 40 are no reason"


@pytest.mark.parametrize(
    ("side", "reached", "kept"), [(32, 0.95, "auto"), (32, 0.5, ""), (32, None, ""), (100, 0.95, "fastnet"), (100, 0.5, "")]
)
def test_small_pictures_are_learnt_from_scratch_unless_a_pretrained_net_has_more_to_gain(
    side: int, reached: float | None, kept: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [np.asarray(Image.open(path).resize((side, side))) for path in sorted(photos.glob("*/*.jpg"))]
    small = curated(beholder.scan((np.stack(images), np.repeat(np.arange(3), 24))), RECIPE)
    whole = scratch.rather
    monkeypatch.setattr(scratch, "rather", lambda found, head: whole(found, min(head, 0.8)))  # or it knows them all
    monkeypatch.setattr(scratch, "short", lambda parts, *_: scratch.Short(reached, len(parts.valid), 0.0, 1.0))
    found = climbed(small, RECIPE, began=time.monotonic(), until=Deadline(600.0, now=lambda: 0.0))
    assert [row.rung for row in found.tried] == ["floor", "floor", "head", "short run"]
    assert f"{min(side, 96)} × {min(side, 96)} pixels enlarged to 128" in found.tried[2].what
    assert (found.tried[2].outcome == "kept") != bool(kept)
    expected = (kept, 0) if kept else ("timm:tf_efficientnet_lite0", 128)
    assert (found.recipe.net.name, found.recipe.net.enlarge) == expected
    assert climbed(small, RECIPE.set(weights="none"), began=0.0, until=Deadline(600.0, now=lambda: 0.0)).recipe.net.enlarge == 0
    hurried = climbed(small, RECIPE, began=0.0, until=Deadline(1e-3, now=lambda: 0.0))
    assert (hurried.recipe == RECIPE) == (side == 32), "of larger ones the features are remembered, so there is a head"
    assert ("epochs of fine-tuning" in hurried.tried[-1].outcome) == (side == 32)


def test_a_short_run_of_a_net_from_scratch_has_a_score_and_reads_no_test(
    parts: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[beholder.Parts] = []
    whole = scratch.train

    def train(parts: beholder.Parts, **more: Any) -> Any:
        given.append(parts)
        return whole(parts, **more)

    monkeypatch.setattr(scratch, "train", train)
    recipe = RECIPE.set(net="cnn", size=16)
    found = scratch.short(parts.parts, recipe, Deadline(time.monotonic() + 60.0))
    assert found.score is not None
    assert found.n == len(parts.parts.valid)
    assert 0 < found.seconds < 30
    assert len(given[0].test) <= scratch.TESTED

    def stopped(*_: Any, **__: Any) -> None:
        raise Interrupted("interrupted at step 3 of 90; nothing is kept of it", hint="give out=", exit_code=143)

    monkeypatch.setattr(scratch, "train", stopped)
    with pytest.raises(Interrupted, match=r"^interrupted$") as caught:
        scratch.short(parts.parts, recipe, Deadline(time.monotonic() + 60.0))
    assert (caught.value.exit_code, caught.value.hint) == (143, "")
