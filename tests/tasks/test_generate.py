"""Turns of the tasks that make pictures: what is lost, whose gradients there are, what penalties do."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from beholder.nets.gan import Gan
from beholder.nets.vae import Vae, bits
from beholder.tasks.generate import LAZY, adversarial, reconstruct, varied


def given(classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    return torch.rand(8, 1, 8, 8) * 2 - 1, torch.eye(classes)[torch.arange(8) % classes]


def test_turn_of_a_vae_is_its_bound_in_bits_once_it_is_warm() -> None:
    images, targets = given()
    net = Vae(channels=1, size=(8, 8), classes=2, width=8)
    net.seen += 10_000
    torch.manual_seed(1)
    (turn,) = reconstruct(net, images, targets)
    torch.manual_seed(1)
    terms = net(images, targets)
    assert turn.who == "net"
    assert float(turn.loss.detach()) == pytest.approx(float(bits(terms, 64).mean().detach()), rel=1e-6)
    assert 0 <= float(turn.right) <= 1
    assert int(net.seen) == 10_001


def test_players_of_a_gan_want_opposite_things_of_pairs() -> None:
    images, targets = given()
    net = Gan(channels=1, size=(8, 8), classes=2, width=8, penalty=0.0)
    torch.manual_seed(1)
    turns = adversarial(net, images, targets)
    first = next(turns)
    torch.manual_seed(1)
    made = net.generator(*net.noise(8), targets)
    real, fake = net.discriminator(images, targets), net.discriminator(made, targets)
    assert first.who == "discriminator"
    assert float(first.loss.detach()) == pytest.approx(float(F.softplus(fake - real).mean().detach()), rel=1e-5)
    second = next(turns)
    assert second.who == "generator"
    grads = torch.autograd.grad(second.loss, list(net.generator.parameters()), allow_unused=True)
    assert any(grad is not None and grad.abs().sum() > 0 for grad in grads)
    assert next(turns, None) is None


def test_penalty_is_of_both_gradients_and_counts_as_often_as_it_is_left_out() -> None:
    images, targets = given()
    losses = {}
    for penalty in (0.0, 2.0):
        torch.manual_seed(3)
        net = Gan(channels=1, size=(8, 8), classes=2, width=8, penalty=penalty)
        torch.manual_seed(1)
        losses[penalty] = float(next(adversarial(net, images, targets)).loss.detach())
    torch.manual_seed(1)
    made = net.generator(*net.noise(8), targets).detach()
    pair = [each.clone().requires_grad_(True) for each in (images, made)]
    slopes = torch.autograd.grad([net.discriminator(each, targets).sum() for each in pair], pair)
    wanted = LAZY * 2.0 / 2 * sum(float(slope.square().sum(dim=(1, 2, 3)).mean()) for slope in slopes)
    assert losses[2.0] - losses[0.0] == pytest.approx(wanted, rel=1e-4)
    net.seen += 1
    torch.manual_seed(1)
    assert float(next(adversarial(net, images, targets)).loss.detach()) == pytest.approx(losses[0.0], rel=1e-5)


def test_varied_pictures_keep_their_shape_and_pass_gradients_on() -> None:
    images = given()[0].requires_grad_(True)
    torch.manual_seed(0)
    found = varied(images)
    assert found.shape == images.shape
    assert not torch.equal(found, images)
    found.sum().backward()
    assert images.grad is not None
    assert 0 < float((images.grad != 0).float().mean()) <= 1
