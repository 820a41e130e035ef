"""How wide a net from random weights is, and how large its batches are: from its speed on this machine at this moment."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch

from beholder.base.fields import NetRecipe
from beholder.base.records import PixelPolicy
from beholder.learn.tempo import seconds_each, threads
from beholder.machine.device import Precision
from beholder.machine.placement import moved
from beholder.nets.build import create
from beholder.nets.choose import DIALLED

NARROW, WIDE = (0.5, 0.25, 0.125), 0.75
"""Widths that are tried, narrower and narrower, and the one that pays where there is time for it."""

FEWEST = 3.0
"""Epochs that a planned run should have: a net that cannot have them is made narrower before it starts."""

PLENTY, MANY = 8.0, 40_000
"""Epochs at three quarters, and pictures, from which on that width pays (docs/LOG.md)."""

GROWTH = 1.4
"""A net takes so many powers of its width longer: between 1, where it waits for memory, and 2, the number of its products."""

SAMPLE = 32
"""Pictures of the steps that are timed."""

STEPS = 150
"""Steps that a planned run should have: a batch that leaves fewer is made smaller."""

SMALLEST = 32
"""Pictures in a batch at least."""


@dataclass(frozen=True)
class Dial:
    """width: of the net; batch: the largest that leaves enough steps; rate: pictures a second; why: in a sentence."""

    width: float
    batch: int
    rate: float
    why: str


def dialled(
    net: NetRecipe,
    policy: PixelPolicy,
    *,
    n: int,
    classes: int,
    asked: float,
    seconds: float,
    on: torch.device,
    precision: Precision,
) -> Dial:
    """Return the width for `net` with which n pictures are seen often enough in `seconds` of training, and its batch.

    asked: the width that a person asked for, which stays; 0: none
    """
    width = asked or net.width or 1.0
    built = create(
        dataclasses.replace(net, width=width, weights="none", init="auto"),
        channels=policy.channels,
        size=(policy.height, policy.width),
        classes=max(2, classes),
    ).net
    moved(built, on).to(memory_format=torch.channels_last)
    images = torch.randn(SAMPLE, policy.channels, policy.height, policy.width).to(on)
    if on.type == "cpu":
        threads(built, images, precision)
    measured = 1 / seconds_each(built, images, precision)

    def epochs(other: float) -> float:
        return float(measured * (width / other) ** GROWTH) * seconds / n

    chosen = width
    if not asked and net.name in DIALLED:
        if width == 0.5 and n >= MANY and epochs(WIDE) >= PLENTY:
            chosen = WIDE
        for narrow in NARROW:
            if epochs(chosen) < FEWEST and narrow < chosen:
                chosen = narrow
    rate = float(measured * (width / chosen) ** GROWTH)
    batch = max(SMALLEST, 2 ** int(math.log2(max(1.0, rate * seconds / STEPS))))
    return Dial(chosen, batch, rate, f"width {chosen:g}: it learns about {rate:,.0f} pictures a second here and now")
