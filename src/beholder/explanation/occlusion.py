"""Occlusion: what the answer loses when a part of the picture is covered.

Source: Zeiler & Fergus, "Visualizing and understanding convolutional networks", 2014, section 4.2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

PARTS = 6
"""The cover's side is a sixth of the picture's; it moves by half of that. Coarser covers are quicker and, on photos, truer, but
smear what is small (docs/HONESTY.md)."""


@torch.no_grad()
def occlusion(net: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return heat float32 (B, H, W) for normalised images (B, C, H, W); score: logits (B, K) → (B,).

    The cover has the training pictures' mean colour. Heat is the mean loss over the covers that lay on a pixel.
    """
    _, _, height, width = images.shape
    tall, wide = max(1, round(height / PARTS)), max(1, round(width / PARTS))
    before = score(net(images))
    lost, times = torch.zeros_like(images[:, 0]), torch.zeros_like(images[0, 0])
    for top in _starts(height, tall):
        for left in _starts(width, wide):
            covered = images.clone()
            covered[:, :, top : top + tall, left : left + wide] = 0
            lost[:, top : top + tall, left : left + wide] += (before - score(net(covered)))[:, None, None]
            times[top : top + tall, left : left + wide] += 1
    return (lost / times).relu()


def _starts(length: int, side: int) -> list[int]:
    """Return where covers of `side` begin so that they reach every pixel of `length`, half overlapping."""
    step = max(1, side // 2)
    return sorted({*range(0, length - side, step), length - side})
