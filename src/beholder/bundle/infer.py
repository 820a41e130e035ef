"""From pixels to probabilities: the one piece of code behind evaluation and prediction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from beholder.data.loader import normalised


def logits(net: nn.Module, images: Tensor, *, mirror: bool) -> Tensor:
    """Return float32 (B, K) for normalised images; with `mirror`, the mean over each picture and its mirror image."""
    out: Tensor = net(images).float()
    if mirror:
        out = (out + net(images.flip(-1)).float()) / 2
    return out


def activated(values: Tensor, *, multi: bool) -> Tensor:
    """Return probabilities (B, K) from logits: softmax over classes, or a sigmoid per class if `multi`."""
    return values.sigmoid() if multi else values.softmax(dim=1)


@torch.inference_mode()
def probabilities(net: nn.Module, images: Tensor, config: Mapping[str, Any]) -> Tensor:
    """Return float32 (B, K) for uint8 images (B, C, H, W), as the bundle's `config` says."""
    x = normalised(images, config["mean"], config["std"])
    values = logits(net, x.contiguous(memory_format=torch.channels_last), mirror=bool(config["mirror"]))
    return activated(values, multi=config["task"] == "multi")
