"""torch.compile where it pays, and the net as it is where it does not or cannot."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.machine.chip import settled
from beholder.machine.device import Precision, autocast
from beholder.machine.devices import kind
from beholder.machine.placement import lent


@dataclass(frozen=True)
class Compiled:
    """model: what the forward pass of training calls; it shares its weights with the net.

    reason: what became of it, where there is something to say
    """

    model: nn.Module
    reason: str


COST, GAIN = 30.0, 0.2
"""Seconds that compiling for one shape takes on a GPU, and the share of a step that it saves, as long as `bench/gpu.sh` has not
measured both there: a run that is shorter than COST / GAIN is over sooner without."""


def compiled(
    net: nn.Module,
    images: Tensor,
    precision: Precision,
    *,
    asked: str = "auto",
    others: Sequence[Tensor] = (),
    steps: int = 0,
    seconds: float = 0.0,
) -> Compiled:
    """Return the model to train with: `asked` is yes, no, or auto (as the kind of device has it; docs/LOG.md: slower on a CPU).

    images: a batch of the shape that batches have; others: of each other shape that some have: shapes are static. Compiling
    happens here, forward and backward, so that what it costs comes before the first step; weights, buffers, gradients and modes
    are as before. Where it fails, a warning says so.
    steps, seconds: that are planned, 0 for not known: auto leaves a run as it is that compiling would not shorten
    """
    shapes = [images, *others]
    if asked == "no" or (asked == "auto" and not kind(images.device).compiles):
        return Compiled(net, "")
    if asked == "auto" and steps:
        planned = min(steps * _seconds(net, images, precision), seconds or math.inf)
        if planned < len(shapes) * COST / GAIN:
            return Compiled(net, f"not compiled: {planned:.0f} s of training are too few for it to pay")
    began = time.monotonic()
    try:
        model: nn.Module = torch.compile(net, dynamic=False)  # type: ignore[assignment]
        with lent(net, buffers=True):
            for each in shapes:
                _exercise(model.train(), each, precision)
    except Exception as error:  # noqa: BLE001  (whatever a compiler and its tools may raise, the net trains without them)
        _warn(error)
        return Compiled(net, "")
    finally:
        net.zero_grad(set_to_none=True)
    return Compiled(model, f"the training step was compiled in {time.monotonic() - began:.0f} s")


def _warn(error: Exception) -> None:
    words = (str(error).strip().splitlines() or [""])[0]
    events.warn(
        f"torch.compile failed, so the net trains as it is: {type(error).__name__}: {words[:200]}",
        hint="--set train.compile=no spares the attempt",
    )


def _seconds(net: nn.Module, images: Tensor, precision: Precision) -> float:
    """Return the seconds of a step of the net as it is: of the third one, as kernels are chosen in those before."""
    with lent(net, buffers=True):
        for _ in range(3):
            settled(images.device)
            began = time.monotonic()
            _exercise(net.train(), images, precision)
            settled(images.device)
        spent = time.monotonic() - began
    net.zero_grad(set_to_none=True)
    return spent


def _exercise(model: nn.Module, images: Tensor, precision: Precision) -> None:
    images = images.contiguous(memory_format=torch.channels_last)
    with autocast(images.device, precision):
        logits = model(images)
    logits.float().square().mean().backward()
