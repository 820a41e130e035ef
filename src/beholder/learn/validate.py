"""How good a net is on the validation part, in the precision that it trains in: the figure that weights are chosen by."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

import torch
from torch import Tensor, nn

from beholder.bundle.infer import fitting
from beholder.data.loader import Readable
from beholder.learn.answers import Later, answered
from beholder.learn.parallel import Alone
from beholder.machine.device import Precision
from beholder.machine.placement import evaluating
from beholder.runtime.inference import Normal
from beholder.tasks.task import Task


def score(logits: Tensor, targets: Tensor, task: Task) -> float:
    """Return the validation score of logits (N, W) against targets (N, K), both float32: the task's objective."""
    return float(task.objective(logits.numpy(), targets.numpy()))


@torch.no_grad()
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
    team: Alone | None = None,
) -> tuple[float, float] | None:
    """Return (loss, score) of `net` on pixels with targets float32 (N, K), in evaluation mode.

    `enough` is asked before each batch; None is returned once it says so. heard: is given the logits, float32 (N, W)
    team: who answers along. Raises `LostRankError` where one of them is gone
    """
    team = team or Alone()
    # One tensor from the start: small ones kept between large ones that come and go scatter the heap, which then grows. It is
    # on the device, so that the host waits once, not for each batch.
    logits, at = torch.empty(len(targets), task.width(targets.shape[1]), device=normal.device), 0
    batch = min(256, 4 * fitting(normal.device, *pixels.shape[1:]))
    ranks = team.validating(net, batch)
    rounds = answered(net, Later(pixels, logits.shape[1], normal), precision, batch=batch, ranks=ranks)
    with evaluating(net), closing(rounds):
        while at < len(logits):
            if enough():
                return None
            team.asked()
            found = team.answers(next(rounds))
            logits[at : at + len(found)] = found
            at += len(found)
    logits = logits.cpu()
    heard(logits)
    return float(task.loss(logits, targets)), score(logits, targets, task)
