"""How fast a net learns on this machine at this moment: measured on steps of a copy, before the first real one."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional as F

from beholder.machine.chip import settled
from beholder.machine.device import Precision, autocast
from beholder.machine.pace import Nimble, most_threads, quickest

SAMPLE = 8
"""Pictures of a step whose time is taken: on a busy machine each may take a tenth of a second."""

ENOUGH = 0.15
"""Seconds of steps after which no other is taken."""


def step_of(net: nn.Module, images: torch.Tensor, precision: Precision) -> Callable[[], None]:
    """Return a training step without its optimiser, on images (B, C, H, W) with labels of no meaning. It changes no weight."""
    net = copy.deepcopy(net).train()
    images = images.contiguous(memory_format=torch.channels_last)

    def step() -> None:
        with autocast(images.device, precision):
            logits = net(images).float()
        goal = torch.arange(len(images), device=images.device) % logits.shape[1]
        F.cross_entropy(logits, goal).backward()  # type: ignore[no-untyped-call]
        net.zero_grad(set_to_none=True)

    return step


def threads(net: nn.Module, images: torch.Tensor, precision: Precision) -> int:
    """Return with how many threads a training step takes the least time now, and let torch compute with so many."""
    return quickest(step_of(net, images, precision), most=torch.get_num_threads())


def seconds_each(
    net: nn.Module, images: torch.Tensor, precision: Precision, *, now: Callable[[], float] = time.monotonic
) -> float:
    """Return the seconds that a training step takes per picture, of images (B, C, H, W): the least of a few steps.

    The first step, in which kernels are chosen, does not count.
    """
    step = step_of(net, images, precision)
    step()
    settled(images.device)
    spent, least = 0.0, float("inf")
    while spent < ENOUGH:
        began = now()
        step()
        settled(images.device)
        seconds = now() - began
        spent, least = spent + seconds, min(least, seconds)
    return least / len(images)


def nimble(on: torch.device, *, alone: bool) -> Nimble:
    """Return what chooses the threads of training steps where other work comes and goes: on the CPU, of a process alone."""
    return Nimble(most=most_threads() if on.type == "cpu" and alone else 1)
