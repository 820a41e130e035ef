"""A variational autoencoder of small pictures: a hierarchy of latent maps, from one number a channel to half the side.

Source: D. Kingma & M. Welling, "Auto-Encoding Variational Bayes", 2014; the order of latents, from the coarsest down, each
with a prior that the coarser ones predict, is that of the ladder VAE (C. Sønderby et al., 2016) and of VDVAE (R. Child, 2021).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.nets import likelihood
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

    def forward(
        self,
        x: Tensor,
        seen: Tensor | None,
        targets: Tensor,
        noise: Tensor,
        *,
        exact: bool = False,
        given: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Return the map (B, width, H, W) that goes on, and the divergence in nats (B,), None where no picture is seen.

        seen: what the encoder has of this size; None: the latent is drawn from the prior; noise: standard normal
        given: the latent itself, which is not drawn then
        exact: not the divergence, but log q(z|x) - log p(z) of the latent that is drawn, whose mean it is
        """
        if self.named is not None:
            x = x + self.named(targets)[:, :, None, None]
        mean, spread, more = self.prior(x).split([self.latent, self.latent, x.shape[1]], dim=1)
        mean, spread = mean.float(), _bounded(spread)
        rate = None
        if seen is not None:
            shift, narrowed = self.posterior(torch.cat([x, seen], dim=1)).chunk(2, dim=1)
            own, narrow = mean + shift.float(), _bounded(narrowed)
            if exact:
                off = (own + noise * narrow.exp() - mean) * (-spread).exp()
                rate = (spread - narrow + 0.5 * (off.square() - noise.square())).sum(dim=(1, 2, 3))
            else:
                rate = divergence(own, narrow, mean, spread).sum(dim=(1, 2, 3))
            mean, spread = own, narrow
        z = mean + noise * spread.exp() if given is None else given.float()
        return self.block(x + more + self.given(z.to(x.dtype))), rate


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
        told, rates = self._decoded(self.encoded(images), targets, self.noise(len(images)) if noise is None else noise)
        return Terms(-self._log_likelihood(told, images), torch.stack(rates).sum(0))

    def weighed(self, images: Tensor, targets: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return minus the log weight of each picture for the latents drawn, (B,): log q(z|x) - log p(x, z) in nats."""
        told, rates = self._decoded(self.encoded(images), targets, noise, exact=True)
        return torch.stack(rates).sum(0) - self._log_likelihood(told, images)

    def drawn(self, targets: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return pictures float32 (B, C, H, W) in -1..1, the means of their pixels, for latents drawn from the prior."""
        told, _ = self._decoded(None, targets, noise)
        return LIKELIHOODS[self.pixels].mean(told, self.channels)

    def rebuilt(self, images: Tensor, targets: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Return pictures as they come back from their latents, float32 (B, C, H, W) in -1..1."""
        told, _ = self._decoded(self.encoded(images), targets, noise)
        return LIKELIHOODS[self.pixels].mean(told, self.channels)

    def top_of(self, images: Tensor, targets: Tensor) -> Tensor:
        """Return the means of the coarsest latents of pictures, (B, latent, 1, 1)."""
        level, seen = self.levels[0], self.encoded(images)[0]
        x = self.top.expand(len(targets), -1, -1, -1) + self.places[0]
        if level.named is not None:  # type: ignore[union-attr]
            x = x + level.named(targets)[:, :, None, None]  # type: ignore[operator, union-attr]
        mean = level.prior(x)[:, : level.latent]  # type: ignore[operator, union-attr]
        shift, _ = level.posterior(torch.cat([x, seen], dim=1)).chunk(2, dim=1)  # type: ignore[operator, union-attr]
        found: Tensor = mean + shift
        return found

    def from_top(self, tops: Tensor, targets: Tensor) -> Tensor:
        """Return pictures float32 (B, C, H, W) for coarsest latents (B, latent, 1, 1), the finer the means of their priors."""
        told, _ = self._decoded(None, targets, [torch.zeros_like(row) for row in self.noise(len(tops))], top=tops)
        return LIKELIHOODS[self.pixels].mean(told, self.channels)

    def noise(self, n: int, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return standard normal numbers for n pictures, a tensor (n, latent, h, w) for each size, the smallest first."""
        on = self.top.device
        return [
            torch.randn((n, latents(side), *side), generator=generator, device="cpu" if generator else on).to(on)
            for side in self.maps[::-1]
        ]

    def _decoded(
        self,
        seen: Sequence[Tensor] | None,
        targets: Tensor,
        noise: Sequence[Tensor],
        *,
        exact: bool = False,
        top: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the numbers of the pixels' distributions (B, numbers, H, W), float32, and the divergence of each level.

        top: the coarsest latents, where they are given
        exact: log q(z|x) - log p(z) of the latents that were drawn, in place of its mean, the divergence
        """
        x, rates = self.top.expand(len(targets), -1, -1, -1), []
        for k, level in enumerate(self.levels):
            place = self.places[k]
            x = (x if x.shape[-2:] == place.shape[-2:] else F.interpolate(x, size=place.shape[-2:])) + place
            given = top if k == 0 else None
            x, rate = level(x, None if seen is None else seen[k], targets, noise[k], exact=exact, given=given)
            rates += [] if rate is None else [rate]
        told = self.out(F.gelu(F.pixel_shuffle(self.last(F.gelu(x)), 2)))
        return told[:, :, : self.size[0], : self.size[1]].float(), rates

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


__all__ = ["LIKELIHOODS", "Terms", "Vae", "bits", "divergence", "latents", "likelihood", "sides"]
