"""Tasks that are judged by how far off their answers are."""

from __future__ import annotations

import math

import numpy as np
import pytest

from beholder.measure.families import CATEGORICAL
from beholder.tasks.errors import by_error
from beholder.tasks.single import SINGLE

YEARS = np.array([0.0, 10.0, 20.0, 40.0])
AGE = by_error(SINGLE, "years", lambda p, truth: np.abs(p @ YEARS - YEARS[truth]), most=40)


def test_the_mean_error_comes_first_with_its_interval() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 4, 300)
    p = rng.dirichlet(np.ones(4), 300)
    found = AGE.score(p, truth, list("abcd"), thresholds=0.5, groups=None)
    each = np.abs(p @ YEARS - YEARS[truth])
    first = next(iter(found.headline))
    assert (first, found.ranges) == ("years", {"years": (0.0, 40.0)})
    score = found.headline["years"]
    assert (score.value, score.n) == (pytest.approx(each.mean()), 300)
    half = 1.96 * each.std() / math.sqrt(300)
    assert (score.low, score.high) == (pytest.approx(each.mean() - half, rel=0.03), pytest.approx(each.mean() + half, rel=0.03))
    assert "accuracy" in found.headline


def test_groups_widen_it_and_few_leave_none() -> None:
    truth, groups = np.zeros(200, int), np.repeat(np.arange(20), 10)
    p = np.eye(4)[groups % 4]
    alone, together = (AGE.score(p, truth, list("abcd"), thresholds=0.5, groups=of).headline["years"] for of in (None, groups))
    assert together.high - together.low > 2 * (alone.high - alone.low)
    two = AGE.score(p, truth, list("abcd"), thresholds=0.5, groups=np.arange(200) % 2).headline["years"]
    assert two.value == alone.value
    assert math.isnan(two.low)
    none = AGE.score(p[:0], truth[:0], list("abcd"), thresholds=0.5, groups=None).headline["years"]
    assert math.isnan(none.value)


def test_answers_that_are_all_exact_leave_an_interval() -> None:
    truth = np.arange(8) % 4
    score = AGE.score(np.eye(4)[truth], truth, list("abcd"), thresholds=0.5, groups=None).headline["years"]
    assert score.value == score.low == 0
    assert score.high == pytest.approx(40 * 0.324, abs=0.1), "Wilson's limit of 0 of 8"


def test_the_smaller_the_error_the_better() -> None:
    truth = np.eye(4)[[0, 1, 2, 3]]
    assert AGE.objective(40 * truth, truth) == pytest.approx(0, abs=1e-9)
    assert AGE.objective(40 * truth[::-1], truth) == pytest.approx(-(40 + 10 + 10 + 40) / 4)
    assert not AGE.share
    assert AGE.family is CATEGORICAL


def test_it_is_compared_by_resamples() -> None:
    p, truth = np.eye(4)[[0, 1, 2, 3]], np.array([0, 0, 0, 0])
    of = AGE.compared(p, truth, p.argmax(1))["years"]
    drawn = [np.array([1, 1, 1, 1]), np.array([0, 0, 0, 4])]
    np.testing.assert_allclose(of.values(drawn), [17.5, 40])
    assert (of.least, of.most) == (0, 40)
