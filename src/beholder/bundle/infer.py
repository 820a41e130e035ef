"""From pixels to logits and probabilities: the one implementation behind evaluation and prediction."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from beholder.bundle.config import Config
from beholder.data.loader import normalised
from beholder.nets.features import classify, features

AT_ONCE = 160_000
"""Pixels a channel that a CPU is given at once. Of more, layers pass 32 MiB, which the C library returns when they are freed;
to fetch them again, page by page, takes longer than the arithmetic (docs/LOG.md)."""


def fitting(on: torch.device, height: int, width: int) -> int:
    """Return how many pictures of height × width pixels suit a device at once, 1 to 256."""
    return 256 if on.type != "cpu" else max(1, min(256, AT_ONCE // (height * width)))


def outputs_of(
    net: nn.Module, images: Tensor, *, mirror: bool, run: Callable[[Tensor], Tensor] | None = None
) -> tuple[Tensor, Tensor]:
    """Return logits (B, W) and features (B, F) of normalised images; the means of both sides of the mirror if `mirror`.

    run: what gives the features instead of the net itself
    """
    run = run or partial(features, net)
    seen = run(images)
    out = classify(net, seen).float()
    if mirror:
        other = run(images.flip(-1))
        return (out + classify(net, other).float()) / 2, (seen + other) / 2
    return out, seen


@torch.inference_mode()
def outputs(net: nn.Module, images: Tensor, config: Config) -> tuple[Tensor, Tensor]:
    """Return logits float32 (B, W), not calibrated, and features float32 (B, F) for uint8 images (B, C, H, W)."""
    x = normalised(images, config.mean, config.std).contiguous(memory_format=torch.channels_last)
    return outputs_of(net, x, mirror=config.mirror)
