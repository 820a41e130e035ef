"""Scalings against the condition of their optimum, logistic regression, and pictures that they were not fitted on."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from beholder.base.errors import UsageError
from beholder.measure import calibration
from beholder.measure.calibration import _folds, choose, fit
from beholder.measure.families import BERNOULLI, CATEGORICAL


def told(n: int, k: int = 5, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a perfectly calibrated recogniser, and targets drawn as they say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    below = CATEGORICAL.probabilities(logits).cumsum(axis=1)[:, :-1]
    return logits, (rng.random((n, 1)) > below).sum(axis=1)


@pytest.mark.parametrize("factor", [0.25, 1.0, 3.0])
def test_temperature_undoes_a_factor(factor: float) -> None:
    logits, targets = told(8000)
    found = fit(factor * logits, targets, family=CATEGORICAL, method="temperature")
    assert np.array(found.scale) * factor == pytest.approx(np.ones(5), abs=0.05)
    assert not any(found.bias)
    grid = [CATEGORICAL.losses(factor * logits * s, targets).mean() for s in np.linspace(0.5, 2, 61) / factor]
    assert CATEGORICAL.losses(found(factor * logits), targets).mean() <= min(grid) + 1e-4


def test_vector_scaling_undoes_factors_and_offsets() -> None:
    logits, targets = told(20000)
    factors, offsets = np.array([0.5, 1, 2, 1, 1]), np.array([0, 1.0, -1, 0, 0])
    bent = logits * factors + offsets
    found = fit(bent, targets, family=CATEGORICAL, method="vector")
    assert np.abs(CATEGORICAL.probabilities(found(bent)) - CATEGORICAL.probabilities(logits)).mean() < 0.01


def test_of_one_label_it_is_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3000, 2))
    truth = (rng.random((3000, 2)) < BERNOULLI.probabilities(2 * logits - 1)).astype(np.uint8)
    found = fit(logits, truth, family=BERNOULLI, method="vector")
    for c in range(2):
        oracle = LogisticRegression(C=1e6, tol=1e-8).fit(logits[:, [c]], truth[:, c])
        assert found.scale[c] == pytest.approx(float(oracle.coef_[0, 0]), abs=0.01)
        assert found.bias[c] == pytest.approx(float(oracle.intercept_[0]), abs=0.01)


def test_all_right_is_not_made_certain() -> None:
    logits = np.eye(3)[np.arange(30) % 3] * 4
    found = fit(logits, np.arange(30) % 3, family=CATEGORICAL, method="temperature")
    p = CATEGORICAL.probabilities(found(logits)).max(axis=1)
    assert p == pytest.approx(np.full(30, 1 - 2 / 3 / 31), abs=1e-3), "as if one more had come, of any class"


def test_what_does_not_prove_itself_is_not_done() -> None:
    methods = []
    for seed in range(20):
        logits, targets = told(300, seed=seed)
        found = choose(logits, targets, family=CATEGORICAL)
        methods.append(found.method)
        assert found.reason
    assert methods.count("none") >= 15
    few = choose(*told(19), family=CATEGORICAL)
    assert (few.method, few.n) == ("none", 19)
    assert "too few" in few.reason


@pytest.mark.parametrize("factor", [0.4, 1.0, 1.1, 2.5])
def test_new_pictures_lose_nothing(factor: float) -> None:
    gains = []
    for seed in range(10):
        logits, targets = told(1500, seed=seed)
        found = choose(factor * logits[:500], targets[:500], family=CATEGORICAL, seed=seed)
        new, truth = factor * logits[500:], targets[500:]
        gains.append(CATEGORICAL.losses(new, truth).mean() - CATEGORICAL.losses(found(new), truth).mean())
    assert np.mean(gains) > (0.02 if factor in (0.4, 2.5) else -0.002)


def test_vector_scaling_where_it_helps() -> None:
    logits, targets = told(4000)
    bent = logits * np.array([0.3, 1, 3, 1, 1]) + np.array([0, 2.0, -2, 0, 0])
    assert choose(bent, targets, family=CATEGORICAL).method == "vector"


def test_groups_stay_in_one_fold() -> None:
    """A hundred copies of each picture look like proof unless they are held out together."""
    logits, _ = told(30, seed=3)
    many = np.repeat(np.arange(30), 100)
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 5, 30)
    alone = choose(logits, noisy, family=CATEGORICAL)
    grouped = choose(logits[many], noisy[many], family=CATEGORICAL, groups=many)
    assert grouped.n == 3000
    assert alone.method in ("none", "temperature")
    assert grouped.method != "vector"


def test_a_method_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError):
        fit(*told(200), family=CATEGORICAL, method="platt")


def test_folds_keep_groups_whole_and_classes_spread() -> None:
    """The three frames of a track lie in one fold: a scaling is never judged on a picture whose like it was fitted on."""
    tracks = np.random.default_rng(0).permutation(np.repeat(np.arange(60), 3))
    targets = tracks % 3
    folds = _folds(180, targets, tracks, seed=0)
    assert all(len(set(folds[tracks == track])) == 1 for track in range(60))
    assert np.bincount(folds).tolist() == [36] * 5
    assert all(np.bincount(folds[targets == k], minlength=5).tolist() == [12] * 5 for k in range(3))
    alone = _folds(180, targets, None, seed=0)
    assert any(len(set(alone[tracks == track])) > 1 for track in range(60))


def test_of_copies_in_one_group_no_scaling_is_learnt_by_heart(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is held out holds no copy of what a scaling was fitted on."""
    logits, targets = told(60, seed=3)
    tracks = np.repeat(np.arange(60), 4)
    sets: list[np.ndarray] = []
    real = calibration.fit

    def watched(z: np.ndarray, y: np.ndarray, **how: object) -> object:
        sets.append(z)
        return real(z, y, **how)

    monkeypatch.setattr(calibration, "fit", watched)
    choose(logits[tracks], targets[tracks], family=CATEGORICAL, groups=tracks)
    whole = {row.tobytes() for row in logits}
    for fitted in sets:
        held = {row.tobytes() for row in fitted}
        counts = [sum(row.tobytes() == one for row in fitted) for one in sorted(held)]
        assert set(counts) == {4}, "all copies of a picture are fitted on, or none"
        assert held <= whole
