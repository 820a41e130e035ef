"""Checks of boxes: faults planted among boxes that have none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from beholder.base.boxes import Boxes, Drawn
from beholder.measure.detections import Detected, Found
from beholder.quality.audit import audit
from beholder.quality.checks import Alike, Evidence
from beholder.quality.named import named

from .conftest import evidence, photograph

WIDE, HIGH = 128, 96


def boxed(seed: int = 0, n: int = 30) -> tuple[Evidence, list[Drawn]]:
    """Thirty pictures with two small boxes of class 0 and a large one of class 1 each, none at an edge."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        small = np.exp(rng.normal(np.log(14), 0.05, (2, 2)))
        large = np.exp(rng.normal(np.log(40), 0.05, (1, 2)))
        sides = np.concatenate([small, large])
        low = np.array([[4, 5], [60, 8], [30, 45]]) + rng.uniform(0, 4, (3, 2))
        rows.append(Drawn(np.concatenate([low, low + sides], 1), np.array([0, 0, 1]), np.zeros(3, bool)))
    held = evidence([photograph(k, HIGH, WIDE) for k in range(n)])
    return held, rows


def given(held: Evidence, rows: list[Drawn], **more: object) -> Evidence:
    targets = np.ones((len(rows), 2), np.uint8)
    pictures = replace(held.pictures, targets=targets, classes=("cell", "plate"), boxes=Boxes.of(rows))
    return replace(held, pictures=pictures, **more)  # type: ignore[arg-type]


def found(check: str, held: Evidence) -> list[tuple[str, str, str]]:
    """(picture, box without its corners, suggestion) of each finding."""
    rows = audit(held, names=[check]).rows
    return [(row.picture, f"{named(row.box).number} {named(row.box).label}", row.suggestion) for row in rows]


def moved(drawn: Drawn, row: int, corners: object) -> Drawn:
    there = drawn.corners.copy()
    there[row] = corners
    return drawn._replace(corners=there)


def with_box(drawn: Drawn, corners: object, label: int) -> Drawn:
    return Drawn(np.concatenate([drawn.corners, [corners]]), np.append(drawn.classes, label), np.append(drawn.crowd, False))


def test_boxes_without_a_fault_give_no_finding() -> None:
    held, rows = boxed()
    assert audit(given(held, rows), names=["box-twice", "box-size", "box-edge"]).rows == ()


def test_a_box_drawn_twice_is_found_and_only_an_exact_copy_may_go() -> None:
    held, rows = boxed()
    keys = held.pictures.keys
    rows[3] = with_box(rows[3], rows[3].corners[2], 1)
    rows[5] = with_box(rows[5], rows[5].corners[2] + 1, 1)
    rows[7] = with_box(rows[7], rows[7].corners[2], 0)
    rows[9] = with_box(rows[9], rows[9].corners[2] + 5, 1)  # overlaps by 0.6 only
    said = audit(given(held, rows), names=["box-twice"]).rows
    assert {(row.picture, named(row.box).number, row.suggestion) for row in said} == {
        (keys[3], 3, "drop"), (keys[5], 3, "review"), (keys[7], 3, "review"),
    }  # fmt: skip
    assert "one place, two classes" in next(row.verdict for row in said if row.picture == keys[7])
    assert audit(given(held, rows), names=["box-twice"]).suggestions == {}  # nothing is suggested for whole pictures


def test_crowds_are_not_judged() -> None:
    held, rows = boxed()
    rows[3] = with_box(rows[3], rows[3].corners[2], 1)._replace(crowd=np.array([False, False, False, True]))
    rows[4] = with_box(rows[4], (0, 0, WIDE, HIGH), 0)._replace(crowd=np.array([False, False, False, True]))
    assert audit(given(held, rows), names=["box-twice", "box-size", "box-edge"]).rows == ()


def test_odd_sizes_and_shapes_and_nothing_to_see_are_found() -> None:
    held, rows = boxed()
    keys = held.pictures.keys
    rows[2] = rows[2]._replace(classes=np.array([0, 1, 1]))  # a small box of the large class
    rows[6] = moved(rows[6], 2, (20, 45, 120, 60))
    rows[8] = moved(rows[8], 0, (50.0, 50.0, 52.0, 64.0))
    assert set(found("box-size", given(held, rows))) == {
        (keys[2], "1 plate", "review"), (keys[6], "2 plate", "review"), (keys[8], "0 cell", "review"),
    }  # fmt: skip


def test_a_box_that_the_edge_cuts_may_be_narrow_but_not_large() -> None:
    held, rows = boxed()
    rows[2] = moved(rows[2], 2, (0, 45, 9, 85))
    rows[4] = moved(rows[4], 0, (0, 2, 90, 92))
    assert found("box-size", given(held, rows)) == [(held.pictures.keys[4], "0 cell", "review")]


def test_a_box_over_the_whole_picture_is_found_unless_its_class_does_so() -> None:
    held, rows = boxed()
    rows[2] = moved(rows[2], 2, (0, 1, WIDE, HIGH))
    assert found("box-edge", given(held, rows)) == [(held.pictures.keys[2], "2 plate", "review")]
    whole = [moved(drawn, 2, (0, 0, WIDE, HIGH)) for drawn in rows]
    assert found("box-edge", given(held, whole)) == []


def test_the_same_object_in_two_parts_is_said_of_the_earlier_part() -> None:
    held, rows = boxed()
    held = given(held, rows, crops=Alike(np.array([1, 8]), np.array([62, 4]), np.array([0.95, 0.5])))
    parts = np.zeros(30, np.int8)
    parts[20:] = 2
    held = replace(held, pictures=replace(held.pictures, parts=parts))
    (row,) = audit(held, names=["box-leak"]).rows
    assert (row.picture, named(row.box).number, row.other) == (held.pictures.keys[0], 1, held.pictures.keys[20])
    assert "the test part, this one in train" in row.verdict


# --- beside what a detector found ---


def sure(rows: list[Drawn], p: float = 0.9) -> list[Detected]:
    """What a detector finds that is right everywhere."""
    return [Detected(drawn.corners + 0.5, drawn.classes.copy(), np.full(len(drawn.classes), p)) for drawn in rows]


def test_what_a_detector_agrees_with_gives_no_finding_and_without_one_it_is_said() -> None:
    held, rows = boxed()
    names = ["box-missing", "box-class", "box-place"]
    assert audit(given(held, rows, found=Found.of(sure(rows))), names=names).rows == ()
    alone = audit(given(held, rows), names=names)
    assert alone.looked == {}
    assert "no detector" in alone.notes[0]
    assert audit(held, names=names).notes == ()  # there are no boxes


def test_a_dropped_a_relabelled_and_a_moved_box_are_found() -> None:
    held, rows = boxed()
    keys, truth = held.pictures.keys, sure(rows)
    rows[1] = Drawn(*(column[1:] for column in rows[1]))
    rows[2] = rows[2]._replace(classes=np.array([0, 0, 0]))
    rows[3] = moved(rows[3], 2, rows[3].corners[2] + 16)
    held = given(held, rows, found=Found.of(truth))
    assert found("box-missing", held) == [(keys[1], "-1 cell", "review")]
    assert found("box-class", held) == [(keys[2], "2 cell", "review")]
    assert found("box-place", held) == [(keys[3], "2 plate", "review")]
    assert "there is plate (p = 0.90), not cell (p = 0.00)" in audit(held, names=["box-class"]).rows[0].verdict


def test_an_unsure_detector_says_nothing() -> None:
    held, rows = boxed()
    truth = sure(rows, p=0.25)
    rows[1] = Drawn(*(column[1:] for column in rows[1]))
    rows[2] = rows[2]._replace(classes=np.array([0, 0, 0]))
    held = given(held, rows, found=Found.of(truth))
    assert audit(held, names=["box-missing", "box-class", "box-place"]).rows == ()


def test_two_classes_found_at_one_place_are_missing_once() -> None:
    held, rows = boxed()
    truth = sure(rows)
    extra = Detected(truth[1].corners[[0, 0]], np.array([0, 1]), np.array([0.9, 0.8]))
    truth[1] = Detected(*(np.concatenate(pair) for pair in zip(truth[1], extra, strict=True)))
    rows[1] = Drawn(*(column[1:] for column in rows[1]))
    assert found("box-missing", given(held, rows, found=Found.of(truth))) == [(held.pictures.keys[1], "-1 cell", "review")]


@pytest.mark.parametrize("name", ["box-twice", "box-size", "box-edge"])
def test_pictures_without_boxes_are_no_trouble(name: str) -> None:
    held, rows = boxed()
    nothing = [Drawn(*(column[:0] for column in drawn)) for drawn in rows]
    assert audit(given(held, nothing), names=[name]).rows == ()
