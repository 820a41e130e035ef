"""A net and a task in float64, for which the order of sums is all that several ranks can change."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from beholder.tasks.single import SINGLE, right
from beholder.tasks.task import Turn


class Last(nn.Linear):
    def forward(self, features: Tensor) -> Tensor:
        return super().forward(features.double())


class Wide(nn.Module):
    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten()
        )
        self.last = Last(32, classes)
        self.double()

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.last(self.body(images.double()))
        return out


def net(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    return Wide(channels, classes)


def turns(net: Any, images: Tensor, targets: Tensor, *, smoothing: float, weights: Tensor | None) -> Iterator[Turn]:
    logits = net(images)
    yield Turn("net", F.cross_entropy(logits, targets.double()), right(logits.detach(), targets))


TASK = dataclasses.replace(SINGLE, name="wide", turns=turns)


def failing(*, channels: int, size: tuple[int, int], classes: int) -> nn.Module:
    """A net that only the first rank can build."""
    import os

    if os.environ.get("RANK", "0") != "0":
        raise RuntimeError("not here")
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * size[0] * size[1], classes))
