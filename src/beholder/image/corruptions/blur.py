"""Blur: defocus, frosted glass, motion and zoom."""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.image.corruptions.filters import convolved, disk, enlarged, smoothed, streaks
from beholder.image.corruptions.strength import strength
from beholder.machine.draws import Draws


def defocus_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Spread each point over a disk, as a lens out of focus does."""
    radius = strength(images, severity, (0.3, 0.4, 0.5, 1, 1.5), (3, 4, 6, 8, 10), length=True)
    soft = strength(images, severity, (0.4, 0.5, 0.6, 0.2, 0.1), (0.1, 0.5, 0.5, 0.5, 0.5))
    return convolved(images, disk(radius, soft, images.device))


def glass_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Blur, shuffle pixels with near ones, blur: frosted glass.

    The published loop swaps pixel after pixel; here in each round every pixel takes the value of a random one near it at once.
    Between the two sizes the farthest move is rounded, and the rounds are those of the nearer size.
    """
    sigma = strength(images, severity, (0.05, 0.25, 0.4, 0.25, 0.4), (0.7, 0.9, 1, 1.1, 1.5), length=True)
    reach = max(1, round(strength(images, severity, (1, 1, 1, 1, 1), (1, 2, 2, 3, 4), length=True)))
    rounds = round(strength(images, severity, (1, 1, 1, 2, 2), (2, 1, 3, 2, 2)))
    height, width = images.shape[-2:]
    made = smoothed(images, sigma)
    for turn in range(rounds):
        down, across = (
            (draws.uniform(f"{axis} {turn}", height, width) * (2 * reach + 1)).long() - reach for axis in ("down", "across")
        )
        rows = (torch.arange(height, device=images.device)[:, None] + down).clamp(0, height - 1)
        columns = (torch.arange(width, device=images.device) + across).clamp(0, width - 1)
        flat = (rows * width + columns).flatten(1)[:, None].expand(-1, images.shape[1], -1)
        made = made.flatten(2).gather(2, flat).reshape(images.shape)
    return smoothed(made, sigma)


def motion_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Drag each picture along a line of up to 45 degrees from level, with a one-sided Gaussian."""
    radius = strength(images, severity, (6, 6, 6, 8, 9), (10, 15, 15, 15, 20), length=True)
    sigma = strength(images, severity, (1, 1.5, 2, 2, 2.5), (3, 5, 8, 12, 15), length=True)
    return convolved(images, streaks(2 * radius + 1, sigma, draws.between("angle", -45, 45)))


def zoom_blur(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Average the picture with enlargements of its middle, up to the published largest one."""
    largest = strength(images, severity, (0.05, 0.10, 0.15, 0.20, 0.25), (0.10, 0.15, 0.20, 0.24, 0.30))
    count = round(strength(images, severity, (6, 11, 16, 21, 26), (11, 16, 11, 13, 11)))
    total = images.clone()
    for k in range(count):
        total += enlarged(images, 1 + largest * k / (count - 1))
    return total / (count + 1)
