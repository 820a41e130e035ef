"""Resize, crop and pad pixels to the input size of the net."""

from __future__ import annotations

import sys

import numpy as np
from PIL import Image

from beholder.base.arrays import F32, F64, I64, U8, Bools
from beholder.base.records import PixelPolicy
from beholder.image import resize_numpy


def fitted(pixels: U8, policy: PixelPolicy) -> U8:
    """Return pixels (H, W) or (H, W, 3) in the policy's size, unchanged if they have it already."""
    (height, width), size = pixels.shape[:2], (policy.height, policy.width)
    if policy.fit == "squash" or (height, width) == size:
        return resized(pixels, *size)
    if policy.fit == "crop":
        scale = min(width / size[1], height / size[0])
        left, top = (width - size[1] * scale) / 2, (height - size[0] * scale) / 2
        # Rounding must not push the box over the edge, which Pillow refuses.
        box = (max(left, 0.0), max(top, 0.0), min(left + size[1] * scale, width), min(top + size[0] * scale, height))
        return np.asarray(Image.fromarray(pixels).resize((policy.width, policy.height), Image.Resampling.BILINEAR, box=box))
    top, left, tall, wide = _boxed(height, width, policy)
    ground = Image.new("RGB", (policy.width, policy.height), policy.background)
    canvas = np.array(ground.convert("L") if pixels.ndim == 2 else ground)
    canvas[top : top + tall, left : left + wide] = resized(pixels, tall, wide)
    return canvas


def resized(pixels: U8, height: int, width: int) -> U8:
    """Return pixels (H, W) or (H, W, 3) in another size, antialiased bilinear.

    Of colour, torch's kernel for bytes makes six times as many as Pillow's; of grey, Pillow makes more. Who has not loaded
    torch gets the same pixels from `resize_numpy.py`, more slowly, but without the seconds that loading it takes.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.ndim == 2:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    if "torch" not in sys.modules:
        return resize_numpy.resized(pixels, height, width)
    import torch

    planes = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return made[0].permute(1, 2, 0).numpy()


def unfitted(values: F32, height: int, width: int, policy: PixelPolicy) -> F32:
    """Return values of the policy's pixels, float32 (policy.height, policy.width), at those of a picture of height × width.

    The inverse of `fitted`: bilinear between the centres of pixels, 0 where the policy cut the picture off; what lies on a
    letter-box is in none of the picture's pixels.
    """
    top, left, tall, wide = placed(height, width, policy)
    above, below, down, rows = _between(height, top, tall, policy.height)
    before, after, right, columns = _between(width, left, wide, policy.width)
    lines = values[above] * (1 - down)[:, None] + values[below] * down[:, None]
    made = lines[:, before] * (1 - right) + lines[:, after] * right
    return (made * (rows[:, None] & columns)).astype(np.float32)


def placed(height: int, width: int, policy: PixelPolicy) -> tuple[float, float, float, float]:
    """Return (top, left, height, width), in pixels of the policy, of the place that a picture of height × width takes.

    It is all of them for squash, less for pad, and reaches over the edges for crop.
    """
    size = (policy.height, policy.width)
    if policy.fit == "squash" or (height, width) == size:
        return 0.0, 0.0, float(size[0]), float(size[1])
    if policy.fit == "crop":
        scale = max(size[1] / width, size[0] / height)
        tall, wide = height * scale, width * scale
        return (size[0] - tall) / 2, (size[1] - wide) / 2, tall, wide
    return tuple(float(value) for value in _boxed(height, width, policy))  # type: ignore[return-value]


def _boxed(height: int, width: int, policy: PixelPolicy) -> tuple[int, int, int, int]:
    """Return (top, left, height, width) of a letter-boxed picture."""
    size = (policy.height, policy.width)
    scale = min(size[1] / width, size[0] / height)
    tall, wide = min(max(round(height * scale), 1), size[0]), min(max(round(width * scale), 1), size[1])
    return (size[0] - tall) // 2, (size[1] - wide) // 2, tall, wide


def _between(length: int, start: float, span: float, size: int) -> tuple[I64, I64, F64, Bools]:
    """Return for each of `length` pixels laid on start..start+span of `size`: two neighbours, the second's weight, if on."""
    place = start + (np.arange(length) + 0.5) * span / length
    first, last = max(start, 0.0), min(start + span, float(size))
    held = np.clip(place - 0.5, np.ceil(first), np.floor(last) - 1)
    low = np.clip(np.floor(held), 0, size - 1).astype(np.int64)
    high = np.minimum(low + 1, size - 1)
    return low, high, np.clip(held - low, 0.0, 1.0), (place >= first) & (place <= last)
