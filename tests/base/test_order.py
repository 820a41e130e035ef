from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from beholder.base.order import stratified


@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(0, 5), st.data())
@settings(max_examples=60, deadline=None)
def test_of_any_first_pictures_each_class_has_its_share(sizes: list[int], seed: int, data: st.DataObject) -> None:
    targets = np.repeat(np.arange(len(sizes)), sizes)
    order = stratified(targets, seed=seed)
    assert sorted(order.tolist()) == list(range(len(targets)))
    n = data.draw(st.integers(0, len(targets)))
    first = np.bincount(targets[order[:n]], minlength=len(sizes))
    assert np.abs(first - n * np.array(sizes) / len(targets)).max() <= len(sizes)


def test_it_is_the_same_each_time_and_takes_several_labels() -> None:
    hot = np.array([[1, 0], [1, 0], [0, 1], [1, 1], [1, 0], [1, 0], [0, 1], [1, 1]], np.uint8)
    assert np.array_equal(stratified(hot), stratified(hot))
    assert {tuple(row) for row in hot[stratified(hot)[:4]].tolist()} == {(1, 0), (0, 1), (1, 1)}
