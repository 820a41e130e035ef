"""How good a net is on the validation part, in the precision that it trains in: the figure that weights are chosen by."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from beholder.bundle.infer import fitting
from beholder.data.loader import Readable, plain
from beholder.machine.device import Precision, autocast
from beholder.machine.placement import evaluating
from beholder.runtime.inference import Normal
from beholder.tasks.task import Task


def score(logits: Tensor, targets: Tensor, task: Task) -> float:
    """Return the validation score of logits (N, W) against targets (N, K), both float32: the task's objective."""
    return float(task.objective(logits.numpy(), targets.numpy()))


@torch.inference_mode()
def validate(
    net: nn.Module,
    pixels: Readable,
    targets: Tensor,
    normal: Normal,
    precision: Precision,
    *,
    task: Task,
    enough: Callable[[], bool] = bool,
    heard: Callable[[Tensor], object] = lambda _: None,
) -> tuple[float, float] | None:
    """Return (loss, score) of `net` on pixels with targets float32 (N, K), in evaluation mode.

    `enough` is asked before each batch; None is returned once it says so. heard: is given the logits, float32 (N, W)
    """
    # One tensor from the start: small ones kept between large ones that come and go scatter the heap, which then grows. It is
    # on the device, so that the host waits once, not for each batch.
    logits, at = torch.empty(len(targets), task.width(targets.shape[1]), device=normal.device), 0
    batch = min(256, 4 * fitting(normal.device, *pixels.shape[1:]))
    with evaluating(net):
        for images in plain(pixels, batch=batch, device=normal.device, mean=normal.mean, std=normal.std):
            if enough():
                return None
            with autocast(images.device, precision):
                logits[at : at + len(images)] = net(images.contiguous(memory_format=torch.channels_last))
            at += len(images)
    logits = logits.cpu()
    heard(logits)
    return float(task.loss(logits, targets)), score(logits, targets, task)
