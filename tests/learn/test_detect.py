"""Training of detectors: it learns, the same bits come after a cut, its bundle, what is refused."""

from __future__ import annotations

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from tests import squares

import beholder
from beholder.base import events
from beholder.base.boxes import Boxes, Drawn
from beholder.base.deadline import Deadline
from beholder.base.errors import BundleError, DataError, Interrupted, UsageError
from beholder.base.files import file_sha256
from beholder.base.recipe import Recipe
from beholder.base.recipe import load as load_recipe
from beholder.bundle.bundle import load
from beholder.bundle.detector import Detector
from beholder.data.split import split
from beholder.learn import phases
from beholder.learn.checkpoint import Due
from beholder.learn.detect import train
from beholder.learn.material import Said
from beholder.learn.sighted import policy_of, sighted, weights_of

FIELDS: dict[str, Any] = {
    **{"epochs": 2, "batch": 8, "size": 96, "pyramid": 16, "depth": 1, "views": 2},
    **{"precision": "fp32", "averaging": 0.9, "seed": 3},
}


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> beholder.Parts:
    return split(beholder.scan(squares.drawn(tmp_path_factory.mktemp("squares") / "set")), seed=0)


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Due, "__bool__", lambda self: True)


def weights(path: Path) -> str:
    return file_sha256(path / "model.safetensors")


def steps_of(parts: beholder.Parts) -> int:
    """Return the steps of one phase."""
    return 2 * (len(parts.train) // 8)


@pytest.fixture(scope="module")
def whole(parts: beholder.Parts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("whole") / "whole.beholder"
    train(parts, out=path, **FIELDS)
    return path


@pytest.mark.parametrize("nth", [1, 6, 7, 11])
def test_a_run_that_was_cut_in_either_phase_ends_in_the_same_bits(
    parts: beholder.Parts, whole: Path, tmp_path: Path, eager: None, nth: int
) -> None:
    out, seen = tmp_path / "cut.beholder", []

    def cut(event: events.Event) -> None:
        if event.message == "training" and event.kind == "progress":
            seen.append(event)
            if len(seen) == nth:
                raise Killed

    assert steps_of(parts) * 2 >= 12
    with events.listen(cut, alone=True), pytest.raises(Killed):
        train(parts, out=out, **FIELDS)
    assert not out.exists()
    train(parts, out=out, resume=True, **FIELDS)
    assert weights(out) == weights(whole)
    left = [path.name for path in tmp_path.iterdir() if path.name.endswith(".run")]
    assert not left
    assert [row["phase"] for row in Detector.load(out).history] == [row["phase"] for row in Detector.load(whole).history]


@pytest.mark.parametrize("nth", [2, 9])
def test_ctrl_c_keeps_what_was_learnt_and_resume_goes_on(parts: beholder.Parts, tmp_path: Path, eager: None, nth: int) -> None:
    out, seen = tmp_path / "d.beholder", []

    def interrupt(event: events.Event) -> None:
        if event.message == "training" and event.kind == "progress":
            seen.append(event)
            if len(seen) == nth:
                signal.raise_signal(signal.SIGINT)

    with events.listen(interrupt, alone=True), pytest.raises(Interrupted) as found:
        train(parts, out=out, **FIELDS)
    assert found.value.exit_code == 130
    assert "--resume" in found.value.hint
    assert Detector.load(out).config.interrupted
    train(parts, out=out, resume=True, **FIELDS)
    assert not Detector.load(out).config.interrupted


@pytest.mark.slow
def test_squares_are_found_where_they_are(parts: beholder.Parts, tmp_path: Path) -> None:
    made = train(parts, out=tmp_path / "d.beholder", **(FIELDS | {"epochs": 30, "size": 160, "pyramid": 32, "lr": 0.003}))
    again = Detector.load(tmp_path / "d.beholder")
    assert made.config.valid_score is not None
    assert made.config.valid_score > 0.3
    right = every = 0
    others = beholder.scan(squares.drawn(tmp_path / "others", seed=100))
    for row, key in enumerate(others.keys):
        found = again(others.store.read(key))
        assert (found.width, found.height) == (96, 64)
        assert isinstance(others.boxes, Boxes)
        true = others.boxes[row]
        every += len(true.classes)
        for corners, label in zip(true.corners, true.classes, strict=True):
            near = [box for box in found.boxes if np.abs(np.array(box.box) - corners).max() < 6]
            right += any(box.label == others.classes[int(label)] for box in near)
    assert right / every > 0.7
    assert made.history[0]["phase"] == "head"
    assert {part for _, part in again.splits} == {"train", "valid", "test"}
    assert "Finds" in (tmp_path / "d.beholder" / "README.md").read_text("utf-8")


def test_a_model_of_labels_and_a_detector_are_not_taken_for_each_other(parts: beholder.Parts, tmp_path: Path) -> None:
    path = tmp_path / "d.beholder"
    made = train(parts, out=path, **FIELDS)
    for given in (made, path):
        calls: list[Callable[[Any], object]] = [
            *(load, lambda it: beholder.calibrate(it, parts.valid)),
            lambda it: beholder.train(parts, task="multi", teacher=it),
        ]
        for call in calls:
            with pytest.raises(UsageError, match="finds boxes; a model of labels is needed here") as wrong:
                call(given)
            assert wrong.value.code == "a-detector"
    (path / "model.safetensors").write_bytes(b"0" * 64)
    with pytest.raises(BundleError) as found:
        Detector.load(path)
    assert found.value.code == "damaged"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"mixup": 0.2}, "unused-field"),
        ({"class_weights": "balanced"}, "unused-field"),
        ({"net": "cnn"}, "no-pyramid"),
        ({"net": "timm:vit_small_patch16_224", "weights": "none"}, "no-pyramid"),
        ({"size": 32}, "bad-size"),
        ({"fit": "crop"}, "bad-value"),
        ({"group_from": "a"}, "unused-field"),
        ({"views": 1001}, "bad-value"),
    ],
)
def test_what_a_detector_does_not_use_is_refused(parts: beholder.Parts, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as found:
        beholder.train(parts, **(FIELDS | fields))
    assert found.value.code == code


def test_pictures_without_boxes_are_refused(leaves: Path) -> None:
    with pytest.raises(DataError) as found:
        train(split(beholder.scan(leaves), seed=0), **FIELDS)
    assert found.value.code == "no-boxes"


def test_too_few_pictures_are_refused(parts: beholder.Parts) -> None:
    few = beholder.Parts(parts.train.take(np.arange(3)), parts.valid, parts.test)
    with pytest.raises(DataError) as found:
        train(few, **FIELDS)
    assert found.value.code == "too-few-pictures"


def test_a_validation_part_without_a_box_is_refused(parts: beholder.Parts) -> None:
    bare = np.flatnonzero(parts.train.targets.sum(1) == 0)
    assert len(bare)
    with pytest.raises(DataError, match="no box in the validation part") as found:
        train(beholder.Parts(parts.train, parts.train.take(bare), parts.test), **FIELDS)
    assert found.value.code == "no-boxes"


def test_where_maps_take_too_much_all_is_trained_at_once(parts: beholder.Parts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phases, "MAPS", 0.0)
    made = train(parts, **FIELDS)
    assert {row["phase"] for row in made.history} == {"training"}
    assert any("all is trained at once" in note for note in made.config.notes)


def test_rare_classes_count_more_and_boxes_one_on_average(parts: beholder.Parts) -> None:
    boxes = Boxes.of([Drawn(np.zeros((20, 4)), np.repeat([0, 1], [16, 4]), np.zeros(20, bool))])
    seen = SimpleNamespace(boxes=boxes, material=SimpleNamespace(pictures=SimpleNamespace(classes=("a", "b"))))
    for balance, ratio in ((0.0, 1.0), (0.5, 2.0), (1.0, 4.0)):
        weights = weights_of(beholder.Recipe().set(balance=balance), seen, torch.device("cpu")).tolist()  # type: ignore[arg-type]
        assert weights[1] / weights[0] == pytest.approx(ratio)
        assert 16 * weights[0] + 4 * weights[1] == pytest.approx(20)


def test_random_weights_train_in_one_phase(parts: beholder.Parts) -> None:
    made = train(parts, **(FIELDS | {"weights": "none"}))
    assert {row["phase"] for row in made.history} == {"training"}
    assert made.config.initial_weights is None


def test_pictures_that_were_turned_since_are_named_and_left_out(parts: beholder.Parts) -> None:
    boxes = parts.train.boxes
    assert boxes is not None
    sizes = boxes.sizes.copy()
    sizes[:] = (96, 64)
    sizes[4] = (64, 96)
    turned = replace(parts.train, boxes=replace(boxes, sizes=sizes))
    said = Said()
    policy = policy_of(parts, load_recipe("quick").set(size=96), said)
    train, _ = sighted(beholder.Parts(turned, parts.valid, parts.test), policy, Recipe(), said, until=Deadline(), only=None)
    assert len(train) == len(train.material.targets) == len(train.boxes) == len(parts.train) - 1
    assert parts.train.keys[4] not in train.material.pictures.keys
    told = f"1 pictures were turned or cut after their boxes were drawn, and are left out: {parts.train.keys[4]}"
    assert told in said.notes


def test_a_first_detector_is_saved_only_with_a_budget_and_not_over_a_finished_one(tmp_path: Path) -> None:
    saved: list[str] = []
    made: Any = SimpleNamespace(save=lambda path: saved.append(path.name))

    def first(path: Path | None, until: Deadline) -> None:
        run = phases.Phases(None, None, None, None, False, until, 0.0, path)  # type: ignore[arg-type]
        run._finished = lambda run, *, cut: made  # type: ignore[assignment, method-assign]
        run._keep_first()

    soon = Deadline(10.0, now=lambda: 0.0)
    first(tmp_path / "d.beholder", soon)
    assert saved == ["d.beholder"]
    first(tmp_path / "d.beholder", Deadline())
    first(None, soon)
    assert saved == ["d.beholder"]


def test_a_finished_detector_is_not_written_over_by_a_first_one(whole: Path) -> None:
    run = phases.Phases(None, None, None, None, False, Deadline(10.0, now=lambda: 0.0), 0.0, whole)  # type: ignore[arg-type]
    before = weights(whole)
    run._keep_first()  # would need what is not there
    assert weights(whole) == before
