"""The forward passes of one batch, as the loop and those that compute along with it take them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from beholder.base.errors import UsageError
from beholder.base.spans import span
from beholder.data.loader import Batches
from beholder.learn.resizing import resized, size_at
from beholder.machine.device import Precision, autocast
from beholder.tasks.task import Turn, Turns


def grown(images: Tensor, grow: float, done: float) -> Tensor:
    """Return images (B, C, h, w) of the size that they have when the share `done` of training is over, channels last."""
    height, width = images.shape[-2:]
    return resized(images, size_at((height, width), grow, done)).contiguous(memory_format=torch.channels_last)


def count_of(batches: Batches, micro: int) -> int:
    """Return in how many pieces of at most `micro` pictures a rank takes its share of a batch; 1 where micro is 0."""
    return math.ceil(math.ceil(batches.batch / batches.ranks.world) / max(2, micro)) if micro else 1  # one has no moments


def pieces(turns: Turns, batches: Batches, micro: int) -> Turns:
    """Return turns that take a batch in pieces of at most `micro` pictures, 0: at once, in as many at every rank.

    Each is computed, and gives its gradients, before the next; the last one has the loss, and the share of right answers, of
    all. Batch norms take the moments of a piece, of all ranks.
    Raises `UsageError` (one-turn) for a task with several turns a batch, which steps between them.
    """

    def split(net: Any, images: Tensor, targets: Tensor, **how: Any) -> Iterator[Turn]:
        count = count_of(batches, micro)
        loss, right = images.new_zeros(()), images.new_zeros(())
        for number, (x, y) in enumerate(zip(images.tensor_split(count), targets.tensor_split(count), strict=True), 1):
            running, share = turns(net, x, y, **how), len(x) / len(images)
            turn = next(running)
            loss, right = loss + turn.loss * share, right + turn.right * share
            yield replace(turn, loss=loss, right=right, whole=number == count)
            loss = loss.detach()
            if next(running, None) is not None:
                hint = "leave train.micro out"
                raise UsageError("a task with several turns a batch cannot take it in pieces", code="one-turn", hint=hint)

    return split if micro else turns


def forward(
    turns: Iterator[Turn],
    device: torch.device,
    precision: Precision,
    *,
    share: float = 1.0,
    scale: Callable[[Tensor], Tensor] = lambda loss: loss,
) -> Iterator[Turn]:
    """Yield the turns of a batch; only the forward pass runs under autocast: not the backward pass, not the optimiser.

    share: how much of the batch of all ranks is computed here; loss and share of right answers are multiplied by it
    scale: what fp16 multiplies losses by; pieces of a batch go backward here, but for the last
    """
    while True:
        with span("forward"), autocast(device, precision):
            turn = next(turns, None)
        if turn is None:
            return
        turn = turn if share == 1.0 else replace(turn, loss=turn.loss * share, right=turn.right * share)
        if turn.whole:
            yield turn
        else:
            with span("backward"):
                scale(turn.loss).backward()  # type: ignore[no-untyped-call]
