from __future__ import annotations

import numpy as np
import pytest

from beholder.measure.jackknife import GROUPS, covariance, left_out


def test_units_are_left_out_whole_and_each_once() -> None:
    units = np.repeat(np.arange(100), 3)
    weights = left_out(units, np.arange(300) % 4)
    assert weights.shape == (GROUPS + 1, 300)
    assert (weights[0] == 1).all()
    assert ((weights[1:] == 0).sum(axis=0) == 1).all()
    assert all(len(set(weights[row, units == unit])) == 1 for row in range(GROUPS + 1) for unit in (0, 17, 99))
    assert left_out(np.arange(5), np.zeros(5, int)).shape == (6, 5)


def test_it_gives_the_variance_of_a_mean_and_of_a_difference() -> None:
    """The oracle is the formula of each: σ² / n, and for paired columns the variance of their difference."""
    rng = np.random.default_rng(0)
    ratios = []
    for seed in range(40):
        x = rng.normal(size=400)
        y = x + 0.1 * rng.normal(size=400)
        weights = left_out(np.arange(400), np.zeros(400, int), seed=seed)
        cover = covariance(np.stack([weights @ x, weights @ y], axis=1) / weights.sum(axis=1, keepdims=True))
        apart = cover[0, 0] + cover[1, 1] - 2 * cover[0, 1]
        ratios.append((cover[0, 0] / (x.var() / 400), apart / ((x - y).var() / 400)))
    assert np.abs(np.mean(ratios, axis=0) - 1).max() < 0.15


def test_a_replicate_that_is_undefined_says_nothing() -> None:
    values = np.array([[1.0], [1.1], [0.9], [np.nan]])
    assert covariance(values)[0, 0] == pytest.approx(2 / 3 * 0.02)
