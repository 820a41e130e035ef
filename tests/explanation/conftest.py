"""Bundles whose answer is known to come from one place of the picture."""

from __future__ import annotations

import dataclasses
from typing import Protocol

import numpy as np
import pytest
import torch
from tests.configs import config
from torch import Tensor, nn

from beholder.base.recipe import Recipe
from beholder.bundle.bundle import Bundle
from beholder.nets.build import build
from beholder.nets.features import Net
from beholder.nets.spec import NetSpec


class Redness(Net):
    """Says "red" as strongly as the picture has red spots, seen by a map of a quarter of its side; else "plain"."""

    def __init__(self) -> None:
        super().__init__()
        self.see = nn.Sequential(nn.Conv2d(3, 2, 1), nn.ReLU(), nn.AvgPool2d(4))
        self.head = nn.Linear(2, 2)
        with torch.no_grad():
            self.see[0].weight[:] = torch.tensor([[1.0, -0.5, -0.5], [-1.0, -1.0, -1.0]])[:, :, None, None]
            self.see[0].bias.zero_()
            self.head.weight[:] = torch.tensor([[0.0, 1.0], [50.0, 0.0]])
            self.head.bias.zero_()

    def body(self, images: Tensor) -> Tensor:
        return self.see(images).mean(dim=(2, 3))


class Make(Protocol):
    """Returns a bundle around a net, or around one that is built by name with random weights."""

    def __call__(self, net: nn.Module | str, *, size: int = 32, mirror: bool = False, classes: int = 2) -> Bundle: ...


@pytest.fixture(scope="session")
def make() -> Make:
    def made(net: nn.Module | str, *, size: int = 32, mirror: bool = False, classes: int = 2) -> Bundle:
        spec = NetSpec(net if isinstance(net, str) else "made", 3, size, size, classes, 0.25)
        names = ("plain", "red", "third", "fourth")[:classes]
        made = config(names, size=(3, size, size), mirror=mirror)
        return Bundle(
            config=dataclasses.replace(made, net=spec),
            net=(build(spec) if isinstance(net, str) else net).eval(),
            recipe=Recipe(),
        )

    return made


@pytest.fixture
def red(make: Make) -> Bundle:
    return make(Redness())


@pytest.fixture(scope="session")
def spotted() -> np.ndarray:
    """uint8 (2, 3, 32, 32): grey pictures with a red spot of 8×8 pixels at (4, 16) and (20, 4)."""
    images = np.full((2, 3, 32, 32), 128, np.uint8)
    for image, (top, left) in zip(images, [(4, 16), (20, 4)], strict=True):
        image[:, top : top + 8, left : left + 8] = np.array([230, 40, 40], np.uint8)[:, None, None]
    return images
