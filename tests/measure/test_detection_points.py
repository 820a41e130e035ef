"""Operating points of boxes, what they are worth, and calibrated scores: by hand and in simulation."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from beholder.base.boxes import Boxes, Drawn, nothing
from beholder.base.errors import UsageError
from beholder.measure.detection_calibration import fit, outcomes, reliability
from beholder.measure.detection_matching import Matches, matched
from beholder.measure.detection_points import operating_points, rates
from beholder.measure.detections import Detected, Found, nothing_found

BOX = np.array([[0.0, 0, 10, 10]])


def row(outcome: str, scores: list[float]) -> tuple[Drawn, Detected]:
    """A picture by letters: r a right box, f a false one, c one in a crowd, each with its score, m a missed one."""
    true, crowd, found = [], [], []
    for i, letter in enumerate(outcome):
        place = BOX[0] + 20 * i
        true += [place] if letter in "rmc" else []
        crowd += [letter == "c"] if letter in "rmc" else []
        found += [place] if letter in "rfc" else []
    corners = (np.reshape(np.array(x), (-1, 4)) for x in (true, found))
    a, b = corners
    none = [np.zeros(len(x), np.int64) for x in (a, b)]
    return Drawn(a, none[0], np.array(crowd, bool)), Detected(b, none[1], np.array(scores))


def matches(*rows: tuple[str, list[float]], classes: int = 1) -> Matches:
    made = [row(*given) for given in rows]
    return matched(Boxes.of([a for a, _ in made]), Found.of([b for _, b in made]), classes)


FOUR = matches(("rrf", [0.9, 0.7, 0.8]), ("rfm", [0.5, 0.3]), ("c", [0.95]))
"""By score: right .9, false .8, right .7, right .5, false .3; four true boxes."""


def test_points_by_hand() -> None:
    [best] = operating_points(FOUR)
    assert (best.goal, best.n, best.threshold) == ("f1", 4, pytest.approx(0.4))
    assert (best.precision, best.recall, best.f1) == (0.75, 0.75, 0.75)
    [precise] = operating_points(FOUR, "precision@0.9")
    assert (precise.threshold, precise.precision, precise.recall) == (pytest.approx(0.85), 1.0, 0.25)
    [low] = operating_points(FOUR, "precision@0.6")
    assert (low.threshold, low.precision, low.recall) == (0.3, 0.6, 0.75)
    [half] = operating_points(FOUR, "recall@0.5")
    assert (half.threshold, half.recall) == (pytest.approx(0.6), 0.5)


def test_where_there_is_no_point_it_says_why() -> None:
    [never] = operating_points(FOUR, "recall@0.9")
    assert never.threshold is None
    assert never.reason == "no threshold gives a recall of 0.9"
    assert json.loads(json.dumps(never.json()))["f1"] is None
    _, absent = operating_points(matches(("rm", [0.9]), classes=2))
    assert absent.reason == "there is no true box"
    assert operating_points(matches(("m", [])))[0].reason == "no box was found"
    assert operating_points(matches(("fm", [0.5])))[0].reason == "no found box is right"
    for goal in ("f2", "recall", "recall@90", "precision@x", "f1@0.5"):
        with pytest.raises(UsageError, match="operating point"):
            operating_points(FOUR, goal)


def test_rates_by_hand() -> None:
    every, (only,) = rates(FOUR, [0.4])
    assert (only.right, only.false, only.missed) == (3, 1, 1)
    assert (only.precision.value, only.recall.value, only.f1.value) == (0.75, 0.75, pytest.approx(0.75))
    assert (only.precision.n, only.recall.n) == (2, 2)
    assert (every.right, every.false, every.missed, every.recall.value) == (3, 1, 1, 0.75)
    none = rates(FOUR, [math.inf])[0]
    assert (none.right, none.false, none.missed, none.recall.value) == (0, 0, 4, 0)
    assert math.isnan(none.precision.value)


def test_rates_of_boxes_in_few_pictures_are_less_sure() -> None:
    many = [("rf", [0.9, 0.8])] * 40 + [("rm", [0.9])] * 40
    alone = rates(matches(*many), [0.5])[0].recall
    packed = rates(matches(*[("r" * 5 + "m" * 5, [0.9] * 5)] * 2, *[("r" * 10, [0.9] * 10)] * 5, *[("m" * 10, [])] * 2), [0.5])
    assert alone.value == pytest.approx(2 / 3)
    assert alone.low < alone.value < alone.high
    assert packed[0].recall.high - packed[0].recall.low > 1.5 * (alone.high - alone.low)
    grouped = rates(matches(*many), [0.5], groups=np.arange(80) % 2)[0].recall
    assert math.isnan(grouped.low)


def test_rates_and_points_agree() -> None:
    made = [("rfrm"[: 2 + i % 3], [0.9 - i / 100, 0.3 + i / 60, 0.5][: 2 + (i % 3 > 0)]) for i in range(30)]
    of = matches(*made)
    for goal in ("f1", "precision@0.7", "recall@0.6"):
        [point] = operating_points(of, goal)
        found = rates(of, [point.threshold])[0]
        assert (found.precision.value, found.recall.value) == pytest.approx((point.precision, point.recall))
        assert found.f1.value == pytest.approx(point.f1)


def test_calibration_of_overconfident_scores() -> None:
    rng = np.random.default_rng(0)
    scores, later = rng.random(4000), rng.random(4000)
    right, so = rng.random(4000) < scores**2, rng.random(4000) < later**2
    learnt = fit(scores, right)
    grid = np.linspace(0.02, 0.98, 49)
    assert np.abs(learnt(grid) - grid**2).max() < 0.09
    assert len(learnt.scores) == len(learnt.shares) <= 22
    assert (np.diff(learnt.scores) > 0).all()
    assert (np.diff(learnt.shares) > 0).all()
    before, after = reliability(later, so), reliability(learnt(later), so)
    assert before[0] > 0.14
    assert after[0] < 0.02
    assert sum(place["n"] for place in after[1]) == 4000
    assert len(after[1]) == 10
    again = json.loads(json.dumps(learnt.json()))
    np.testing.assert_array_equal(np.interp(grid, again["scores"], again["shares"]), learnt(grid))


def test_calibration_of_few_or_flat_scores() -> None:
    assert fit(np.linspace(0, 1, 39), np.ones(39, bool))(np.array([0.3])).tolist() == [0.3]
    flat = fit(np.full(100, 0.7), np.arange(100) < 80)
    assert flat(np.array([0.7]))[0] == pytest.approx(0.8, abs=0.01)
    wrong_way = fit(np.linspace(0, 1, 400), np.linspace(0, 1, 400) < 0.5)
    assert wrong_way(np.array([0.5]))[0] == pytest.approx(0.5, abs=0.02)
    sure = fit(np.full(60, 1.0), np.ones(60, bool))
    assert 0.98 < sure(np.array([1.0]))[0] < 1


def test_outcomes_leave_out_crowds() -> None:
    scores, right = outcomes(FOUR)
    assert scores.tolist() == [0.9, 0.8, 0.7, 0.5, 0.3]
    assert right.tolist() == [True, False, True, True, False]
    assert len(outcomes(matched(Boxes.of([nothing()]), Found.of([nothing_found()]), 1))[0]) == 0
