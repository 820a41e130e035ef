"""Counts redrawn by cells and by pictures tell the same."""

from __future__ import annotations

import numpy as np

from beholder.measure.counts import of_confusion, of_labels, redrawn, weighted
from beholder.measure.intervals import resamples

TABLE = np.array([[40, 5, 0], [3, 25, 2], [0, 0, 8]])


def test_shares_of_a_table_worked_by_hand() -> None:
    counts = of_confusion(TABLE)
    np.testing.assert_allclose(counts.recall(), [40 / 45, 25 / 30, 1.0])
    np.testing.assert_allclose(counts.precision(), [40 / 43, 25 / 30, 8 / 10])
    np.testing.assert_allclose(counts.specificity(), [35 / 38, 48 / 53, 73 / 75])
    np.testing.assert_allclose(counts.f1(), [80 / 88, 50 / 60, 16 / 18])
    assert counts.micro_f1() == (40 + 25 + 8) / 83


def test_drawing_cells_has_the_moments_of_drawing_pictures() -> None:
    rows, columns = np.nonzero(TABLE)
    repeats = TABLE[rows, columns]
    targets, guesses = np.repeat(rows, repeats), np.repeat(columns, repeats)
    cells = redrawn(TABLE, seed=0, repeats=4000)
    pictures = weighted(targets, guesses, 3, resamples(83, strata=targets, seed=1, repeats=4000))
    assert (cells.truth == TABLE.sum(1)).all()
    assert (pictures.truth == TABLE.sum(1)).all()
    for name in ("recall", "precision", "f1", "specificity"):
        one, other = getattr(cells, name)(), getattr(pictures, name)()
        np.testing.assert_allclose(one.mean(0), other.mean(0), atol=0.01)
        np.testing.assert_allclose(one.std(0), other.std(0), atol=0.006)


def test_weights_of_one_are_the_sample_itself() -> None:
    truth = np.array([[1, 0], [1, 1], [0, 0]], bool)
    guesses = np.array([[1, 1], [0, 1], [0, 0]], bool)
    counts = of_labels(guesses, truth, np.ones(3))
    assert counts.hits.tolist() == [1, 1]
    assert counts.guessed.tolist() == [1, 2]
    assert counts.truth.tolist() == [2, 1]
    assert counts.rejected().tolist() == [1, 1]
