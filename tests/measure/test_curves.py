"""Average precision and AUROC against scikit-learn, with equal scores and weights; DeLong's variance as it is defined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, roc_auc_score

from beholder.measure.curves import auroc, average_precision


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 1000))
def test_average_precision_is_scikit_learns(n: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = np.round(rng.random(n) * steps) / steps, rng.random(n) < 0.4
    truth[0] = True
    weights = rng.integers(0, 4, (5, n))
    weights[:, 0] = 1
    expected = [average_precision_score(truth, scores, sample_weight=w) for w in weights]
    np.testing.assert_allclose(average_precision(scores, truth, weights), expected, atol=1e-12)
    assert float(average_precision(scores, truth)) == pytest.approx(average_precision_score(truth, scores))


def test_nothing_positive_is_undefined() -> None:
    assert math.isnan(float(average_precision(np.array([0.1, 0.9]), np.array([0, 0]))))
    assert np.isnan(average_precision(np.array([0.1, 0.9]), np.array([0, 1]), np.array([[1, 0], [0, 2]]))).tolist() == [
        True,
        False,
    ]
    assert math.isnan(float(average_precision(np.zeros(0), np.zeros(0))))


@given(st.integers(4, 50), st.integers(1, 9), st.integers(0, 1000))
def test_auroc_is_scikit_learns_and_its_variance_delongs(n: int, steps: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = np.round(rng.random(n) * steps) / steps, rng.random(n) < 0.4
    truth[:4] = (True, False, True, False)
    area, added = auroc(scores, truth)
    assert area == pytest.approx(roc_auc_score(truth, scores))
    order = scores[truth][:, None] - scores[~truth]
    kernel = (order > 0) + 0.5 * (order == 0)
    expected = kernel.mean(1).var(ddof=1) / truth.sum() + kernel.mean(0).var(ddof=1) / (~truth).sum()
    assert np.square(added).sum() == pytest.approx(expected, abs=1e-12)
    assert added[truth].sum() == pytest.approx(0, abs=1e-9)


def test_auroc_of_one_class_is_undefined() -> None:
    area, added = auroc(np.array([0.1, 0.2]), np.array([1, 1]))
    assert math.isnan(area)
    assert np.isnan(added).all()
