"""Turns of a task whose targets carry more than labels, and whose loss reads that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from beholder.tasks.task import Task, Turn, Turns


def turned(turns: Turns, loss: Callable[..., Tensor], classes: int) -> Turns:
    """Return the turns of a net that learns by itself, with another loss.

    loss: tensors (logits (B, W), targets (B, K + …), *, smoothing, weights) → scalar; the first K = `classes` columns of the
    targets are those that `turns` takes
    """

    def other(net: Any, images: Tensor, targets: Tensor, *, smoothing: float, weights: Tensor | None) -> Iterator[Turn]:
        heard: list[Tensor] = []

        def listening(images: Tensor) -> Tensor:
            out: Tensor = net(images)
            heard.append(out)
            return out

        for turn in turns(listening, images, targets[:, :classes], smoothing=smoothing, weights=weights):
            yield replace(turn, loss=loss(heard[-1].float(), targets, smoothing=smoothing, weights=weights))

    return other


def weighed(task: Task, heard: Callable[[Tensor], object]) -> Callable[..., Tensor]:
    """Return the loss of a task whose targets, (B, K + 1), say in the last column what each picture counts.

    heard: is given the losses of the pictures, float32 (B,), each by itself
    """

    def loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        def one(z: Tensor, y: Tensor) -> Tensor:
            return task.loss(z[None], y[None], smoothing=smoothing, weights=weights)

        each: Tensor = torch.vmap(one)(logits, targets[:, :-1])
        heard(each.detach())
        return (each * targets[:, -1]).mean()

    return loss
