"""Counts of a table, of labels, and of what was drawn of pictures."""

from __future__ import annotations

import numpy as np

from beholder.measure.counts import effective, mean_of_defined, of_confusion, of_labels, weighted
from beholder.measure.intervals import resamples

TABLE = np.array([[40, 5, 0], [3, 25, 2], [0, 0, 8]])


def test_shares_of_a_table_worked_by_hand() -> None:
    counts = of_confusion(TABLE)
    np.testing.assert_allclose(counts.recall(), [40 / 45, 25 / 30, 1.0])
    np.testing.assert_allclose(counts.precision(), [40 / 43, 25 / 30, 8 / 10])
    np.testing.assert_allclose(counts.specificity(), [35 / 38, 48 / 53, 73 / 75])
    np.testing.assert_allclose(counts.f1(), [80 / 88, 50 / 60, 16 / 18])
    assert counts.total.tolist() == [83]


def test_weighted_counts_are_those_of_the_pictures_that_were_drawn() -> None:
    rows, columns = np.nonzero(TABLE)
    targets, guesses = (np.repeat(index, TABLE[rows, columns]) for index in (rows, columns))
    weights = list(resamples(83, strata=targets, seed=1, repeats=20))
    drawn = weighted(targets, guesses, 3, weights)
    for r, weight in enumerate(weights):
        table = np.zeros((3, 3), np.int64)
        np.add.at(table, (targets, guesses), weight)
        one = of_confusion(table)
        for name in ("recall", "precision", "f1", "specificity"):
            np.testing.assert_allclose(getattr(drawn, name)()[r], getattr(one, name)())


def test_classes_that_nothing_is_of_and_classes_of_one_picture() -> None:
    counts = of_confusion(np.array([[0, 0, 0], [0, 1, 0], [1, 1, 0]]))
    np.testing.assert_array_equal(counts.recall(), [np.nan, 1, 0])
    np.testing.assert_array_equal(counts.precision(), [0, 0.5, np.nan])
    np.testing.assert_allclose(counts.f1(), [np.nan, 2 / 3, 0])
    assert of_confusion(TABLE).hits.dtype == np.float64


def test_a_resample_without_the_last_class_has_a_column_for_it_and_whole_numbers_become_floats() -> None:
    targets, guesses = np.array([0, 1, 2]), np.array([0, 0, 2])
    drawn = weighted(targets, guesses, 4, [np.array([1, 2, 0]), np.array([0, 0, 3])])
    assert drawn.hits.tolist() == [[1, 0, 0, 0], [0, 0, 3, 0]]
    assert drawn.guessed.tolist() == [[3, 0, 0, 0], [0, 0, 3, 0]]
    assert drawn.truth.tolist() == [[1, 2, 0, 0], [0, 0, 3, 0]]
    assert drawn.total.tolist() == [[3], [3]]
    assert drawn.truth.dtype == drawn.total.dtype == np.float64
    assert weighted(targets, guesses, 3, []).hits.shape == (0, 3)


def test_labels_under_many_weights_are_counted_for_each() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0]], bool)
    guesses = np.array([[1, 1], [0, 1], [0, 0]], bool)
    weights = np.array([[1.0, 1.0, 1.0], [2.0, 0.0, 1.0]])
    counts = of_labels(guesses, truth, weights)
    assert counts.hits.tolist() == [[1, 1], [2, 0]]
    assert counts.guessed.tolist() == [[1, 2], [2, 2]]
    assert counts.total.tolist() == [[3], [3]]
    assert counts.rejected().tolist() == [[1, 1], [1, 1]]


def test_a_mean_of_what_is_defined() -> None:
    means = mean_of_defined(np.array([[1.0, np.nan, 0.5], [np.nan, np.nan, np.nan]]))
    np.testing.assert_array_equal(means, [0.75, np.nan])


def test_a_mean_over_classes_is_worth_as_much_as_so_many_pictures() -> None:
    assert effective(np.array([10.0, 10.0, 0.0])) == 20
    assert effective(np.array([2.0, 6.0])) == 6
    assert effective(np.zeros(3)) == 0


def test_weights_of_one_are_the_sample_itself() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0]], bool)
    guesses = np.array([[1, 1], [0, 1], [0, 0]], bool)
    counts = of_labels(guesses, truth, np.ones(3))
    assert counts.hits.tolist() == [1, 1]
    assert counts.guessed.tolist() == [1, 2]
    assert counts.truth.tolist() == [2, 1]
    assert counts.rejected().tolist() == [1, 1]
