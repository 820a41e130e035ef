"""Nearest neighbours beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from beholder.measure.neighbours import nearest, unit

RNG = np.random.default_rng(0)
ROWS, OTHERS = unit(RNG.normal(size=(1100, 7))), unit(RNG.normal(size=(60, 7)))


@pytest.mark.parametrize("count", [1, 5])
def test_they_are_scikit_learns_the_nearest_first(count: int) -> None:
    cosines, places = nearest(ROWS, OTHERS, count)
    distances, expected = NearestNeighbors(n_neighbors=count, metric="cosine").fit(OTHERS).kneighbors(ROWS)
    assert (places == expected).all()
    assert cosines == pytest.approx(1 - distances, abs=1e-6)


def test_no_row_is_its_own_neighbour() -> None:
    itself = np.where(np.arange(60) < 50, np.arange(60), -1)
    cosines, places = nearest(OTHERS, OTHERS, 4, itself=itself)
    assert (places[:50] != np.arange(50)[:, None]).all()
    assert (places[50:, 0] == np.arange(50, 60)).all()
    assert cosines[50:, 0] == pytest.approx(1)


def test_there_are_no_more_than_there_are() -> None:
    assert nearest(ROWS[:2], OTHERS[:3], 10)[0].shape == (2, 3)
    assert nearest(OTHERS[:3], OTHERS[:3], 10, itself=np.arange(3))[1].shape == (3, 2)
    assert nearest(OTHERS[:1], OTHERS[:1], 10, itself=np.arange(1))[1].shape == (1, 0)
    assert nearest(ROWS[:2], OTHERS[:0], 10)[1].shape == (2, 0)


def test_a_row_of_zeros_stays() -> None:
    assert (unit(np.zeros((1, 3))) == 0).all()
