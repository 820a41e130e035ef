"""Rotation, crop, low resolution and re-encoding. Not part of ImageNet-C; independent of the picture's size."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional

from beholder.image.corruptions.filters import places, sampled
from beholder.image.corruptions.jpeg import compressed
from beholder.machine.draws import Draws

DEGREES = (5, 10, 15, 30, 45)
KEPT = (0.9, 0.8, 0.7, 0.6, 0.5)
SHARES = (0.75, 0.5, 0.375, 0.25, 0.125)
QUALITIES = (95, 90, 85, 75, 60)


def rotation(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Turn by 5, 10, 15, 30 or 45 degrees, either way; corners are filled with the picture's mirror image."""
    sign = (draws.uniform("way") < 0.5).float() * 2 - 1
    angle = (sign * DEGREES[severity - 1] * (math.pi / 180))[:, None, None]
    across, down = places(images)
    middle = ((images.shape[-1] - 1) / 2, (images.shape[-2] - 1) / 2)
    x, y = across - middle[0], down - middle[1]
    return sampled(images, x * angle.cos() - y * angle.sin() + middle[0], x * angle.sin() + y * angle.cos() + middle[1])


def crop(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Show a window of 90, 80, 70, 60 or 50 % of the sides, anywhere, at full size."""
    kept = KEPT[severity - 1]
    height, width = images.shape[-2:]
    left, top = (draws.between(axis, 0, (1 - kept) * n)[:, None, None] for axis, n in (("left", width), ("top", height)))
    across, down = places(images)
    return sampled(images, (across + 0.5) * kept + left - 0.5, (down + 0.5) * kept + top - 0.5)


def resolution(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Shrink to 3/4, 1/2, 3/8, 1/4 or 1/8 of the sides, antialiased, and enlarge again: fewer pixels in the camera."""
    height, width = images.shape[-2:]
    size = [max(1, round(n * SHARES[severity - 1])) for n in (height, width)]
    small = functional.interpolate(images, size, mode="bilinear", antialias=True)
    return functional.interpolate(small, (height, width), mode="bilinear", antialias=True)


def reencoding(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Store as JPEG of quality 95, 90, 85, 75 or 60, as sending it once more does."""
    return compressed(images, QUALITIES[severity - 1])
