"""Scalings against the condition of their optimum, logistic regression, and pictures that they were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from beholder.base.errors import UsageError
from beholder.measure.calibration import Calibration, choose, fit, losses, probabilities


def told(n: int, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a perfectly calibrated recogniser, and targets drawn as they say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    below = probabilities(logits, multi=False).cumsum(axis=1)[:, :-1]
    return logits, (rng.random((n, 1)) > below).sum(axis=1)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_temperature_undoes_a_factor(factor: float) -> None:
    logits, targets = told(8000)
    found = fit(factor * logits, targets, multi=False, method="temperature")
    assert found.scale * factor == pytest.approx(np.ones(5), abs=0.05)
    assert not found.bias.any()
    grid = [losses(factor * logits * s, targets, multi=False).mean() for s in np.linspace(0.5, 2, 61) / factor]
    assert losses(found(factor * logits), targets, multi=False).mean() <= min(grid) + 1e-4


def test_vector_scaling_undoes_factors_and_offsets() -> None:
    logits, targets = told(20000)
    factors, offsets = np.array([0.5, 1, 2, 1, 1]), np.array([0, 1.0, -1, 0, 0])
    bent = logits * factors + offsets
    found = fit(bent, targets, multi=False, method="vector")
    assert np.abs(probabilities(found(bent), multi=False) - probabilities(logits, multi=False)).mean() < 0.01


def test_of_one_label_it_is_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 2))
    truth = (rng.random((3000, 2)) < probabilities(2 * logits - 1, multi=True)).astype(np.uint8)
    found = fit(logits, truth, multi=True, method="vector")
    for c in range(2):
        oracle = LogisticRegression(C=1e6, tol=1e-8).fit(logits[:, [c]], truth[:, c])
        assert found.scale[c] == pytest.approx(float(oracle.coef_[0, 0]), abs=0.01)
        assert found.bias[c] == pytest.approx(float(oracle.intercept_[0]), abs=0.01)


def test_all_right_is_not_made_certain() -> None:
    logits = np.eye(3)[np.arange(30) % 3] * 4
    found = fit(logits, np.arange(30) % 3, multi=False, method="temperature")
    p = probabilities(found(logits), multi=False).max(axis=1)
    assert p == pytest.approx(np.full(30, 1 - 2 / 3 / 31), abs=1e-3), "as if one more had come, of any class"


def test_what_does_not_prove_itself_is_not_done() -> None:
    methods = []
    for seed in range(20):
        logits, targets = told(300, seed=seed)
        found = choose(logits, targets, multi=False)
        methods.append(found.method)
        assert found.reason
    assert methods.count("none") >= 15
    few = choose(*told(19), multi=False)
    assert (few.method, few.n) == ("none", 19)
    assert "too few" in few.reason


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.1, 2.5])
def test_new_pictures_lose_nothing(factor: float) -> None:
    gains = []
    for seed in range(10):
        logits, targets = told(1500, seed=seed)
        found = choose(factor * logits[:500], targets[:500], multi=False, seed=seed)
        new, truth = factor * logits[500:], targets[500:]
        gains.append(losses(new, truth, multi=False).mean() - losses(found(new), truth, multi=False).mean())
    assert np.mean(gains) > (0.02 if factor in (0.4, 2.5) else -0.002)


def test_vector_scaling_where_it_helps() -> None:
    logits, targets = told(4000)
    bent = logits * np.array([0.3, 1, 3, 1, 1]) + np.array([0, 2.0, -2, 0, 0])
    assert choose(bent, targets, multi=False).method == "vector"


def test_groups_stay_in_one_fold() -> None:
    """A hundred copies of each picture look like proof unless they are held out together."""
    logits, _ = told(30, seed=3)
    many = np.repeat(np.arange(30), 100)
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 5, 30)
    alone = choose(logits, noisy, multi=False)
    grouped = choose(logits[many], noisy[many], multi=False, groups=many)
    assert grouped.n == 3000
    assert alone.method in ("none", "temperature")
    assert grouped.method != "vector"


def test_json_there_and_back() -> None:
    found = fit(*told(200), multi=False, method="vector")
    back = Calibration.from_json(found.json())
    logits = told(10, seed=1)[0]
    assert np.array_equal(back(logits), found(logits))
    assert (back.method, back.n) == ("vector", 200)
    with pytest.raises(UsageError):
        fit(*told(200), multi=False, method="platt")
