"""torch.compile where it pays, and the net as it is where it does not or cannot."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from beholder.base import events
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


def compiled(net: nn.Module, images: Tensor, precision: Precision, *, asked: str = "auto") -> Compiled:
    """Return the model to train with: `asked` is yes, no, or auto (as the kind of device has it; docs/LOG.md: slower on a CPU).

    images: a batch of the shape that every batch has: shapes are static. Compiling happens here, forward and backward, so that
    what it costs comes before the first step; weights, buffers, gradients and modes are as before. Where it fails, a warning
    says so.
    """
    if asked == "no" or (asked == "auto" and not kind(images.device).compiles):
        return Compiled(net, "")
    began = time.monotonic()
    try:
        model: nn.Module = torch.compile(net, dynamic=False)  # type: ignore[assignment]
        with lent(net, buffers=True):
            _exercise(model.train(), images, precision)
    except Exception as error:  # noqa: BLE001  (whatever a compiler and its tools may raise, the net trains without them)
        words = (str(error).strip().splitlines() or [""])[0]
        events.warn(
            f"torch.compile failed, so the net trains as it is: {type(error).__name__}: {words[:200]}",
            hint="--set train.compile=no spares the attempt",
        )
        return Compiled(net, "")
    finally:
        net.zero_grad(set_to_none=True)
    return Compiled(model, f"the training step was compiled in {time.monotonic() - began:.0f} s")


def _exercise(model: nn.Module, images: Tensor, precision: Precision) -> None:
    images = images.contiguous(memory_format=torch.channels_last)
    with autocast(images.device, precision):
        logits = model(images)
    logits.float().square().mean().backward()
