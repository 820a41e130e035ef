from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from beholder.base.choices import OPTIMISERS, SCHEDULES
from beholder.learn.optim import BIASES, HEAD, Muon, optimiser, orthogonalised
from beholder.nets.fastnet import fastnet

COUPLED = sorted(set(OPTIMISERS.builtin) - {"sphere"})
"""The optimisers whose groups all have the rate that was asked for."""


@given(st.sampled_from(sorted(SCHEDULES.builtin)), st.floats(0, 1))
def test_a_schedule_stays_between_nothing_and_everything(name: str, done: float) -> None:
    assert 0 <= SCHEDULES.load(name)(done) <= 1


@pytest.mark.parametrize("name", sorted(set(SCHEDULES.builtin) - {"constant"}))
def test_a_schedule_rises_early_and_ends_at_nothing(name: str) -> None:
    values = [SCHEDULES.load(name)(k / 200) for k in range(201)]
    peak = int(np.argmax(values))
    assert values[peak] == pytest.approx(1, abs=0.01)
    assert 0 < peak <= 0.3 * 200
    assert values[-1] == pytest.approx(0, abs=1e-6)
    assert all(b <= a + 1e-9 for a, b in pairwise(values[100:]))


@pytest.mark.parametrize("shape", [(8, 8), (16, 40), (40, 16)])
def test_orthogonalised_keeps_directions_and_levels_the_singular_values(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    found = orthogonalised(matrix, steps=8)
    values = torch.linalg.svdvals(found)
    assert 0.6 < float(values.min()) < float(values.max()) < 1.3
    u, _, v = torch.linalg.svd(matrix, full_matrices=False)
    assert float(((u @ v) * found).sum() / ((u @ v).norm() * found.norm())) > 0.97


@pytest.mark.parametrize("shape", [(16, 32), (16, 144), (144, 16), (3, 27)])
@pytest.mark.parametrize(("scale", "near"), [(1.0, 1e-5), (1e-6, 1e-3)])
def test_of_wide_matrices_the_iteration_is_the_published_one(shape: tuple[int, int], scale: float, near: float) -> None:
    """The oracle is the iteration as it is written, on the matrix itself; with singular values over six decades, too.

    Five steps make the smallest ones, and what float32 rounds of their square, 485 times as large.
    """
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    matrix = u @ torch.diag(values * torch.logspace(0, math.log10(scale), len(values), dtype=torch.float64)) @ v
    expected = matrix / (matrix.norm() + 1e-7)
    for _ in range(5):
        square = expected @ expected.T
        expected = 3.4445 * expected + (-4.7750 * square + 2.0315 * square @ square) @ expected
    torch.testing.assert_close(orthogonalised(matrix), expected, rtol=0, atol=1e-9)
    torch.testing.assert_close(orthogonalised(matrix.float()).double(), expected, rtol=0, atol=near)


def test_muon_steps_have_the_stated_size_and_direction() -> None:
    weight = nn.Parameter(torch.zeros(32, 8, 3, 3))
    weight.grad = torch.randn(32, 8, 3, 3, generator=torch.Generator().manual_seed(1))
    Muon([weight], lr=0.1, momentum=0.9).step()
    rms = float(weight.detach().square().mean().sqrt())
    assert rms == pytest.approx(0.1 * 0.2, rel=0.35)
    assert float((weight.detach() * weight.grad).sum()) < 0


def test_muon_decays_weights_apart_from_the_gradient() -> None:
    weight = nn.Parameter(torch.ones(4, 4))
    weight.grad = torch.zeros(4, 4)
    Muon([weight], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(weight.detach(), torch.full((4, 4), 0.95))


def test_a_plain_sgd_step_is_the_textbook_formula() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(3, 2)
    x, before = torch.randn(5, 3), layer.weight.detach().clone()
    layer(x).square().sum().backward()
    delta = layer.weight.grad.clone()
    for made in optimiser(layer, "sgd", lr=0.1, momentum=0.0, weight_decay=0.0):
        made.step()
    assert torch.allclose(layer.weight.detach(), before - 0.1 * delta, atol=1e-6)


@pytest.mark.parametrize("name", COUPLED)
def test_every_trainable_parameter_is_in_exactly_one_group_and_vectors_do_not_decay(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8, 5))
    net[0].bias.requires_grad_(False)
    made = optimiser(net, name, lr=0.1, momentum=0.9, weight_decay=0.3, head=net[3])
    groups = [group for one in made for group in one.param_groups]
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    for group in groups:
        assert len({p.ndim >= 2 for p in group["params"]}) == 1
        assert group["weight_decay"] == (0.3 if group["params"][0].ndim >= 2 else 0.0)
        assert group["lr"] == 0.1


@pytest.mark.parametrize("name", COUPLED)
def test_a_factor_by_name_is_one_on_the_rate(name: str) -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 2))
    made = optimiser(net, name, lr=0.1, momentum=0.9, weight_decay=0.3, head=net[2], factors={"0.weight": 0.25, "0.bias": 0.5})
    rates = {id(p): group["lr"] for one in made for group in one.param_groups for p in group["params"]}
    assert [rates[id(p)] for p in net.parameters()] == [0.025, 0.05, 0.1, 0.1, 0.1, 0.1]


@pytest.mark.parametrize("name", COUPLED)
def test_every_optimiser_brings_the_loss_of_a_small_net_down(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))
    x = torch.randn(60, 1, 4, 4)
    y = x.flatten(1)[:, :3].argmax(1)
    usual = OPTIMISERS.load(name)
    made = optimiser(net, name, lr=usual.rate, momentum=0.9, weight_decay=usual.decay, head=net[3])
    losses = []
    for _ in range(150):
        loss = nn.functional.cross_entropy(net(x), y)
        loss.backward()
        for one in made:
            one.step()
            one.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_on_the_sphere_a_step_turns_a_matrix_whatever_its_length() -> None:
    torch.manual_seed(0)
    start, gradient = torch.randn(8, 4, 3, 3), torch.randn(8, 4, 3, 3)
    ends = []
    for length in (0.01, 100.0):
        weight = nn.Parameter(start * length)
        weight.grad = gradient.clone()
        Muon([weight], lr=0.1, momentum=0.6, sphere=True).step()
        ends.append(weight.detach())
    assert torch.allclose(ends[0], ends[1], atol=1e-5)
    on_sphere = start * (8**0.5 / start.norm())
    moved = (ends[0] - on_sphere).norm() / on_sphere.norm()
    assert 0.05 < float(moved) < 0.13  # 0.1, but for what few Newton–Schulz steps leave


def test_a_scale_free_net_gets_decoupled_rates() -> None:
    net = fastnet(channels=3, size=(16, 16), classes=4, width=0.25)
    net.whiten.weight.requires_grad_(False)
    muon, rest = optimiser(net, "sphere", lr=0.2, momentum=0.9, weight_decay=0.01, head=net.head, batch=100)
    groups = [*muon.param_groups, *rest.param_groups]
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in net.parameters() if p.requires_grad)
    assert [group["lr"] for group in groups] == pytest.approx([0.2, BIASES * 100 * 0.2, HEAD * 100 * 0.2])
    for group in rest.param_groups:  # SGD couples decay to its rate: what is pulled off is the same share a step
        assert group["lr"] * group["weight_decay"] == pytest.approx(0.2 * 0.01)


def test_muon_takes_no_gradient_that_it_was_told_is_not_finite() -> None:
    weight = nn.Parameter(torch.ones(3, 4))
    weight.grad = torch.full((3, 4), float("nan"))
    muon = Muon([weight], lr=0.1)
    muon.found_inf = torch.ones(())
    muon.step()
    assert torch.isfinite(weight).all()
