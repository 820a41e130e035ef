"""Random numbers as a pure function of where they are needed."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from beholder.machine.draws import Draws, permutation

MANY = 50_000


def draws(*, seed: int = 0, epoch: int = 0, n: int = MANY) -> Draws:
    return Draws(seed, epoch, torch.arange(n))


def correlation(a: torch.Tensor, b: torch.Tensor) -> float:
    return abs(float(np.corrcoef(a.numpy(), b.numpy())[0, 1]))


def test_known_values_never_change() -> None:
    """A run that is resumed by a later version must see the same pictures."""
    values = Draws(7, 3, torch.tensor([0, 1, 59_999])).uniform("rotate")
    assert values.dtype == torch.float32
    assert (values * 2**24).tolist() == [12546424, 14464017, 14203585]


def test_mixing_agrees_with_the_published_generator() -> None:
    """SplitMix64 started at 1234567; the first outputs, as published with the algorithm (Rosetta Code, "Pseudo-random
    numbers/Splitmix64")."""
    from beholder.base.mixing import mixed

    states = np.array([(1234567 + 0x9E3779B97F4A7C15 * k) % 2**64 for k in (1, 2, 3)], dtype=np.uint64)
    assert mixed(states).tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


@given(st.lists(st.integers(0, 2**40), min_size=1, max_size=30, unique=True), st.integers(0, 2**31), st.integers(0, 10_000))
def test_a_picture_draws_the_same_alone_and_in_any_company(indices: list[int], seed: int, epoch: int) -> None:
    together = Draws(seed, epoch, torch.tensor(indices))
    backwards = Draws(seed, epoch, torch.tensor(indices[::-1]))
    alone = [Draws(seed, epoch, torch.tensor([i])) for i in indices]
    for name in ("uniform", "normal", "alternating"):
        values = getattr(together, name)("x")
        assert torch.equal(values, getattr(backwards, name)("x").flip(0))
        assert torch.equal(values, torch.cat([getattr(one, name)("x") for one in alone]))
    assert together.batch_uniform("x") == backwards.batch_uniform("x")


def test_uniform_and_normal_are_what_they_say() -> None:
    assert stats.kstest(draws().uniform("x").numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(draws().normal("x").numpy(), "norm").pvalue > 0.01
    values = draws().uniform("x")
    assert values.min() >= 0
    assert values.max() < 1


def test_over_epochs_one_picture_is_uniform_too() -> None:
    values = [float(Draws(0, epoch, torch.tensor([5])).uniform("x")) for epoch in range(3000)]
    assert stats.kstest(values, "uniform").pvalue > 0.01
    shared = [Draws(0, epoch, torch.arange(8)).batch_uniform("mix") for epoch in range(3000)]
    assert stats.kstest(shared, "uniform").pvalue > 0.01


def test_streams_epochs_seeds_and_neighbours_are_independent() -> None:
    here = draws().uniform("x")
    bound = 4 / MANY**0.5
    assert correlation(here, draws().uniform("y")) < bound
    assert correlation(here, draws(epoch=1).uniform("x")) < bound
    assert correlation(here, draws(seed=1).uniform("x")) < bound
    assert correlation(here[1:], here[:-1]) < bound
    assert correlation(draws(seed=1, epoch=0).uniform("x"), draws(seed=0, epoch=1).uniform("x")) < bound


def test_alternating_shows_each_picture_both_ways() -> None:
    first, second, third = (draws(epoch=epoch).alternating("flip") for epoch in (4, 5, 6))
    assert torch.equal(first, ~second)
    assert torch.equal(first, third)
    assert abs(float(first.float().mean()) - 0.5) < 0.01


@given(st.integers(0, 300), st.integers(0, 100), st.integers(0, 100))
def test_an_order_is_a_permutation_and_depends_on_seed_and_epoch_only(n: int, seed: int, epoch: int) -> None:
    order = permutation(seed, epoch, n)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))
    assert np.array_equal(order, permutation(seed, epoch, n))
    if n > 50:
        assert not np.array_equal(order, permutation(seed, epoch + 1, n))
        assert not np.array_equal(order, permutation(seed + 1, epoch, n))


def test_every_place_in_the_order_is_as_likely() -> None:
    first = [int(permutation(0, epoch, 10)[0]) for epoch in range(4000)]
    assert stats.chisquare(np.bincount(first, minlength=10)).pvalue > 0.01
