"""Outliers: nearest neighbours against brute force, and strangers among a crowd."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beholder.base.records import Pictures
from beholder.duplicates.facts import FACTS
from beholder.quality.checks import Evidence
from beholder.quality.checks.outliers import NEIGHBOURS, OUTLIER, neighbours, outlier, strangeness
from beholder.sources.arrays import ArrayStore


def crowd(n: int, *, seed: int = 0) -> npt.NDArray[np.float32]:
    """Features around five centres."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(0, 1, (5, 32))
    return (centres[rng.integers(0, 5, n)] + rng.normal(0, 0.3, (n, 32))).astype(np.float32)


def evidence(features: npt.NDArray[np.float32]) -> Evidence:
    n = len(features)
    none = np.full(n, -1)
    pictures = Pictures(ArrayStore([]), [str(i) for i in range(n)], np.zeros(n, np.int64), ("a",), none.astype(np.int8), none)
    return Evidence(pictures, np.zeros(n, FACTS), features=features)


def test_neighbours_are_those_of_brute_force() -> None:
    features = crowd(1500)  # more than one block of rows
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    cosine = unit @ unit.T
    np.fill_diagonal(cosine, -2)
    near, rows = neighbours(features)
    assert np.allclose(near, -np.sort(-cosine, axis=1)[:, :NEIGHBOURS], atol=1e-5)
    assert np.allclose(np.take_along_axis(cosine, rows, axis=1), near, atol=1e-5)


def test_neighbours_come_from_a_sample_of_a_large_set() -> None:
    near, rows = neighbours(crowd(500), count=3, references=100)
    assert near.shape == (500, 3)
    assert len(np.unique(rows)) <= 100
    assert (rows != np.arange(500)[:, None]).all()


def test_few_pictures_have_fewer_neighbours() -> None:
    assert neighbours(crowd(4))[0].shape == (4, 3)


def test_half_is_six_robust_deviations() -> None:
    logs = np.array([-1.0, 0.0, 1.0, 0.5, -0.5, 0.0, 1.4826 * 0.5 * 6])
    assert np.isclose(strangeness(np.exp(logs))[-1], 0.5)
    assert strangeness(np.exp(logs))[0] == 0


def test_strangers_are_found_and_the_crowd_is_not() -> None:
    features = crowd(600)
    features[:5] = np.random.default_rng(1).normal(0, 1, (5, 32))
    scores = outlier(evidence(features)).scores
    assert set(np.flatnonzero(scores >= OUTLIER.limit)) == set(range(5))


def test_what_has_no_features_has_no_score() -> None:
    features = crowd(100)
    features[7] = np.nan
    scores = outlier(evidence(features)).scores
    assert np.isnan(scores[7])
    assert np.isfinite(np.delete(scores, 7)).all()
    assert np.isnan(outlier(evidence(crowd(5))).scores).all()
