from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beholder.learn.resizing import LEAST, UNTIL, dearer, resized, size_at, sizes

sides = st.tuples(st.integers(4, 256), st.integers(4, 256))


@given(full=sides, start=st.floats(0.1, 1.0), done=st.floats(0.0, 1.0), later=st.floats(0.0, 1.0))
def test_sizes_only_grow_and_end_full(full: tuple[int, int], start: float, done: float, later: float) -> None:
    first, then = size_at(full, start, min(done, later)), size_at(full, start, max(done, later))
    assert all(a <= b <= c for a, b, c in zip(first, then, full, strict=True))
    assert all(a >= min(LEAST, c) for a, c in zip(first, full, strict=True))
    assert size_at(full, start, UNTIL) == full
    assert size_at(full, 1.0, done) == full


@given(full=sides, start=st.floats(0.1, 1.0), done=st.floats(0.0, 1.0))
def test_all_sizes_are_known_beforehand(full: tuple[int, int], start: float, done: float) -> None:
    assert size_at(full, start, done) in sizes(full, start)
    assert sizes(full, start)[-1] == full


def test_sizes_come_in_steps_that_nets_can_halve() -> None:
    assert sizes((32, 32), 0.6) == [(20, 20), (24, 24), (28, 28), (32, 32)]
    assert {size_at((32, 32), 0.5, k / 50)[0] for k in range(50)} == {16, 20, 24, 28, 32}
    assert {size_at((224, 224), 0.5, k / 50)[0] for k in range(50)} == {128, 160, 192, 224}


@pytest.mark.parametrize("side", [32, 64, 224])
def test_the_last_fifth_of_training_is_on_pictures_of_full_size(side: int) -> None:
    """What the net is tested on it has to have learnt from: at full size only in the last step, it would have seen none."""
    assert all(size_at((side, side), 0.5, k / 100) == (side, side) for k in range(80, 101))
    assert size_at((side, side), 0.5, 0.6) < (side, side)


def test_shrinking_averages_what_falls_together() -> None:
    images = torch.rand(2, 3, 32, 32)
    small = resized(images, (16, 16))
    assert small.shape == (2, 3, 16, 16)
    assert float((small.mean((2, 3)) - images.mean((2, 3))).abs().max()) < 0.02
    board = (torch.arange(32)[:, None] + torch.arange(32)[None]).remainder(2).float().expand(1, 1, 32, 32)
    assert float((resized(board, (16, 16)) - 0.5).abs().max()) < 0.15  # a chess board becomes grey, not stripes
    assert resized(images, (32, 32)) is images


def test_later_steps_cost_more_at_first_and_the_same_in_the_end() -> None:
    costs = [dearer((32, 32), 0.5, k / 10) for k in range(11)]
    assert costs[0] == pytest.approx(sum(size_at((32, 32), 0.5, k / 100)[0] ** 2 for k in range(100)) / 100 / 16**2)
    assert costs[0] > 2
    assert costs[9] == costs[10] == 1.0
    assert dearer((32, 32), 1.0, 0.0) == 1.0
