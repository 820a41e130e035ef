"""Distributions of 8-bit pixels: a discretised logistic one, in which channels depend on those before, and Bernoulli.

Source: T. Salimans et al., "PixelCNN++", ICLR 2017, sections 2.1 and 2.2, with one component instead of a mixture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

HALF = 1 / 255
"""Half the distance of two grey levels, where black is -1 and white 1."""


@dataclass(frozen=True)
class Likelihood:
    """A distribution of the pixels of a picture in -1..1, told by so many numbers a pixel.

    numbers: channels → numbers;             log:  (numbers (B, ·, H, W), pictures (B, C, H, W)) → nats (B, C, H, W)
    mean:    (numbers, channels) → pictures; draw: (numbers, channels, generator) → pictures, both float32 in -1..1
    """

    numbers: Callable[[int], int]
    log: Callable[[Tensor, Tensor], Tensor]
    mean: Callable[[Tensor, int], Tensor]
    draw: Callable[[Tensor, int, torch.Generator | None], Tensor]


def _split(told: Tensor, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the means, log scales and coefficients of the channels before: (B, C, …), (B, C, …), (B, C(C-1)/2, …)."""
    means, scales, before = torch.split(told, [channels, channels, channels * (channels - 1) // 2], dim=1)
    return means, (scales - 2.0).clamp(min=-7.0), torch.tanh(before)


def _centre(means: Tensor, before: Tensor, known: Tensor, channel: int) -> Tensor:
    """Return the mean of a channel (B, H, W) where those before it are known."""
    first = channel * (channel - 1) // 2
    found = means[:, channel]
    for k in range(channel):
        found = found + before[:, first + k] * known[:, k]
    return found


def logistic_log(told: Tensor, images: Tensor) -> Tensor:
    """Return the log-probability of each pixel's grey level in nats: the mass of a logistic between the middles of levels.

    Black takes all that is below it, white all above, so that 256 levels have a mass of 1.
    """
    channels = images.shape[1]
    means, scales, before = _split(told, channels)
    centres = torch.stack([_centre(means, before, images, c) for c in range(channels)], dim=1)
    narrow = (-scales).exp()
    upper, lower = (images - centres + HALF) * narrow, (images - centres - HALF) * narrow
    within = F.logsigmoid(upper) + F.logsigmoid(-lower) + torch.log(-torch.expm1(-2 * HALF * narrow))
    return torch.where(images < -1 + HALF, F.logsigmoid(upper), torch.where(images > 1 - HALF, F.logsigmoid(-lower), within))


def _each(told: Tensor, channels: int) -> Iterator[tuple[int, Tensor, Tensor, Tensor]]:
    means, scales, before = _split(told, channels)
    for c in range(channels):
        yield c, means, scales[:, c], before


def logistic_mean(told: Tensor, channels: int) -> Tensor:
    """Return the middle of each pixel's distribution, channel after channel."""
    found = torch.zeros_like(told[:, :channels])
    for c, means, _, before in _each(told, channels):
        found[:, c] = _centre(means, before, found, c).clamp(-1, 1)
    return found


def logistic_draw(told: Tensor, channels: int, generator: torch.Generator | None) -> Tensor:
    """Return a draw of each pixel, at a grey level."""
    found = torch.zeros_like(told[:, :channels])
    for c, means, scale, before in _each(told, channels):
        u = torch.rand(scale.shape, generator=generator).clamp(1e-6, 1 - 1e-6).to(told.device)
        value = _centre(means, before, found, c) + scale.exp() * (u.log() - (-u).log1p())
        found[:, c] = levels(value)
    return found


def levels(images: Tensor) -> Tensor:
    """Return pictures whose values in -1..1 are grey levels."""
    return ((images.clamp(-1, 1) + 1) * 127.5).round() / 127.5 - 1


def bernoulli_log(told: Tensor, images: Tensor) -> Tensor:
    """Return the log-probability in nats of pixels as they are when cut at middle grey: black or white."""
    return -F.binary_cross_entropy_with_logits(told, (images > 0).float(), reduction="none")


def bernoulli_mean(told: Tensor, channels: int) -> Tensor:
    """Return the probability of white, as a grey level in -1..1."""
    return 2 * told.sigmoid() - 1


def bernoulli_draw(told: Tensor, channels: int, generator: torch.Generator | None) -> Tensor:
    """Return a draw of each pixel: black or white."""
    u = torch.rand(told.shape, generator=generator).to(told.device)
    return 2 * (u < told.sigmoid()).float() - 1


LIKELIHOODS = {
    "logistic": Likelihood(lambda c: 2 * c + c * (c - 1) // 2, logistic_log, logistic_mean, logistic_draw),
    "bernoulli": Likelihood(lambda c: c, bernoulli_log, bernoulli_mean, bernoulli_draw),
}
"""By name: logistic (8-bit, discretised), bernoulli (of pixels cut at middle grey)."""
