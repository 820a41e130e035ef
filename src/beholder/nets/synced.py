"""Batch norms over the batch of all ranks: each has only its share of the pictures, and the moments are of all of them.

torch's own SyncBatchNorm refuses the CPU, and nets of others call `F.batch_norm` themselves: so it is that call which is met.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

Total = Callable[[Tensor], Tensor]
"""Returns the sum over all ranks of a tensor of one shape; every rank calls it in the same order."""

_CALL = inspect.signature(F.batch_norm)


class Synced(TorchFunctionMode):
    """A context in which batch norms in training mode take the moments of all ranks' pictures.

    The loss of each rank must carry its share of the pictures as a factor: gradients through the moments are then those of the
    mean over all pictures.
    Source: S. Ioffe, C. Szegedy, Batch normalization (2015), equations of section 3.
    """

    def __init__(self, total: Total) -> None:
        super().__init__()
        self._total = total

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Call `func`, or for a batch norm in training mode `batch_norm`."""
        if func is F.batch_norm:
            given = _CALL.bind(*args, **(kwargs or {}))
            given.apply_defaults()
            if given.arguments["training"]:
                return batch_norm(total=self._total, **given.arguments)
        return func(*args, **(kwargs or {}))


def batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None,
    bias: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    *,
    total: Total,
) -> Tensor:
    """Return what `F.batch_norm` in training mode gives for the pictures of all ranks, of those that are here.

    input: (B, C, …); the running moments take the unbiased variance, as torch's do.
    """
    others = [axis for axis in range(input.ndim) if axis != 1]
    wide = input.detach().float() if input.dtype in (torch.bfloat16, torch.float16) else input.detach()
    variance, mean = torch.var_mean(wide, others, correction=0)
    here = wide.numel() / wide.shape[1]
    mean, variance = mean.double(), variance.double()
    sums = total(torch.cat([here * mean, here * (variance + mean.square()), mean.new_tensor([here])]))
    count = float(sums[-1])
    mean, square = (sums[:-1] / count).chunk(2)
    variance = (square - mean.square()).clamp_min(0)
    _remember(running_mean, mean, momentum)
    _remember(running_var, variance * count / max(1.0, count - 1), momentum)
    mean, variance = mean.to(wide.dtype), variance.to(wide.dtype)
    centred: Tensor = _Centred.apply(input, mean, (variance + eps).rsqrt(), count, total)
    return F.batch_norm(centred, mean, variance, weight, bias, False, 0.0, eps)


@torch.no_grad()
def _remember(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        running.lerp_(value.to(running.dtype), momentum)


class _Centred(torch.autograd.Function):
    """The identity, whose gradient is that through the moments: less its mean, and less its part along the normalised input."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, mean: Tensor, rate: Tensor, count: float, total: Total) -> Tensor:
        """Return `input`."""
        ctx.save_for_backward(input, mean, rate)
        ctx.count, ctx.total = count, total
        return input.view_as(input)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Any:
        """Return the gradient with respect to the input: g - mean(g) - x̂ · mean(g · x̂), means over all ranks."""
        input, mean, rate = ctx.saved_tensors
        others = [axis for axis in range(input.ndim) if axis != 1]
        shape = [1, -1, *([1] * (input.ndim - 2))]
        normal = (input.to(mean.dtype) - mean.view(shape)) * rate.view(shape)
        wide = slope.to(mean.dtype)
        sums = torch.cat([wide.sum(others).double(), (wide * normal).sum(others).double()])
        first, second = (ctx.total(sums) / ctx.count).to(mean.dtype).chunk(2)
        slope = wide - first.view(shape) - normal.mul_(second.view(shape))
        return slope.to(input.dtype), None, None, None, None
