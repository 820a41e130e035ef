"""From pixels to probabilities: the one piece of code behind evaluation and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from beholder.data.loader import normalised
from beholder.nets.features import classify, features


def logits(net: nn.Module, images: Tensor, *, mirror: bool) -> Tensor:
    """Return float32 (B, K) for normalised images; with `mirror`, the mean over each picture and its mirror image."""
    return _both(net, images, mirror=mirror)[0]


def _both(net: nn.Module, images: Tensor, *, mirror: bool) -> tuple[Tensor, Tensor]:
    seen = features(net, images)
    out = classify(net, seen).float()
    if mirror:
        other = features(net, images.flip(-1))
        return (out + classify(net, other).float()) / 2, (seen + other) / 2
    return out, seen


def activated(values: Tensor, *, multi: bool) -> Tensor:
    """Return probabilities (B, K) from logits: softmax over classes, or a sigmoid per class if `multi`."""
    return values.sigmoid() if multi else values.softmax(dim=1)


@torch.inference_mode()
def outputs(net: nn.Module, images: Tensor, config: Mapping[str, Any]) -> tuple[Tensor, Tensor]:
    """Return logits float32 (B, K), not calibrated, and features float32 (B, F) for uint8 images (B, C, H, W)."""
    x = normalised(images, config["mean"], config["std"]).contiguous(memory_format=torch.channels_last)
    return _both(net, x, mirror=bool(config["mirror"]))


def probabilities(net: nn.Module, images: Tensor, config: Mapping[str, Any]) -> Tensor:
    """Return float32 (B, K) for uint8 images (B, C, H, W), as the bundle's `config` says."""
    return activated(outputs(net, images, config)[0], multi=config["task"] == "multi")
