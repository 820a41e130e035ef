"""Noise of sensors: Gaussian, shot and impulse."""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.image.corruptions.strength import strength
from beholder.machine.draws import Draws

FEW = 12.0
"""Expected counts up to which Poisson numbers are drawn exactly."""


def gaussian_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add normal noise to every value: what low light leaves."""
    scale = strength(images, severity, (0.04, 0.06, 0.08, 0.09, 0.10), (0.08, 0.12, 0.18, 0.26, 0.38))
    return images + scale * draws.normal("noise", *images.shape[1:])


def shot_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Draw every value as a Poisson count of so many photons at full light."""
    photons = strength(images, severity, (500, 250, 100, 75, 50), (60, 25, 12, 5, 3))
    return poisson(images * photons, draws.uniform("photons", *images.shape[1:])) / photons


def impulse_noise(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Set a share of the values to full or to nothing, as likely: salt and pepper."""
    share = strength(images, severity, (0.01, 0.02, 0.03, 0.05, 0.07), (0.03, 0.06, 0.09, 0.17, 0.27))
    drawn = draws.uniform("impulse", *images.shape[1:])
    return torch.where(drawn < share / 2, 0.0, torch.where(drawn >= 1 - share / 2, 1.0, images))


def poisson(rates: Tensor, uniform: Tensor) -> Tensor:
    """Return Poisson counts float32 of the `rates` ≥ 0 by inversion of `uniform` in [0, 1), both of one shape.

    Exact up to a rate of `FEW`; above it, the normal quantile with its first correction for skewness, rounded (Cornish and
    Fisher 1938), which is a count off at most now and then.
    """
    counts = torch.empty_like(rates)
    low = rates <= FEW
    counts[low] = _few(rates[low], uniform[low])
    rate = rates[~low]
    quantile = torch.special.ndtri((uniform[~low] + 2.0**-25).clamp(max=1 - 2.0**-24))
    counts[~low] = (rate + rate.sqrt() * quantile + (quantile.square() - 1) / 6).round().clamp(min=0)
    return counts


def _few(rates: Tensor, uniform: Tensor) -> Tensor:
    term = (-rates).exp()
    reached, counts = term.clone(), torch.zeros_like(rates)
    for k in range(1, 60):
        beyond = uniform >= reached
        if not bool(beyond.any()):
            break
        counts += beyond
        term = term * rates / k
        reached = reached + term
    return counts
