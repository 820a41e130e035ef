"""A variational autoencoder of small pictures: a hierarchy of latent maps, from one number a channel to half the side.

Source: D. Kingma & M. Welling, "Auto-Encoding Variational Bayes", 2014; the order of latents, from the coarsest down, each
with a prior that the coarser ones predict, is that of the ladder VAE (C. Sønderby et al., 2016) and of VDVAE (R. Child, 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.nets.likelihood import LIKELIHOODS

LATENTS = {1: 32, 4: 16, 8: 12, 16: 8, 32: 4}
"""Channels of the latent map by the larger side of the map, up to it."""

WARM = 400
"""Steps over which the weight of the divergence rises from 0 to β."""


@dataclass(frozen=True, eq=False)
class Terms:
    """The two terms of the evidence lower bound of each picture, in nats: ELBO = -(distortion + rate).

    distortion: float32 (B,), minus the log-likelihood of the pixels; rate: float32 (B,), the divergence of the latents
    """

    distortion: Tensor
    rate: Tensor


class Block(nn.Module):
    """x + two convolutions 3×3 between GELUs, the second of which begins small."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        with torch.no_grad():
            self.second.weight.mul_(0.3)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, width, H, W)."""
        seen: Tensor = x + self.second(F.gelu(self.first(F.gelu(x))))
        return seen


class Step(NamedTuple):
    """What a level adds: the map (B, width, H, W) that goes on, and what is known of the latent that was drawn.

    unit: where it lies in the prior, as standard normal numbers (B, latent, H, W)
    rate: the divergence in nats, (B,); odds: log q(z|x) - log p(z), whose mean that is; both 0 where it is of the prior
    """

    x: Tensor
    unit: Tensor
    rate: Tensor
    odds: Tensor


class Level(nn.Module):
    """The latent map of one size: a prior from what is above it, a posterior that sees the picture too."""

    def __init__(self, width: int, latent: int, classes: int) -> None:
        super().__init__()
        self.latent = latent
        self.named = nn.Linear(classes, width, bias=False) if classes else None
        self.prior = nn.Conv2d(width, 2 * latent + width, 3, padding=1)
        self.posterior = nn.Conv2d(2 * width, 2 * latent, 3, padding=1)
        self.given = nn.Conv2d(latent, width, 1)
        self.block = Block(width)
        with torch.no_grad():
            self.prior.weight[: 2 * latent].mul_(0.1)
            self.posterior.weight.mul_(0.1)

    def forward(self, x: Tensor, seen: Tensor | None, targets: Tensor, noise: Tensor) -> Step:
        """Return the step from the map x (B, width, H, W) of what is above it.

        seen: what the encoder has of this size; None: the latent is drawn from the prior; noise: standard normal
        """
        if self.named is not None:
            x = x + self.named(targets)[:, :, None, None]
        mean, spread, more = self.prior(x).split([self.latent, self.latent, x.shape[1]], dim=1)
        mean, spread = mean.float(), _bounded(spread)
        unit, rate, odds = noise, x.new_zeros(len(x)), x.new_zeros(len(x))
        if seen is not None:
            shift, narrowed = self.posterior(torch.cat([x, seen], dim=1)).chunk(2, dim=1)
            own, narrow = mean + shift.float(), _bounded(narrowed)
            unit = (shift.float() + noise * narrow.exp()) * (-spread).exp()
            rate = divergence(own, narrow, mean, spread).sum(dim=(1, 2, 3))
            odds = (spread - narrow + 0.5 * (unit.square() - noise.square())).sum(dim=(1, 2, 3))
        z = mean + unit * spread.exp()
        return Step(self.block(x + more + self.given(z.to(x.dtype))), unit, rate, odds)


def _bounded(spread: Tensor) -> Tensor:
    """Return log deviations, float32, between -6 and 6."""
    return 6 * torch.tanh(spread.float() / 6)


def divergence(mean: Tensor, spread: Tensor, prior: Tensor, wide: Tensor) -> Tensor:
    """Return the Kullback–Leibler divergence in nats of each N(mean, e^spread) from N(prior, e^wide), elementwise."""
    return wide - spread - 0.5 + 0.5 * ((2 * (spread - wide)).exp() + ((mean - prior) * (-wide).exp()).square())


def sides(size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return the sizes of the maps from half the picture's down, each half the one before, to 4 pixels or less, then 1.

    >>> sides((28, 28))
    [(14, 14), (7, 7), (4, 4), (1, 1)]
    """
    found = [_halved(size)]
    while max(found[-1]) > 4:
        found.append(_halved(found[-1]))
    return found if max(found[-1]) == 1 else [*found, (1, 1)]


def _halved(size: tuple[int, int]) -> tuple[int, int]:
    return -(-size[0] // 2), -(-size[1] // 2)


class Vae(nn.Module):
    """Pictures float (B, C, H, W) in -1..1 and targets float (B, K) → the terms of their bound; K 0: without classes.

    pixels: the likelihood, by name; beta: the weight of the divergence, once the warm-up is over
    """

    seen: Tensor

    def __init__(
        self, *, channels: int, size: tuple[int, int], classes: int, width: int, pixels: str = "logistic", beta: float = 1.0
    ) -> None:
        super().__init__()
        self.channels, self.size, self.classes, self.pixels, self.beta = channels, size, classes, pixels, beta
        self.maps = sides(size)
        self.stem = nn.Conv2d(channels, width, 4, stride=2, padding=1)
        self.down = nn.ModuleList(Block(width) for _ in self.maps)
        self.levels = nn.ModuleList(Level(width, latents(side), classes) for side in self.maps[::-1])
        self.top = nn.Parameter(torch.zeros(1, width, 1, 1))
        self.places = nn.ParameterList(nn.Parameter(torch.zeros(1, width, *side)) for side in self.maps[::-1])
        self.last = nn.Conv2d(width, 4 * (wide := max(16, width // 2)), 1)
        self.out = nn.Conv2d(wide, LIKELIHOODS[pixels].numbers(channels), 3, padding=1)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def dims(self) -> int:
        """Return the numbers in a picture."""
        return self.channels * self.size[0] * self.size[1]

    @property
    def weight(self) -> float:
        """Return the weight of the divergence at this step of training."""
        return self.beta * min(1.0, (int(self.seen) + 1) / WARM)

    def encoded(self, images: Tensor) -> list[Tensor]:
        """Return what is seen of pictures at each size, the smallest first."""
        x, found = self.stem(_even(images)), []
        for block, side in zip(self.down, self.maps, strict=True):
            x = block(x if x.shape[-2:] == side else F.adaptive_avg_pool2d(x, side))
            found.append(x)
        return found[::-1]

    def forward(self, images: Tensor, targets: Tensor, noise: Sequence[Tensor] | None = None) -> Terms:
        """Return the terms of the bound by one draw of the latents; noise: that of `noise`, drawn where it is None."""
        told, steps = self._decoded(self.encoded(images), targets, self.noise(len(images)) if noise is None else noise)
        return Terms(-self._log_likelihood(told, images), torch.stack([step.rate for step in steps]).sum(0))

    def weighed(self, images: Tensor, targets: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return minus the log weight of each picture for the latents drawn, (B,): log q(z|x) - log p(x, z) in nats."""
        told, steps = self._decoded(self.encoded(images), targets, noise)
        return torch.stack([step.odds for step in steps]).sum(0) - self._log_likelihood(told, images)

    def drawn(self, targets: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return pictures float32 (B, C, H, W) in -1..1, the means of their pixels, for latents drawn from the prior."""
        told, _ = self._decoded(None, targets, noise)
        return LIKELIHOODS[self.pixels].mean(told, self.channels)

    def units(self, images: Tensor, targets: Tensor) -> list[Tensor]:
        """Return the means of the latents of pictures as the noise from which `drawn` makes them again, the smallest first."""
        _, steps = self._decoded(self.encoded(images), targets, [torch.zeros_like(row) for row in self.noise(len(images))])
        return [step.unit for step in steps]

    def noise(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return standard normal numbers for n pictures, a tensor (n, latent, h, w) for each size, the smallest first."""
        on = self.top.device
        return [
            torch.randn((n, latents(side), *side), generator=generator, device="cpu" if generator else on).to(on)
            for side in self.maps[::-1]
        ]

    def _decoded(self, seen: Sequence[Tensor] | None, targets: Tensor, noise: Sequence[Tensor]) -> tuple[Tensor, list[Step]]:
        """Return the numbers of the pixels' distributions (B, numbers, H, W), float32, and the step of each level."""
        x, steps = self.top.expand(len(targets), -1, -1, -1), []
        for k, level in enumerate(self.levels):
            place = self.places[k]
            x = (x if x.shape[-2:] == place.shape[-2:] else F.interpolate(x, size=place.shape[-2:])) + place
            steps.append(level(x, None if seen is None else seen[k], targets, noise[k]))
            x = steps[-1].x
        told = self.out(F.gelu(F.pixel_shuffle(self.last(F.gelu(x)), 2)))
        return told[:, :, : self.size[0], : self.size[1]].float(), steps

    def _log_likelihood(self, told: Tensor, images: Tensor) -> Tensor:
        """Return the log-likelihood of pictures in nats, (B,)."""
        found: Tensor = LIKELIHOODS[self.pixels].log(told, images.float()).sum(dim=(1, 2, 3))
        return found


def latents(side: tuple[int, int]) -> int:
    """Return the channels of the latent map of a size."""
    return next((channels for largest, channels in LATENTS.items() if max(side) <= largest), min(LATENTS.values()))


def _even(images: Tensor) -> Tensor:
    """Return pictures whose sides are even: the last row or column once more where they are not."""
    height, width = images.shape[-2:]
    return F.pad(images, (0, width % 2, 0, height % 2), mode="replicate") if height % 2 or width % 2 else images


def bits(terms: Terms, dims: int) -> Tensor:
    """Return minus the bound of each picture in bits per dimension, (B,)."""
    return (terms.distortion + terms.rate) / (dims * math.log(2))
