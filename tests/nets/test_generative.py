"""Nets that make pictures: likelihoods whose masses sum to 1, bounds in their order, sizes of every kind."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.stats import logistic

from beholder.nets.gan import Gan, patch_of
from beholder.nets.likelihood import LIKELIHOODS, levels
from beholder.nets.vae import Terms, Vae, bits, divergence, sides

GREYS = torch.linspace(-1, 1, 256, dtype=torch.float64)


@pytest.mark.parametrize("mean", [-1.3, -1.0, -0.5, 0.0, 0.999, 1.5])
@pytest.mark.parametrize("scale", [-9.0, -4.0, -1.0, 0.0, 2.0, 6.0])
def test_masses_of_256_grey_levels_sum_to_one(mean: float, scale: float) -> None:
    told = torch.tensor([mean, scale]).reshape(1, 2, 1, 1).expand(256, 2, 1, 1)
    logs = LIKELIHOODS["logistic"].log(told.double(), GREYS.reshape(256, 1, 1, 1))
    assert float(logs.exp().sum()) == pytest.approx(1, abs=1e-6)


def test_mass_of_a_level_is_that_of_the_logistic_distribution() -> None:
    told = torch.tensor([0.1, 0.5]).reshape(1, 2, 1, 1).double()
    value = 2 * 140 / 255 - 1
    found = LIKELIHOODS["logistic"].log(told, torch.full((1, 1, 1, 1), value).double())
    spread = math.exp(0.5 - 2)
    mass = logistic.cdf(value + 1 / 255, 0.1, spread) - logistic.cdf(value - 1 / 255, 0.1, spread)
    assert float(found) == pytest.approx(math.log(mass), abs=1e-6)


def test_channels_depend_on_those_before() -> None:
    """With every coefficient at tanh⁻¹ of a half the middle of green is its own plus half of red, of blue plus half of both."""
    half = math.atanh(0.5)
    told = torch.tensor([0.2, 0.1, -0.1, 0, 0, 0, half, half, half]).reshape(1, 9, 1, 1)
    found = LIKELIHOODS["logistic"].mean(told, 3).flatten().tolist()
    assert found == pytest.approx([0.2, 0.1 + 0.1, -0.1 + 0.1 + 0.1])
    images = torch.tensor([0.6, 0.0, 0.0]).reshape(1, 3, 1, 1)
    alone = LIKELIHOODS["logistic"].log(torch.tensor([0.1 + 0.3, 0.0]).reshape(1, 2, 1, 1), images[:, :1] * 0)
    assert float(LIKELIHOODS["logistic"].log(told, images)[0, 1]) == pytest.approx(float(alone), abs=1e-5)


def test_draws_are_grey_levels_around_the_middle() -> None:
    told = torch.tensor([0.3, 0.0]).reshape(1, 2, 1, 1).expand(1, 2, 100, 100)
    drawn = LIKELIHOODS["logistic"].draw(told, 1, torch.Generator().manual_seed(0))
    assert torch.equal(levels(drawn), drawn)
    assert float(drawn.median()) == pytest.approx(0.3, abs=0.02)
    below = float((drawn < 0).float().mean())
    assert below == pytest.approx(logistic.cdf(0, 0.3, math.exp(-2)), abs=0.02)


def test_bernoulli_is_of_pixels_cut_at_middle_grey() -> None:
    told = torch.full((1, 1, 1, 2), math.log(3))
    found = LIKELIHOODS["bernoulli"].log(told, torch.tensor([0.4, -0.4]).reshape(1, 1, 1, 2)).exp().flatten().tolist()
    assert found == pytest.approx([0.75, 0.25])
    assert LIKELIHOODS["bernoulli"].mean(told, 1).flatten().tolist() == pytest.approx([0.5, 0.5])
    drawn = LIKELIHOODS["bernoulli"].draw(torch.full((1, 1, 100, 100), math.log(3)), 1, torch.Generator().manual_seed(0))
    assert set(drawn.unique().tolist()) == {-1.0, 1.0}
    assert float((drawn > 0).float().mean()) == pytest.approx(0.75, abs=0.02)


def test_divergence_is_that_of_two_normal_distributions() -> None:
    one, other = torch.distributions.Normal(0.3, math.exp(-0.5)), torch.distributions.Normal(-0.2, math.exp(0.4))
    found = divergence(*(torch.tensor(v) for v in (0.3, -0.5, -0.2, 0.4)))
    assert float(found) == pytest.approx(float(torch.distributions.kl_divergence(one, other)), abs=1e-6)


@pytest.mark.parametrize("size", [(8, 8), (28, 28), (9, 13), (32, 20), (64, 64), (5, 4)])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("classes", [0, 3])
def test_both_nets_take_every_size(size: tuple[int, int], channels: int, classes: int) -> None:
    torch.manual_seed(0)
    images, targets = torch.rand(2, channels, *size) * 2 - 1, torch.eye(max(classes, 1))[[0, 0], :classes]
    shape = {"channels": channels, "size": size, "classes": classes, "width": 8}
    vae, gan = Vae(**shape), Gan(**shape, patch=patch_of(size))  # type: ignore[arg-type]
    terms = vae(images, targets)
    assert terms.distortion.shape == terms.rate.shape == (2,)
    assert (terms.rate >= 0).all()
    for net in (vae, gan):
        assert net.drawn(targets, net.noise(2)).shape == images.shape
        assert float(net.drawn(targets, net.noise(2)).detach().abs().max()) <= 1
    assert gan.discriminator(images, targets).shape == (2,)


def test_sizes_halve_to_four_pixels_and_end_at_one() -> None:
    assert sides((32, 20)) == [(16, 10), (8, 5), (4, 3), (1, 1)]
    assert sides((2, 2)) == [(1, 1)]


def test_bound_is_not_above_the_importance_weighted_one_nor_far_from_its_mean() -> None:
    torch.manual_seed(0)
    net = Vae(channels=1, size=(8, 8), classes=0, width=8).eval()
    with torch.no_grad():  # a posterior that differs from the prior
        for level in net.levels:
            level.posterior.weight.mul_(8)  # type: ignore[operator, union-attr]
    images, targets = torch.rand(16, 1, 8, 8) * 2 - 1, torch.zeros(16, 0)
    generator = torch.Generator().manual_seed(1)
    with torch.inference_mode():
        minus = torch.stack([net.weighed(images, targets, net.noise(16, generator)) for _ in range(256)]).double()
        means = [net(images, targets, net.noise(16, generator)) for _ in range(256)]
    analytic = torch.stack([terms.distortion + terms.rate for terms in means]).double().mean()
    tight = -(torch.logsumexp(-minus, 0) - math.log(256))
    assert (tight <= minus.mean(0) + 1e-9).all()
    spread = float(minus.mean(1).std()) / 16
    assert float(minus.mean()) == pytest.approx(float(analytic), abs=6 * spread + 1e-3)


def test_bits_are_nats_by_dimension_and_log_two() -> None:
    terms = Terms(torch.tensor([10.0]), torch.tensor([2.0]))
    assert float(bits(terms, 12)) == pytest.approx(1 / math.log(2))


def test_weight_of_the_divergence_rises_to_beta() -> None:
    net = Vae(channels=1, size=(8, 8), classes=0, width=8, beta=2.0)
    first = net.weight
    net.seen += 10_000
    assert 0 < first < 0.01
    assert net.weight == 2.0


def test_pictures_are_made_again_from_where_their_latents_lie_in_the_prior() -> None:
    torch.manual_seed(0)
    net = Vae(channels=1, size=(8, 8), classes=2, width=8).eval()
    images, targets = torch.rand(2, 1, 8, 8) * 2 - 1, torch.eye(2)
    units = net.units(images, targets)
    assert [tuple(row.shape) for row in units] == [(2, 32, 1, 1), (2, 16, 4, 4)]
    told, _ = net._decoded(net.encoded(images), targets, [torch.zeros_like(row) for row in units])
    np.testing.assert_allclose(net.drawn(targets, units).detach(), LIKELIHOODS["logistic"].mean(told, 1).detach(), atol=1e-5)


@pytest.mark.parametrize(
    ("size", "patch"), [((32, 32), 2), ((34, 64), 2), ((28, 28), 1), ((33, 32), 1), ((8, 8), 1), ((30, 64), 1)]
)
def test_pixels_of_the_largest_maps_are_patches_where_the_sides_are_even(size: tuple[int, int], patch: int) -> None:
    assert patch_of(size) == patch
    gan = Gan(channels=3, size=size, classes=0, width=8, patch=patch)
    assert gan.generator.sides[-1] == (size[0] // patch, size[1] // patch)
    assert gan.generator(*gan.noise(2), torch.zeros(2, 0)).shape == (2, 3, *size)
