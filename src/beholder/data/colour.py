"""Photometric augmentation: brightness, contrast, colour, erased boxes. Images are float32 (B, C, H, W) in 0..1."""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.machine.devices import sent

LUMA = (0.299, 0.587, 0.114)
"""How bright red, green and blue look. Source: ITU-R BT.601."""


def brightness(images: Tensor, factor: Tensor) -> Tensor:
    """Multiply each picture's light by its `factor`, float32 (B,) ≥ 0; what leaves 0..1 is clamped."""
    return (images * _each(factor)).clamp_(0, 1)


def contrast(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch each picture about its mean by its `factor`, float32 (B,) ≥ 0; what leaves 0..1 is clamped."""
    factor = _each(factor)
    offset = images.mean(dim=(1, 2, 3), keepdim=True) * (1 - factor)
    return (images * factor).add_(offset).clamp_(0, 1)


def saturation(images: Tensor, factor: Tensor) -> Tensor:
    """Stretch colours about their grey by `factor`, float32 (B,) ≥ 0: 0 gives grey. Only RGB pictures have colours."""
    if images.shape[1] != 3:
        return images
    factor = _each(factor)
    weights = sent(torch.tensor(LUMA), images.device).reshape(1, 3, 1, 1)
    grey = (images * weights).sum(dim=1, keepdim=True)
    return (images * factor).add_(grey * (1 - factor)).clamp_(0, 1)


def erase(images: Tensor, box: Tensor) -> Tensor:
    """Fill a box of each picture with the picture's mean colour.

    box: int64 (B, 4), the box's top, left, height and width in pixels; a height of 0 leaves the picture as it is.
    Source: Zhong et al., "Random erasing data augmentation", AAAI 2020.
    """
    mean = images.mean(dim=(2, 3), keepdim=True)
    return torch.where(inside(box, *images.shape[-2:])[:, None], mean, images)


def inside(box: Tensor, height: int, width: int) -> Tensor:
    """Return bool (B, height, width): which pixels lie in the box (top, left, height, width) of each row of `box`."""
    top, left, tall, wide = box.unbind(1)
    rows = torch.arange(height, device=box.device)
    columns = torch.arange(width, device=box.device)
    hit_rows = (rows >= top[:, None]) & (rows < (top + tall)[:, None])
    hit_columns = (columns >= left[:, None]) & (columns < (left + wide)[:, None])
    return hit_rows[:, :, None] & hit_columns[:, None, :]


def boxes(area: Tensor, ratio: Tensor, across: Tensor, down: Tensor, *, height: int, width: int) -> Tensor:
    """Return int64 (B, 4): boxes (top, left, height, width) that lie inside the picture.

    area: share of the picture in (0, 1]; ratio: height / width wanted, bent where such a box would not fit;
    across, down: where it lies, in [0, 1) from left and top; all float32 (B,)
    """
    pixels = area * (height * width)
    tall = (pixels * ratio).sqrt().round().clamp(min=1)
    tall = torch.maximum(tall, (pixels / width).ceil()).clamp(max=height)
    wide = (pixels / tall).round().clamp(1, width)
    top = (down * (height - tall + 1)).floor()
    left = (across * (width - wide + 1)).floor()
    return torch.stack([top, left, tall, wide], dim=1).to(torch.int64)


def _each(values: Tensor) -> Tensor:
    return values.reshape(-1, 1, 1, 1)
