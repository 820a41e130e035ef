"""How strong a severity is at a picture's size: between the published strengths at 32 and at 224 pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

SMALL, LARGE = 32, 224


def strength(images: Tensor, severity: int, small: Sequence[float], large: Sequence[float], *, length: bool = False) -> float:
    """Return the strength of `severity` (1..5) for pictures (B, C, H, W), whose side is the shorter one.

    small, large: the five published values at 32 and at 224 pixels. Between the two sizes log(value) is linear in log(side);
    a value of 0 is met linearly. Outside of them the nearer value stays; above 224 times side / 224 for a `length` in pixels.

    >>> strength(torch.zeros(1, 3, 64, 80), 5, (0, 0, 0, 0, 0.10), (0, 0, 0, 0, 0.38))  # Tiny-ImageNet-C has 0.18
    0.16090...
    """
    low, high = small[severity - 1], large[severity - 1]
    side = min(images.shape[-2:])
    share = math.log(min(max(side, SMALL), LARGE) / SMALL) / math.log(LARGE / SMALL)
    value = low ** (1 - share) * high**share if low > 0 and high > 0 else low * (1 - share) + high * share
    return value * max(1.0, side / LARGE) if length else value
