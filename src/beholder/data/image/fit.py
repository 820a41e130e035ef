"""Pixels in the size that a net is given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.base.records import PixelPolicy

Pixels = npt.NDArray[np.uint8]


def fitted(pixels: Pixels, policy: PixelPolicy) -> Pixels:
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
    scale = min(size[1] / width, size[0] / height)
    tall, wide = min(max(round(height * scale), 1), size[0]), min(max(round(width * scale), 1), size[1])
    top, left = (size[0] - tall) // 2, (size[1] - wide) // 2
    ground = Image.new("RGB", (policy.width, policy.height), policy.background)
    canvas = np.array(ground.convert("L") if pixels.ndim == 2 else ground)
    canvas[top : top + tall, left : left + wide] = resized(pixels, tall, wide)
    return canvas


def resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return pixels (H, W) or (H, W, 3) in another size, antialiased bilinear.

    Of colour, torch's kernel for bytes makes six times as many as Pillow's; of grey, Pillow makes more.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.ndim == 2:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    import torch

    planes = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return made[0].permute(1, 2, 0).numpy()
