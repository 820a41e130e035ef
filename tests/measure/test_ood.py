"""Scores of strangeness and how they tell strangers, beside scikit-learn and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp, softmax
from sklearn.metrics import roc_auc_score, roc_curve
from sklearn.neighbors import NearestNeighbors

from beholder.measure import ood
from beholder.measure.families import BERNOULLI
from beholder.measure.intervals import interval

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(40, 5)).astype(np.float32) * 20


def test_scores_are_their_formulas() -> None:
    exact = LOGITS.astype(np.float64)
    assert ood.energy(LOGITS) == pytest.approx(-logsumexp(exact, axis=1))
    assert ood.softmax(LOGITS) == pytest.approx(1 - softmax(exact, axis=1).max(axis=1), abs=1e-9)
    assert ood.energy(LOGITS, family=BERNOULLI) == pytest.approx(-np.log1p(np.exp(exact)).sum(axis=1))
    assert ood.softmax(LOGITS, family=BERNOULLI) == pytest.approx(1 - 1 / (1 + np.exp(-exact.max(axis=1))), abs=1e-9)


def test_large_logits_do_not_overflow() -> None:
    assert np.isfinite(ood.energy([[1e4, -1e4]])).all()
    assert ood.softmax([[800.0, 0.0]]) == pytest.approx(0)


def test_the_distance_to_neighbours_is_scikit_learns() -> None:
    references, features = RNG.normal(size=(60, 7)), RNG.normal(size=(9, 7))
    unit = [rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (references, features)]
    expected = NearestNeighbors(n_neighbors=10).fit(unit[0]).kneighbors(unit[1])[0][:, -1]
    assert ood.knn(features, references) == pytest.approx(expected, abs=1e-5)
    without = NearestNeighbors(n_neighbors=10).fit(unit[0]).kneighbors()[0][:, -1]
    assert ood.knn(references, references, itself=True) == pytest.approx(without, abs=1e-5)
    assert ood.knn(features, references[:3]).shape == (9,)
    assert ood.knn(features, references[:1], itself=False).shape == (9,)
    assert (ood.knn(features[:1], features[:1], itself=True) == 0).all()


def test_a_threshold_lets_the_stated_share_pass() -> None:
    for n in (20, 37, 100):
        scores = RNG.normal(size=n)
        limit = ood.threshold(scores)
        assert (scores <= limit).mean() >= 0.95
        assert (scores < limit).mean() < 0.95


@pytest.mark.parametrize("ties", [False, True])
def test_auroc_is_scikit_learns(ties: bool) -> None:
    inside, outside = RNG.normal(size=90), RNG.normal(1, size=70)
    if ties:
        inside, outside = inside.round(), outside.round()
    found = ood.separation(inside, outside)
    expected = roc_auc_score([0] * 90 + [1] * 70, np.concatenate([inside, outside]))
    assert found.value == pytest.approx(expected)
    assert found.low < expected < found.high
    assert found.n == 160


def test_intervals_of_auroc_hold_the_truth() -> None:
    from statistics import NormalDist

    rng, truth = np.random.default_rng(1), NormalDist().cdf(1.2 / np.sqrt(2))
    held = 0
    for _ in range(1000):
        found = ood.separation(rng.normal(size=60), rng.normal(1.2, size=50))
        held += found.low <= truth <= found.high
    assert 0.93 <= held / 1000 <= 0.975


def test_without_overlap_there_is_still_an_interval() -> None:
    found = ood.separation(np.arange(30), np.arange(100, 150))
    assert (found.value, found.high) == (1.0, 1.0)
    assert 0.85 < found.low < 0.9


def test_fpr95_is_that_of_the_roc_curve() -> None:
    inside, outside = RNG.normal(size=200), RNG.normal(2, size=300)
    found = ood.fpr95(inside, outside)
    # Own pictures are the positives of that measure, and pass with small scores.
    fpr, tpr, _ = roc_curve([1] * 200 + [0] * 300, -np.concatenate([inside, outside]), drop_intermediate=False)
    assert found.value == pytest.approx(fpr[np.argmax(tpr >= 0.95)])
    assert found.low < found.value < found.high


def test_the_interval_of_fpr95_is_that_of_drawing_all_pictures_anew() -> None:
    inside, outside = RNG.normal(size=150), RNG.normal(1.5, size=90)
    shares = []
    for _ in range(4000):
        limit = ood.threshold(RNG.choice(inside, 150))
        shares.append((RNG.choice(outside, 90) <= limit).mean())
    found = ood.fpr95(inside, outside, repeats=4000)
    plain = interval(found.value, np.array(shares), 90, units=90.0)
    assert (found.low, found.high) == pytest.approx((plain.low, plain.high), abs=0.03)


def test_nothing_is_undefined() -> None:
    assert np.isnan(ood.separation([], [1.0]).value)
    assert np.isnan(ood.fpr95([1.0], []).value)
