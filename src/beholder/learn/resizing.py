"""Progressive resizing: training begins on small pictures, which cost less, and ends on those of full size.

Source: the idea is that of fastai's DAWNBench entry of 2018; Tan & Le, "EfficientNetV2" (2021), section 4, measured it.
"""

from __future__ import annotations

from functools import lru_cache

from torch import Tensor
from torch.nn import functional

UNTIL = 0.8
"""The share of training after which pictures have their full size."""

LEAST = 16
"""Pixels of the smaller side below which pictures are not made smaller."""


def size_at(full: tuple[int, int], start: float, done: float) -> tuple[int, int]:
    """Return the (height, width) of training pictures when the share `done` of training is over.

    The sides grow in a line from `start` times the full ones, in steps of 4 pixels up to 96, of 32 above.
    """
    if start >= 1 or done >= UNTIL:
        return full
    share = start + (1 - start) * done / UNTIL
    step = 4 if max(full) <= 96 else 32
    height, width = (min(side, max(LEAST, step * round(side * share / step))) for side in full)
    return height, width


def sizes(full: tuple[int, int], start: float) -> list[tuple[int, int]]:
    """Return all sizes, (height, width), that training pictures have, the smallest first."""
    return sorted({size_at(full, start, done / 1000) for done in range(1001)})


def resized(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return float32 (B, C, *size): `images` shrunk by a triangle filter over all the pixels that fall together."""
    if tuple(images.shape[-2:]) == size:
        return images
    return functional.interpolate(images, size=size, mode="bilinear", antialias=True, align_corners=False)


def dearer(full: tuple[int, int], start: float, done: float) -> float:
    """Return how many times the mean step still to come costs what the present one does, both in proportion to their pixels."""
    return _ahead(full, start, min(99, int(100 * done)))


@lru_cache(maxsize=256)
def _ahead(full: tuple[int, int], start: float, percent: int) -> float:
    pixels = [height * width for height, width in (size_at(full, start, k / 100) for k in range(percent, 100))]
    return sum(pixels) / len(pixels) / pixels[0]
