"""Our own nets and those of plug-ins, with parameters and floating-point operations; pretrained ones: `backbones`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from beholder.base.errors import UsageError
from beholder.nets.build import build
from beholder.nets.names import NETS
from beholder.nets.spec import NetSpec


@dataclass(frozen=True)
class Row:
    """One net at one size. parameters: all, frozen ones included; flops: of one picture forward, 2 per multiply–add.

    Only convolutions and matrix products are counted. Both are None where the net cannot take this size.
    """

    name: str
    parameters: int | None
    flops: int | None
    about: str


def table(*, size: int | tuple[int, int], channels: int, classes: int) -> list[Row]:
    """Return a row per net for pictures of `size`, (height, width) or the side. Nets are built without memory for weights."""
    sides = (size, size) if isinstance(size, int) else size
    return [_row(name, sides, channels, classes) for name in NETS.sound()]


def _row(name: str, size: tuple[int, int], channels: int, classes: int) -> Row:
    about = (NETS.load(name).__doc__ or "").partition("\n")[0].removeprefix("Return ").partition(".")[0]
    try:
        with torch.device("meta"):
            net = build(NetSpec(name, channels, *size, classes)).eval()
            images = torch.empty(1, channels, *size)
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            net(images)
    except (UsageError, RuntimeError, AssertionError) as error:
        return Row(name, None, None, f"{about}; not at this size: {str(error).splitlines()[0]}")
    return Row(name, sum(p.numel() for p in net.parameters()), counter.get_total_flops(), about)
