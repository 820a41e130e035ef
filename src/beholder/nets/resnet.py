"""A small residual net for pictures of 32 to 96 pixels (He et al., "Deep residual learning", 2016, section 4.2)."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from beholder.nets.features import Net

STAGES = (64, 128, 256)
"""Channels of the three stages at width 1; each stage has two blocks and halves the picture but the first."""


class Block(nn.Module):
    """Two 3×3 convolutions around which the input passes by a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), nn.BatchNorm2d(outputs))

    def zero_init_last(self) -> None:
        """Make the block the identity at first: the last norm's scale is zero (Goyal et al. 2017, section 5.1)."""
        nn.init.zeros_(self.norm2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, outputs, H/stride, W/stride)."""
        branch = self.norm2(self.conv2(functional.relu(self.norm1(self.conv1(x)))))
        return functional.relu(branch + self.shortcut(x))


class ResNet(Net):
    """See `resnet`."""

    scheme = "zero-residual"
    resizable = True

    def __init__(self, *, channels: int, size: tuple[int, int], classes: int, width: float, dropout: float) -> None:
        super().__init__()
        first, *_ = wide = [max(8, 8 * round(base * width / 8)) for base in STAGES]
        # Pictures above 48 pixels are halved at once: the first stage costs as much as the other two together.
        self.stem = nn.Conv2d(channels, first, 3, stride=1 if min(size) < 48 else 2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        blocks, before = [], first
        for stage, after in enumerate(wide):
            blocks += [Block(before, after, 1 if stage == 0 else 2), Block(after, after, 1)]
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(before, classes)

    def body(self, images: Tensor) -> Tensor:
        """Return the mean of every channel of the last stage: (B, F)."""
        seen: Tensor = self.blocks(functional.relu(self.norm(self.stem(images))))
        pooled: Tensor = self.drop(seen.mean(dim=(2, 3)))
        return pooled


def resnet(*, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0) -> ResNet:
    """Return a residual net of 14 weighted layers: a stem, three stages of (64, 128, 256)·width channels, a linear head."""
    return ResNet(channels=channels, size=size, classes=classes, width=width, dropout=dropout)
