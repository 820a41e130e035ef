"""The last layer of a net: the one logistic regression on features, and giving a net what was fitted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from beholder.nets.features import head


class Likelihood(Protocol):
    """What a regression needs of a task: the loss of logits (N, W) for targets (N, K), and W for K classes."""

    @property
    def loss(self) -> Callable[..., Tensor]:
        """Return the loss: (logits, targets, *, weights) → scalar."""

    def width(self, classes: int) -> int:
        """Return W."""


def fit(x: Tensor, y: Tensor, *, task: Likelihood, decay: float, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return (weight (W, F), bias (W,)) of a logistic regression on features x (N, F) and targets y (N, K).

    Features are standardised for the fit; the result applies to them as they are. See `regressed`.
    """
    mean, std = x.mean(0), x.std(0).clamp(min=1e-4)
    w, b = regressed((x - mean) / std, y, task=task, decay=decay, weights=weights)
    return w / std, b - w / std @ mean


def regressed(
    x: Tensor, y: Tensor, *, task: Likelihood, decay: float, weights: Tensor | None = None, steps: int = 60
) -> tuple[Tensor, Tensor]:
    """Return (weight (W, F), bias (W,)) of a logistic regression on x (N, F), as it is, and y (N, K), one-hot or multi-hot.

    decay: strength of the L2 penalty on the weight; weights: of the classes, (K,), as the loss takes them
    """
    width = task.width(y.size(1))
    w = torch.zeros(width, x.size(1), requires_grad=True)
    b = torch.zeros(width, requires_grad=True)
    minimised([w, b], lambda: task.loss(x @ w.T + b, y, weights=weights) + decay * w.square().sum(), steps=steps)
    return w.detach(), b.detach()


def minimised(values: Sequence[Tensor], loss: Callable[[], Tensor], *, steps: int) -> None:
    """Move `values` in place to where `loss` is least, by full-batch L-BFGS of so many steps at most."""
    solver = torch.optim.LBFGS(values, max_iter=steps, history_size=10, line_search_fn="strong_wolfe")

    def stepped() -> Tensor:
        solver.zero_grad()
        total = loss()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(stepped)  # type: ignore[no-untyped-call]


def give(net: nn.Module, weight: Tensor, bias: Tensor) -> None:
    """Set the head of a net that `takes_head` to weight (W, F) and bias (W,)."""
    last = head(net)
    assert last is not None
    assert last.bias is not None
    with torch.no_grad():
        last.weight.copy_(weight)
        last.bias.copy_(bias)


def forget(net: nn.Module) -> None:
    """Set a head to zeros: fine-tuning that starts from the fitted head stays near it and ends lower (docs/LOG.md)."""
    last = head(net)
    for parameter in last.parameters() if last is not None else ():
        nn.init.zeros_(parameter)


def takes_head(net: nn.Module) -> bool:
    """Return whether a net has a linear head with a bias, to be set to a fitted one."""
    last = head(net)
    return last is not None and last.bias is not None
