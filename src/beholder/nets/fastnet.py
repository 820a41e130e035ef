"""The CIFAR speed-run family: a whitening first layer, three blocks of two convolutions, global max pooling.

The shape follows the line tysam-code/hlb-CIFAR10 → KellerJordan/cifar10-airbench (K. Jordan, "94% on CIFAR-10 in 3.29
seconds on a single GPU", 2024), widened here to one or three channels and to any size from 4 pixels on.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from beholder.base.errors import UsageError
from beholder.nets.features import Net

WIDTHS = (64, 256, 256)
"""Channels of the blocks at width 1; (32, 128, 128), width 0.5, trains three times as fast on a CPU."""


class Block(nn.Module):
    """conv 3×3, max-pool 2 where the picture is large enough, norm, GELU, conv 3×3, norm, GELU."""

    def __init__(self, inputs: int, outputs: int, *, pool: bool) -> None:
        super().__init__()
        self.first = _convolution(inputs, outputs)
        self.pool = nn.MaxPool2d(2) if pool else nn.Identity()
        self.norm1 = _norm(outputs)
        self.second = _convolution(outputs, outputs)
        self.norm2 = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H/2, W/2), or (B, outputs, H, W) without pooling."""
        x = functional.gelu(self.norm1(self.pool(self.first(x))))
        return functional.gelu(self.norm2(self.second(x)))


def _convolution(inputs: int, outputs: int) -> nn.Conv2d:
    layer = nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    with torch.no_grad():  # the first filters pass their input on, so the signal crosses the untrained net unharmed
        nn.init.dirac_(layer.weight[: min(inputs, outputs)])
    return layer


def _norm(channels: int) -> nn.BatchNorm2d:
    # A short training moves the weights fast, so the running statistics forget faster than with PyTorch's 0.1.
    layer = nn.BatchNorm2d(channels, momentum=0.2)
    layer.weight.requires_grad_(False)
    return layer


class FastNet(Net):
    """See `fastnet`. `whiten` is the first layer: its filters come from the data (`init.whiten`)."""

    scheme = "whitening"
    resizable = True
    scale_free = True

    def __init__(self, *, channels: int, size: tuple[int, int], classes: int, width: float, dropout: float) -> None:
        super().__init__()
        side, stride = min(size), _stride(min(size))
        kernel = max(2, stride)
        filters = 2 * channels * kernel * kernel
        self.whiten = nn.Conv2d(channels, filters, kernel, stride=stride)
        side = (side - kernel) // stride + 1
        blocks, before = [], filters
        for base in WIDTHS:
            after = max(8, 8 * round(base * width / 8))
            blocks.append(Block(before, after, pool=side >= 4))
            side, before = side // 2 if side >= 4 else side, after
        self.blocks = nn.Sequential(*blocks)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(before, classes, bias=False)
        self.scale = before**-0.5
        nn.init.normal_(self.head.weight, std=self.scale)

    def body(self, images: Tensor) -> Tensor:
        """Return the largest value of every channel of the last block: (B, F)."""
        seen: Tensor = self.blocks(functional.gelu(self.whiten(images)))
        pooled: Tensor = self.drop(seen.amax(dim=(2, 3)))
        return pooled


def _stride(side: int) -> int:
    """Return the step of the first layer: it keeps the costly first block at 24 to 63 pixels however large the picture."""
    return 1 if side < 48 else 2 if side < 128 else 4


def fastnet(*, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0) -> FastNet:
    """Return a speed-run net with blocks of (64, 256, 256)·width channels.

    The first layer has 2·C·k·k filters of k×k: 24 for colour and k = 2; pictures of 48 pixels and more are
    taken in steps of 2, of 128 and more in steps of 4. Raises `UsageError` for pictures smaller than 4×4.
    """
    if min(size) < 4:
        raise UsageError(
            f"net 'fastnet' cannot take pictures of {size[0]}x{size[1]}", code="too-small", hint="use 4x4 or larger"
        )
    return FastNet(channels=channels, size=size, classes=classes, width=width, dropout=dropout)
