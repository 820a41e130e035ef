"""Scores by which a detector's weights are chosen, and the thresholds that validation decides; boxes are given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from beholder.base.boxes import Boxes, Drawn
from beholder.base.errors import BundleError
from beholder.learn.located import FEW, LEAST, UNKNOWN, operating, scored_by, together
from beholder.measure.detection_matching import matched
from beholder.measure.detections import Detected, Found


def corners(places: list[int]) -> Any:
    """Boxes of 10 × 10 pixels in a row, 100 pixels apart."""
    left = 100.0 * np.array(places, np.float64).reshape(-1, 1)
    return np.concatenate([left, np.zeros_like(left), left + 10, np.full_like(left, 10)], axis=1)


def drawn(places: list[int], classes: list[int]) -> Drawn:
    return Drawn(corners(places), np.array(classes, np.int64), np.zeros(len(classes), bool))


def seen(places: list[int], classes: list[int], scores: list[float]) -> Detected:
    return Detected(corners(places), np.array(classes, np.int64), np.array(scores))


TRUTH = Boxes.of([drawn([0, 1, 2], [0, 0, 1])])


def test_thresholds_lie_between_those_of_a_class_and_of_all() -> None:
    """Of class 0 both boxes are found, at 0.9 and 0.8, and a false one at 0.4; that of class 1 is found at 0.2."""
    found = [seen([0, 1, 7, 2], [0, 0, 0, 1], [0.9, 0.8, 0.4, 0.2])]
    decided = operating(found, TRUTH, 2)
    assert decided["calibration"] == ((0.0, 1.0), (0.0, 1.0)), "four boxes are too few to calibrate on"
    pooled = 0.2  # F1 of all is 2·3 / (4 + 3) there, and 2·2 / (2 + 3) at 0.8
    share = 2 / (2 + FEW)
    assert decided["thresholds"] == pytest.approx((share * 0.6 + (1 - share) * pooled, 0.2))


def test_where_nothing_is_found_thresholds_are_not_known() -> None:
    decided = operating([seen([], [], [])], TRUTH, 2)
    assert decided["thresholds"] == pytest.approx((UNKNOWN, UNKNOWN))
    assert decided["calibration"] == ((0.0, 1.0), (0.0, 1.0))


def test_a_class_without_boxes_has_the_threshold_of_all_and_none_is_below_the_least() -> None:
    decided = operating([seen([0, 1], [0, 0], [0.9, 0.7])], Boxes.of([drawn([0, 1], [0, 0])]), 2)
    assert decided["thresholds"][1] == pytest.approx(0.7)
    faint = operating([seen([0, 1], [0, 0], [0.01, 0.02])], Boxes.of([drawn([0, 1], [0, 0])]), 2)
    assert faint["thresholds"] == (LEAST, LEAST)


@pytest.mark.parametrize(
    ("places", "classes", "scores", "best"),
    [
        ([0, 1, 2], [0, 0, 1], [0.9, 0.5, 0.3], 0.3),
        ([0, 7, 8, 9], [0, 0, 0, 1], [0.9, 0.5, 0.4, 0.3], 0.9),
        ([7, 0, 1], [0, 0, 0], [0.9, 0.5, 0.4], 0.4),
        ([], [], [], 1.0),
    ],
)
def test_the_threshold_of_all_classes_is_where_f1_is_highest(
    places: list[int], classes: list[int], scores: list[float], best: float
) -> None:
    matches = matched(TRUTH, Found.of([seen(places, classes, scores)]), 2, overlaps=(0.5,), sizes=("all",))
    assert together(matches) == best


@pytest.mark.parametrize("shift", range(6))
def test_boxes_of_one_score_are_taken_all_or_none_in_any_order(shift: int) -> None:
    """At 0.9 F1 is 2·1 / (1 + 3); a right box at 0.5 comes with five false ones, 2·2 / (7 + 3), or with one, 2·2 / (3 + 3)."""
    for places, classes, best in (([1, 7, 8, 9, 10, 11], [0] * 6, 0.9), ([2, 7, 8, 9, 10, 11], [1, 0, 0, 0, 0, 0], 0.9)):
        tied = np.roll(places, shift).tolist(), np.roll(classes, shift).tolist()
        found = seen([0, *tied[0]], [0, *tied[1]], [0.9] + [0.5] * 6)
        matches = matched(TRUTH, Found.of([found]), 2, overlaps=(0.5,), sizes=("all",))
        assert together(matches) == best
    few = seen([0, *np.roll([1, 7], shift).tolist()], [0, 0, 0], [0.9, 0.5, 0.5])
    assert together(matched(TRUTH, Found.of([few]), 2, overlaps=(0.5,), sizes=("all",))) == 0.5


def test_the_score_is_the_mean_precision_of_the_classes_and_the_loss_what_is_left_of_it() -> None:
    """Both boxes of class 0 are found exactly, that of class 1 is not."""
    asked: list[object] = []
    score = scored_by(lambda *given: asked.extend(given) or [seen([0, 1], [0, 0], [0.9, 0.8])], TRUTH, 2)
    found = score({"net": "a net"}, bool)  # type: ignore[dict-item]
    assert found is not None
    assert asked == ["a net", bool]
    assert found["net"] == pytest.approx((0.5, 0.5))
    nothing = scored_by(lambda net, enough: [seen([], [], [])], Boxes.of([drawn([], [])]), 2)
    assert nothing({"net": None}, lambda: False) == {"net": (1.0, 0.0)}  # type: ignore[dict-item]


def test_a_validation_that_is_broken_off_has_no_score_and_answers_that_are_not_finite_the_lowest() -> None:
    assert scored_by(lambda net, enough: None, TRUTH, 2)({"net": None}, lambda: True) is None  # type: ignore[dict-item]

    def failing(code: str) -> Any:
        def see(net: Any, enough: Any) -> Any:
            raise BundleError("wrong", code=code, hint="x")

        return scored_by(see, TRUTH, 2)

    found = failing("not-finite")({"net": None}, lambda: False)
    assert all(math.isnan(value) for value in found["net"])
    with pytest.raises(BundleError):
        failing("damaged")({"net": None}, lambda: False)
