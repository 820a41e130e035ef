"""Bare training steps, which other programs here time: one batch that stays, forward, backward, optimiser, nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from beholder.learn.optim import optimiser
from beholder.machine.chip import settled
from beholder.machine.device import Precision
from beholder.nets.build import build
from beholder.nets.features import head
from beholder.nets.spec import NetSpec


def net_of(name: str, *, side: int, channels: int = 3, width: float = 1.0, classes: int = 10, on: torch.device) -> nn.Module:
    net = build(NetSpec(name, channels, side, side, classes, width=width))
    return net.to(on, memory_format=torch.channels_last).train()


def stepper(
    net: nn.Module, *, batch: int, side: int, channels: int = 3, precision: Precision, name: str, model: nn.Module | None = None
) -> Callable[[], None]:
    """A function that takes one step with optimiser `name`; `model` is what the forward pass calls, the net by default."""
    on = next(net.parameters()).device
    images = torch.randn(batch, channels, side, side, device=on).contiguous(memory_format=torch.channels_last)
    targets = torch.arange(batch, device=on) % 10
    made = optimiser(net, name, lr=1e-3, momentum=0.9, weight_decay=0.0, head=head(net))
    called = model if model is not None else net

    def step() -> None:
        with torch.autocast(on.type, dtype=precision.dtype, enabled=precision.mixed):
            logits = called(images)
        F.cross_entropy(logits.float(), targets, label_smoothing=0.1).backward()
        for each in made:
            each.step()
            each.zero_grad(set_to_none=True)

    return step


def seconds_of(step: Callable[[], None], on: torch.device, *, times: int = 1) -> float:
    began = time.perf_counter()
    for _ in range(times):
        step()
    settled(on)
    return (time.perf_counter() - began) / times
