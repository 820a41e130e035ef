"""What a net answers of the validation pictures, each rank a share of every batch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from beholder.data.loader import Readable, plain
from beholder.machine.device import Precision, autocast
from beholder.machine.ranks import ALONE, Ranks
from beholder.runtime.inference import Normal


@dataclass(frozen=True, eq=False)
class Later:
    """The validation pictures as a rank holds them; width: how many logits each has."""

    pixels: Readable
    width: int
    normal: Normal


@torch.no_grad()
def answered(
    net: nn.Module, later: Later, precision: Precision, *, batch: int, ranks: Ranks = ALONE
) -> Generator[Tensor, None, None]:
    """Yield the logits of `batch` pictures of each rank after another, float32 (B, width): zeros but for this rank's share."""
    whole, normal, n = batch * ranks.world, later.normal, len(later.pixels)
    how: dict[str, Any] = {"device": normal.device, "mean": normal.mean, "std": normal.std, "ranks": ranks}
    for at, images in zip(range(0, n, whole), plain(later.pixels, batch=whole, **how), strict=True):
        found = torch.zeros(min(whole, n - at), later.width, device=normal.device)
        begin, end = ranks.within(len(found))
        if begin < end:
            with autocast(images.device, precision):
                found[begin:end] = net(images.contiguous(memory_format=torch.channels_last))
        yield found
