"""The two tasks that make pictures: `reconstruct` (a VAE, one player) and `adversarial` (a GAN, two).

As for recognisers a batch becomes turns of loss. What they lack is an answer for each picture: their nets are kept in another
kind of bundle (`bundle.generator`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from beholder.tasks.task import Turn

if TYPE_CHECKING:
    from torch import Tensor

    from beholder.nets.gan import Gan
    from beholder.nets.vae import Vae

LAZY = 4
"""Steps of the discriminator from one gradient penalty to the next, which counts as many times (T. Karras et al., 2020)."""


def reconstruct(
    net: Vae, images: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None
) -> Iterator[Turn]:
    """Yield one turn: minus the evidence lower bound in bits per dimension, its divergence weighted by the warm-up and by β.

    `Turn.right` is the share of the bound that is the divergence.
    """
    from beholder.nets.vae import Terms, bits

    terms = net(images, targets)
    loss = bits(Terms(terms.distortion, net.weight * terms.rate), net.dims).mean()
    net.seen += 1
    rate = terms.rate.detach().mean()
    yield Turn("net", loss, rate / (rate + terms.distortion.detach().mean().abs()))


def adversarial(
    net: Gan, images: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None
) -> Iterator[Turn]:
    """Yield the discriminator's turn and the generator's: each is to find its own pictures more real than the other's.

    The relativistic pairing loss with penalties on the gradients at real pictures (R1) and at made ones (R2), as in R3GAN.
    `Turn.right` is the share of pairs in which the real picture seems the more real. Both turns are about the same made
    pictures, and the generator is told what the discriminator said of the real ones before it learnt.
    """
    import torch
    from torch.nn import functional as F

    judge, vary = net.discriminator, varied if net.augment else _same
    made = net.generator(*net.noise(len(images)), targets).to(images.dtype)
    due = int(net.seen) % LAZY == 0
    pair = [vary(each.detach()).requires_grad_(due) for each in (images, made)]
    real, fake = (judge(each, targets) for each in pair)
    loss = F.softplus(fake - real).mean()
    if due:
        slopes = torch.autograd.grad([real.sum(), fake.sum()], pair, create_graph=True)
        loss = loss + LAZY * net.penalty / 2 * sum(slope.float().square().sum(dim=(1, 2, 3)).mean() for slope in slopes)
    net.seen += 1
    yield Turn("discriminator", loss, (real > fake).float().mean().detach())
    real, fake = real.detach(), judge(vary(made), targets)
    yield Turn("generator", F.softplus(real - fake).mean(), (real > fake).float().mean().detach())


def _same(images: Tensor) -> Tensor:
    return images


def varied(images: Tensor) -> Tensor:
    """Return pictures in another light, moved by up to an eighth, and with a box hidden, each by chance; gradients go through.

    Source: S. Zhao et al., "Differentiable augmentation for data-efficient GAN training", NeurIPS 2020.
    """
    import torch
    from torch.nn import functional as F

    n, _, height, width = images.shape

    def uniform() -> Tensor:
        return torch.rand((n, 1, 1, 1), device=images.device, dtype=images.dtype)

    images = images + 0.5 * (uniform() - 0.5)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    images = (images - mean) * (0.5 + uniform()) + mean
    ys, xs = torch.arange(height, device=images.device), torch.arange(width, device=images.device)
    up, left = max(1, height // 8), max(1, width // 8)
    down = torch.randint(-up, up + 1, (n, 1), device=images.device)
    right = torch.randint(-left, left + 1, (n, 1), device=images.device)
    padded = F.pad(images, (left, left, up, up))
    rows, columns = ys + up + down, xs + left + right
    images = padded[torch.arange(n, device=images.device)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
    top, begin = (uniform() * height).view(n, 1), (uniform() * width).view(n, 1)
    hidden = ((ys - top).abs() < height / 4)[:, None, :, None] & ((xs - begin).abs() < width / 4)[:, None, None, :]
    return images * ~hidden
