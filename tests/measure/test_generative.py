"""The kernel distance and coverage, against what they are by definition and where the answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import polynomial_kernel

from beholder.measure.generative import balls, covered, kid, spread
from beholder.measure.neighbours import unit


def rows(n: int, seed: int, shift: float = 0.0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(n, 16)) + shift).astype(np.float32)


def test_one_block_is_the_unbiased_squared_mmd() -> None:
    one, other = rows(50, 0), rows(50, 1, 0.3)
    k = [polynomial_kernel(a, b, degree=3, gamma=1 / 16, coef0=1) for a, b in ((one, one), (other, other), (one, other))]
    own = sum(each.sum() - np.trace(each) for each in k[:2]) / (50 * 49)
    found = kid(one, other, block=50)
    assert found.value == pytest.approx(own - 2 * k[2].mean(), rel=1e-5)
    assert found.n == 50
    assert np.isnan(found.low)


def test_distance_of_one_distribution_has_an_interval_about_zero_that_holds_it() -> None:
    held = 0
    for seed in range(40):
        found = kid(rows(400, 2 * seed), rows(400, 2 * seed + 1), block=50)
        held += found.low <= 0 <= found.high
    assert held >= 34
    far = kid(rows(400, 0), rows(400, 1, 0.5), block=50)
    assert far.low > 0
    assert far.n == 400


def test_distance_of_too_few_is_not_estimable() -> None:
    assert np.isnan(kid(rows(1, 0), rows(1, 1)).value)


def test_ball_reaches_to_the_third_neighbour() -> None:
    angles = np.array([0.0, 0.1, 0.2, 0.35, 3.0])
    circle = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    assert balls(circle)[0] == pytest.approx(1 - np.cos(0.35), abs=1e-5)


def test_real_pictures_are_covered_where_made_ones_are_near() -> None:
    real = unit(rows(300, 0))
    assert covered(real, unit(rows(300, 1))).mean() > 0.7
    cluster = unit(rows(300, 2) * 0.01 + np.eye(16, dtype=np.float32)[0])
    assert covered(real, cluster).mean() < 0.02
    assert covered(real, real).all()


def test_the_spread_is_the_mean_distance_of_two_pictures() -> None:
    some = unit(rows(40, 3))
    by_hand = [1 - float(one @ other) for k, one in enumerate(some) for other in some[k + 1 :]]
    assert spread(some) == pytest.approx(np.mean(by_hand), abs=1e-5)
    assert spread(np.repeat(some[:1], 5, axis=0)) == pytest.approx(0, abs=1e-5)
