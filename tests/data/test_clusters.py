from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.arrays import F32
from beholder.data import clusters
from beholder.data.clusters import Axes, firsts, kmeans
from beholder.measure.neighbours import unit


def blobs(count: int, each: int, width: int = 16, noise: float = 0.05) -> tuple[F32, np.ndarray]:
    """Return rows about `count` directions that are far from each other, and which of them each is about."""
    rng = np.random.default_rng(0)
    centres = np.eye(width)[:count]
    rows = np.repeat(centres, each, axis=0) + noise * rng.normal(size=(count * each, width))
    return unit(rows), np.repeat(np.arange(count), each)


def test_clusters_are_those_of_sklearn() -> None:
    """On blobs both find the same partition; on noise both leave about as much of the rows unexplained."""
    from sklearn.cluster import KMeans
    from sklearn.metrics import adjusted_rand_score

    rows, truth = blobs(8, 30)
    home, near = kmeans(rows, 8, seed=1)
    assert adjusted_rand_score(truth, home) == 1
    assert near.min() > 0.8
    noise = unit(np.random.default_rng(1).normal(size=(600, 12)))
    home, _ = kmeans(noise, 10)
    theirs = KMeans(10, n_init=3, random_state=0).fit(noise)
    assert _inertia(noise, home) < 1.05 * theirs.inertia_


def _inertia(rows: F32, home: np.ndarray) -> float:
    return float(sum(((rows[home == k] - rows[home == k].mean(axis=0)) ** 2).sum() for k in np.unique(home)))


def test_components_are_those_of_sklearn() -> None:
    from sklearn.decomposition import PCA

    rng = np.random.default_rng(2)
    rows = (rng.normal(size=(300, 6)) @ rng.normal(size=(6, 20)) + 5).astype(np.float32)
    ours = Axes.of(rows, most=4)(rows)
    theirs = PCA(4).fit_transform((rows - rows.mean(0)) / rows.std(0))
    assert np.allclose(np.abs(ours), np.abs(theirs), atol=1e-2)


def test_columns_that_are_always_the_same_and_few_rows_do_no_harm() -> None:
    for width in (3, 40):
        rows = np.zeros((5, width), np.float32)
        rows[:, 2] = np.arange(5)
        found = Axes.of(rows)(rows)
        assert found.shape == (5, min(5, width))
        assert np.isfinite(found).all()
        assert np.abs(found).max() > 1


def test_wide_features_have_the_same_components_as_by_the_larger_product() -> None:
    rows = np.random.default_rng(3).normal(size=(40, 90)).astype(np.float32)
    wide = Axes.of(rows, most=5)
    values = (rows - wide.mean) / wide.std
    _, _, theirs = np.linalg.svd(values, full_matrices=False)
    assert np.allclose(np.abs(wide.axes.T), np.abs(theirs[:5]), atol=1e-6)


def test_many_rows_are_clustered_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, truth = blobs(10, 40)
    monkeypatch.setattr(clusters, "AT_ONCE", 4000)
    home, near = kmeans(rows, 40, seed=3)
    assert len(np.unique(home)) == 40
    assert near.mean() > 0.9
    pure = [np.bincount(truth[home == k]).max() / (home == k).sum() for k in range(40)]
    assert np.mean(pure) > 0.7
    assert (home == kmeans(rows, 40, seed=3)[0]).all()
    assert (home != kmeans(rows, 40, seed=4)[0]).any()


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 3), st.booleans())
def test_as_many_rows_are_taken_as_were_asked_for(n: int, count: int, seed: int, equal: bool) -> None:
    count = min(n, count)
    rows = unit(np.ones((n, 4)) if equal else np.random.default_rng(seed).normal(size=(n, 4)))
    home, near = kmeans(rows, count, seed=seed)
    assert home.shape == near.shape == (n,)
    assert 0 <= home.min() <= home.max() < count
    found = firsts(home, -near, count)
    assert len(found) == len(set(found.tolist())) == count
    if not equal:
        assert set(home[found].tolist()) == set(range(count)) or len(np.unique(home)) < count


def test_firsts_takes_the_least_key_of_each_cluster_and_orders_by_it() -> None:
    home = np.array([0, 0, 1, 1, 3])
    key = np.array([0.5, 0.2, 0.9, 0.8, 0.1])
    assert firsts(home, key, 3).tolist() == [4, 1, 3]
    assert firsts(home, key, 4).tolist() == [4, 1, 3, 0]
