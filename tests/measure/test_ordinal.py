"""Scores of grades beside scikit-learn's, and how often their intervals hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, cohen_kappa_score, mean_absolute_error

from beholder.measure.families import median
from beholder.measure.ordinal import ERROR, KAPPA, kappa, ordinal, statistics

GRADES = ["0", "1", "2", "3", "4"]


def told(n: int, seed: int = 0, noise: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities, the more wrong the more noise, and grades."""
    rng = np.random.default_rng(seed)
    grades = rng.integers(0, 5, n)
    seen = grades + rng.normal(size=n) * noise
    p = np.exp(-np.square(seen[:, None] - np.arange(5)))
    return p / p.sum(axis=1, keepdims=True), grades


def test_kappa_and_error_are_those_of_scikit_learn() -> None:
    p, grades = told(300)
    found, answers = ordinal(p, grades, GRADES), np.minimum((p.cumsum(axis=1) < 0.5).sum(axis=1), 4)
    assert found.headline[KAPPA].value == pytest.approx(cohen_kappa_score(grades, answers, weights="quadratic"))
    assert found.headline[ERROR].value == pytest.approx(mean_absolute_error(grades, answers))
    assert found.headline["accuracy"].value == pytest.approx(accuracy_score(grades, answers))
    assert list(found.headline)[:3] == [KAPPA, ERROR, "accuracy"]
    assert "top5" not in ordinal(*told(50), GRADES).headline
    assert found.confusion is not None
    assert found.confusion.sum() == 300


def test_intervals_hold_the_true_values() -> None:
    p, grades = told(200_000, seed=99)
    truth = {name: float(of(np.ones((1, len(p)), np.int64))[0]) for name, of in statistics(grades, median(p), 5).items()}
    held = {KAPPA: 0, ERROR: 0}
    for seed in range(60):
        found = ordinal(*told(80, seed), GRADES).headline
        for name in held:
            held[name] += found[name].low <= truth[name] <= found[name].high
    assert min(held.values()) >= 53


def test_perfect_grades_keep_a_width_and_groups_widen_it() -> None:
    grades = np.arange(60) % 5
    perfect = ordinal(np.eye(5)[grades], grades, GRADES).headline
    assert (perfect[KAPPA].value, perfect[ERROR].value) == (1, 0)
    assert 0.8 < perfect[KAPPA].low < 1
    assert 0 < perfect[ERROR].high < 0.5
    p, y = told(60)
    alone = ordinal(np.repeat(p, 4, axis=0), np.repeat(y, 4), GRADES).headline[KAPPA]
    grouped = ordinal(np.repeat(p, 4, axis=0), np.repeat(y, 4), GRADES, groups=np.repeat(np.arange(60), 4)).headline[KAPPA]
    assert grouped.high - grouped.low > 1.7 * (alone.high - alone.low)
    few = ordinal(p, y, GRADES, groups=np.arange(60) % 3).headline[KAPPA]
    assert math.isnan(few.low)


def test_one_grade_alone_has_no_kappa() -> None:
    p = np.eye(5)[np.full(20, 2)]
    found = ordinal(p, np.full(20, 2), GRADES)
    assert math.isnan(found.headline[KAPPA].value)
    assert found.json()["scores"][KAPPA]["value"] is None
    assert found.headline[ERROR].value == 0
    assert np.isnan(kappa(np.diag([0, 4, 0])))
    assert kappa([[0, 4], [0, 0]]) == 0
