"""What can be built, with parameters and floating-point operations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from beholder.base.errors import UsageError
from beholder.nets.build import NETS, build
from beholder.nets.spec import NetSpec

TIMM = ("timm:mobilenetv3_large_100", "timm:resnet18", "timm:convnext_tiny", "timm:vit_small_patch16_224")
"""Backbones of timm that the table shows beside our own; any other of timm's can be named too."""


@dataclass(frozen=True)
class Row:
    """One net at one size. parameters: all, frozen ones included; flops: of one picture forward, 2 per multiply–add.

    Only convolutions and matrix products are counted. Both are None where the net cannot take this size.
    """

    name: str
    parameters: int | None
    flops: int | None
    about: str


def table(*, size: int | tuple[int, int], channels: int, classes: int, timm: Sequence[str] = TIMM) -> list[Row]:
    """Return a row per net for pictures of `size`, (height, width) or the side. Nets are built without memory for weights."""
    sides = (size, size) if isinstance(size, int) else size
    return [_row(name, sides, channels, classes) for name in (*NETS.names(), *timm)]


def _row(name: str, size: tuple[int, int], channels: int, classes: int) -> Row:
    about = _about(name)
    try:
        with torch.device("meta"):
            net = build(NetSpec(name, channels, *size, classes)).eval()
            images = torch.empty(1, channels, *size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(images)
    except (UsageError, RuntimeError, AssertionError) as error:
        return Row(name, None, None, f"{about}; not at this size: {str(error).splitlines()[0]}")
    return Row(name, sum(p.numel() for p in net.parameters()), counter.get_total_flops(), about)


def _about(name: str) -> str:
    if name.startswith("timm:"):
        return "a backbone of timm, with pretrained weights where they can be had"
    return (NETS.load(name).__doc__ or "").partition("\n")[0].removeprefix("Return ").partition(".")[0]
