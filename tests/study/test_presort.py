"""Which pictures come next: typical ones before there are labels, a head after, what a person rejected never again."""

from __future__ import annotations

import time

import numpy as np
import pytest

from beholder.study.presort import LEARNT, Presorter, _balanced, likely, typical, without

NAN = np.nan


def features(n: int = 120, classes: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(features float16 (n, 16), class of each): well apart."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, n)
    centres = rng.normal(0, 4, (classes, 16))
    return (centres[truth] + rng.normal(0, 1, (n, 16))).astype(np.float16), truth


def test_typical_pictures_are_of_all_classes_and_without_features_they_come_as_they_are() -> None:
    x, truth = features()
    grid = typical(Presorter(x, 3), np.arange(120), 9)
    assert len(set(grid.rows.tolist())) == 9
    assert set(truth[grid.rows]) == {0, 1, 2}
    assert grid.asked == -1
    none = typical(Presorter(np.zeros((9, 0), np.float16), 3), np.array([2, 5, 7]), 2)
    assert none.rows.tolist() == [2, 5]


def test_in_a_grid_what_looks_alike_lies_side_by_side() -> None:
    x, truth = features(60)
    rows = typical(Presorter(x, 3), np.arange(60), 60).rows
    assert sorted(rows) == list(range(60))
    assert (np.diff(truth[rows]) != 0).sum() == 2  # three runs of three classes


def test_the_head_learns_and_what_it_cannot_see_is_unknown() -> None:
    x, truth = features()
    x[5] = NAN
    presorter = Presorter(x, 3)
    assert not presorter.known[5]
    head = presorter.fitted(np.arange(30), truth[:30].astype(np.int64))
    assert head is not None
    p = head.probabilities(np.arange(30, 120))
    assert p.sum(axis=1) == pytest.approx(1, abs=1e-5)
    assert (p.argmax(axis=1) == truth[30:]).mean() > 0.95
    assert np.isnan(head.probabilities(np.array([5]))).all()


def test_there_is_no_head_of_a_few_labels_or_of_one_class() -> None:
    x, truth = features()
    presorter = Presorter(x, 3)
    rows = np.arange(40)
    assert presorter.fitted(rows[:4], truth[:4].astype(np.int64)) is None
    assert presorter.fitted(rows, np.zeros(40, np.int64)) is None
    assert Presorter(np.zeros((40, 0), np.float16), 3).fitted(rows, truth[:40].astype(np.int64)) is None


def test_a_class_that_nobody_has_seen_is_not_proposed_and_looked_for_first() -> None:
    x, truth = features()
    rows = np.flatnonzero(truth != 2)[:40]
    presorter = Presorter(x, 3)
    assert presorter.fitted(rows[:17], truth[rows[:17]].astype(np.int64)) is None
    head = presorter.fitted(rows, truth[rows].astype(np.int64))
    assert head is not None
    assert head.probabilities(np.arange(120))[:, 2].max() < 0.1


def test_rejected_classes_are_never_proposed_again() -> None:
    p = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.2, 0.3, 0.5]], np.float32)
    found = without(p, np.array([7, 8, 9]), {7: {0}, 8: set(), 9: {0, 1, 2}})
    assert found[0] == pytest.approx([0, 0.75, 0.25])
    assert found[1:] == pytest.approx(p[1:])  # of none left, all are possible again
    assert p[0, 0] == np.float32(0.6)


def test_the_next_grid_is_of_the_class_that_takes_the_fewest_clicks() -> None:
    x, _ = features(6)
    p = np.array([[0.9, 0.1, 0], [0.7, 0.2, 0.1], [0.4, 0.6, 0], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.8, 0.1, 0.1]], np.float32)
    grid = likely(Presorter(x, 3), p, np.arange(6), 6)
    assert grid.asked == 0
    assert sorted(grid.rows) == [0, 1, 5]
    assert grid.p == pytest.approx(p[grid.rows, 0])
    assert sorted(likely(Presorter(x, 3), p, np.arange(6), 2).rows) == [0, 5]
    flat = likely(Presorter(x, 10), np.full((6, 10), 0.1, np.float32), np.arange(6), 4)
    assert len(flat.rows) == 4


def test_of_many_labels_the_same_number_of_each_class_is_learnt() -> None:
    labels = np.repeat([0, 1, 2], [9000, 3000, 500]).astype(np.int64)
    kept = _balanced(labels, LEARNT, 0)
    assert len(kept) == LEARNT
    assert np.bincount(labels[kept]).tolist() == [1750, 1750, 500]


@pytest.mark.slow
def test_a_hundred_thousand_pictures_take_a_moment_and_no_square() -> None:
    import tracemalloc

    x, truth = np.zeros((100_000, 256), np.float16), np.arange(100_000) % 5
    rng = np.random.default_rng(0)
    for at in range(0, 100_000, 10_000):
        x[at : at + 10_000] = rng.normal(0, 1, (10_000, 256)) + 3 * np.eye(5, 256)[truth[at : at + 10_000]]
    tracemalloc.start()
    began = time.perf_counter()
    presorter = Presorter(x, 5)
    assert len(typical(presorter, np.arange(100_000), 30).rows)
    head = presorter.fitted(np.arange(50_000), truth[:50_000].astype(np.int64))
    assert head is not None
    p = head.probabilities(np.arange(50_000, 100_000))
    assert (p.argmax(axis=1) == truth[50_000:]).mean() > 0.9
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 << 20
    assert time.perf_counter() - began < 60
