"""Conformal sets against mapie, and their coverage against the promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin

from beholder.base.errors import UsageError
from beholder.measure.conformal import fit, spread
from beholder.measure.families import CATEGORICAL


def told(n: int, k: int = 6, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities that are not calibrated (conformal sets need not care), and targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    below = CATEGORICAL.probabilities(logits).cumsum(axis=1)[:, :-1]
    return CATEGORICAL.probabilities(1.5 * logits), (rng.random((n, 1)) > below).sum(axis=1)


class Told(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """A classifier whose features are its probabilities."""

    def fit(self, x: Any, y: Any) -> Told:
        self.classes_, self.n_features_in_ = np.unique(y), np.shape(x)[1]
        return self

    def predict_proba(self, x: Any) -> Any:
        return x

    def predict(self, x: Any) -> Any:
        return np.argmax(x, axis=1)


@pytest.mark.parametrize("coverage", [0.8, 0.95])
def test_least_sets_are_those_of_mapie(coverage: float) -> None:
    mapie = pytest.importorskip("mapie.classification")
    p, targets = told(1500)
    ours = fit(p[:500], targets[:500], coverage=coverage)(p[500:])
    oracle = mapie.SplitConformalClassifier(
        Told().fit(p, targets), confidence_level=coverage, conformity_score="lac", prefit=True
    )
    oracle.conformalize(p[:500], targets[:500])
    assert np.array_equal(ours, oracle.predict_set(p[500:])[1][:, :, 0])


@pytest.mark.parametrize("kind", ["least", "adaptive"])
@pytest.mark.parametrize("per_class", [False, True])
def test_coverage_is_as_promised_over_many_validation_parts(kind: str, per_class: bool) -> None:
    seen = []
    for seed in range(60):
        p, targets = told(3000, seed=seed)
        inside = fit(p[:400], targets[:400], coverage=0.9, kind=kind, per_class=per_class)(p[400:])
        seen.append(inside[np.arange(2600), targets[400:]].mean())
    assert np.mean(seen) == pytest.approx(0.9 + 0.5 * (6 if per_class else 1) / 400, abs=0.01)


def test_each_class_has_what_it_was_promised() -> None:
    rng = np.random.default_rng(0)
    p, targets = told(20000)
    p[:, 2] *= np.where(rng.random(20000) < 0.5, 0.05, 1.0)  # a class that is often not believed
    p /= p.sum(axis=1, keepdims=True)
    half = slice(0, 10000), slice(10000, None)
    recall = {}
    for per_class in (False, True):
        inside = fit(p[half[0]], targets[half[0]], coverage=0.9, per_class=per_class)(p[half[1]])
        recall[per_class] = [inside[targets[half[1]] == c, c].mean() for c in range(6)]
    assert recall[False][2] < 0.85
    assert np.abs(np.array(recall[True]) - 0.9).max() < 0.025


def test_each_label_that_a_picture_has_is_in_its_set() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((8000, 3))
    truth = (rng.random((8000, 3)) < p).astype(np.uint8)
    sets = fit(p[:4000], truth[:4000], coverage=0.9)
    inside = sets(p[4000:])
    for c in range(3):
        assert inside[truth[4000:, c] == 1, c].mean() == pytest.approx(0.9, abs=0.03)
    assert sets.per_class


def test_adaptive_sets_hold_the_guess_and_take_the_likeliest_first() -> None:
    p, targets = told(500)
    inside = fit(p, targets, coverage=0.5, kind="adaptive")(p)
    assert inside[np.arange(500), p.argmax(axis=1)].all()
    assert all(p[i][inside[i]].min() >= p[i][~inside[i]].max(initial=0) for i in range(500))
    assert not fit(p, targets, coverage=0.5)(p).any(axis=1).all(), "least sets may be empty"


def test_too_few_pictures_leave_nothing_out() -> None:
    p, targets = told(18)
    assert fit(p, targets, coverage=0.95)(p).all()
    assert not fit(*told(19), coverage=0.95)(told(200, seed=1)[0]).all()
    lonely = fit(p, np.zeros(18, np.int64), coverage=0.9, per_class=True)
    assert lonely.thresholds[1:] == (1.0,) * 5
    assert lonely.counts == (18, 0, 0, 0, 0, 0)


def test_one_validation_part_lies_as_far_off_as_is_said() -> None:
    low, high = spread(200, 0.9)
    rng = np.random.default_rng(0)
    own = np.sort(rng.random((4000, 200)), axis=1)[:, 180]  # of uniform scores a threshold covers itself; ⌈201 · 0.9⌉ = 181
    assert np.mean((own >= low) & (own <= high)) == pytest.approx(0.95, abs=0.015)
    assert spread(5, 0.95) == (1.0, 1.0)


def test_a_promise_that_is_none_is_refused() -> None:
    p, targets = told(300)
    with pytest.raises(UsageError):
        fit(p, targets, coverage=1.0)
    with pytest.raises(UsageError):
        fit(p, targets, coverage=0.9, kind="raps")
