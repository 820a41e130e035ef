"""Readings of the test part and what they do to the interval."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from beholder.base.records import Score
from beholder.evaluation.evaluate import Evaluation
from beholder.evaluation.sections.reuse import adaptive, reuse
from beholder.measure.intervals import at_level, wilson
from beholder.measure.scores import single


def told(readings: int) -> tuple[Any, Evaluation]:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 400)
    p = np.eye(2)[np.where(rng.random(400) < 0.9, y, 1 - y)].astype(np.float32)
    evaluation = Evaluation(
        single(p, y, ["cat", "dog"]), p, y, [str(i) for i in range(400)], (), 0.0, "pets", readings=readings
    )
    when = [{"n": 400, "when": f"2026-01-{day + 1:02}"} for day in range(readings)]
    return SimpleNamespace(readings=when, hashes=np.zeros((0, 64), np.int8)), evaluation


def test_one_reading_leaves_the_interval_as_it_is() -> None:
    found = reuse(*told(1))
    assert found is not None
    assert found["corrected"] == pytest.approx(found["once"], abs=1e-6)
    assert (found["readings"], found["same"], found["alike"], found["remembers"]) == (1, 0, 0, False)
    assert "without" not in found


def test_pictures_from_elsewhere_are_not_corrected_for_readings_of_the_test_part() -> None:
    bundle, evaluation = told(10)
    found = reuse(bundle, replace(evaluation, readings=0))
    assert found is not None
    assert (found["readings"], found["dates"]) == (0, [])
    assert found["corrected"] == pytest.approx(found["once"], abs=1e-6)


def test_ten_readings_widen_it_by_bonferroni() -> None:
    found = reuse(*told(10))
    assert found is not None
    assert found["level"] == pytest.approx(0.995)
    right = round(found["once"]["value"] * 400)
    assert found["corrected"]["low"] == pytest.approx(wilson(right, 400, level=0.995).low, abs=1e-6)
    assert found["adaptive"]["low"] < found["corrected"]["low"] < found["once"]["low"]
    assert found["dates"][-1] == "2026-01-10"


def test_the_adaptive_bound_is_hoeffdings() -> None:
    score = adaptive(Score(0.9, 0.88, 0.92, 1000), 3)
    assert score.low == pytest.approx(0.9 - math.sqrt((math.log(40) + 2 * math.log(1001)) / 2000))
    assert adaptive(Score(math.nan, math.nan, math.nan, 0), 3).n == 0


def test_a_level_that_stays_gives_the_interval_back() -> None:
    for score in (wilson(3, 40), wilson(40, 40), wilson(0, 7), wilson(600.5, 812.25)):
        again = at_level(score, 0.95)
        assert (again.low, again.high) == pytest.approx((score.low, score.high), abs=1e-6)
