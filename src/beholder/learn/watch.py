"""What the loop is watched with: the average of the weights, the best so far, and losses that are not finite."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base.errors import BeholderError

Weights = dict[str, Tensor]


class Average:
    """An exponential moving average of weights and buffers, with the warm-up min(decay, (1 + t) / (10 + t)).

    Source: Polyak & Juditsky 1992; the warm-up is that of tf.train.ExponentialMovingAverage.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move the average towards the weights of `net`; integer buffers are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = self.net.state_dict(), net.state_dict()
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        torch._foreach_lerp_([ours[name] for name in floats], [theirs[name] for name in floats], 1 - decay)
        for name in ours.keys() - set(floats):
            ours[name].copy_(theirs[name])


def copied(net: nn.Module) -> Weights:
    """Return a copy of all weights and buffers."""
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


@dataclass
class Best:
    """The best weights on the validation part so far: the higher score wins, then the lower loss."""

    weights: Weights = field(default_factory=dict)
    score: float = float("-inf")
    loss: float = float("inf")
    epoch: int = -1

    def offer(self, net: nn.Module, *, score: float, loss: float, epoch: int) -> bool:
        """Keep a copy of `net` if it is better; return whether it is. A score that is NaN is the lowest of all."""
        score = float("-inf") if math.isnan(score) else score  # no class of a multi-label part may have a positive
        if not (score, -loss) > (self.score, -self.loss):
            return False
        self.weights, self.score, self.loss, self.epoch = copied(net), score, loss, epoch
        return True


class NotFiniteError(BeholderError):
    """The loss or a gradient became infinite or NaN; the optimiser did not step."""


def check_finite(loss: Tensor, step: int) -> None:
    """Raise `NotFiniteError` before the optimiser sees a loss that is not finite."""
    if not bool(torch.isfinite(loss)):
        raise NotFiniteError(
            f"the loss became {loss.item()} at step {step}",
            code="not-finite",
            hint="lower the rate (--set train.lr=…), clip gradients (train.clip=1) or train in fp32 (train.precision=fp32)",
        )


def row(**figures: Any) -> dict[str, Any]:
    """Return one row of the history: floats have 6 significant digits, and None where they are not finite (JSON)."""

    def plain(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.6g}") if math.isfinite(value) else None

    return {name: plain(value) for name, value in figures.items()}
