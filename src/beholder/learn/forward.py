"""The forward passes of one batch, as the loop and those that compute along with it take them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from beholder.base.spans import span
from beholder.learn.resizing import resized, size_at
from beholder.machine.device import Precision, autocast
from beholder.tasks.task import Turn


def grown(images: Tensor, grow: float, done: float) -> Tensor:
    """Return images (B, C, h, w) of the size that they have when the share `done` of training is over, channels last."""
    height, width = images.shape[-2:]
    return resized(images, size_at((height, width), grow, done)).contiguous(memory_format=torch.channels_last)


def forward(turns: Iterator[Turn], device: torch.device, precision: Precision, *, share: float = 1.0) -> Iterator[Turn]:
    """Yield the turns of a batch; only the forward pass runs under autocast: not the backward pass, not the optimiser.

    share: how much of the batch of all ranks is computed here; loss and share of right answers are multiplied by it
    """
    while True:
        with span("forward"), autocast(device, precision):
            turn = next(turns, None)
        if turn is None:
            return
        yield turn if share == 1.0 else replace(turn, loss=turn.loss * share, right=turn.right * share)
