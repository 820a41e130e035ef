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
    mean, variance = _moments(input.detach())
    here = input.numel() / input.shape[1]
    sums = total(torch.cat([here * mean, here * (variance + mean.square()), mean.new_tensor([here])]))
    count = float(sums[-1])
    mean, square = (sums[:-1] / count).chunk(2)
    variance = (square - mean.square()).clamp_min(0)
    _remember(running_mean, mean, momentum)
    _remember(running_var, variance * count / max(1.0, count - 1), momentum)
    wide = torch.promote_types(input.dtype, torch.float32)
    weight = torch.ones_like(mean, dtype=wide) if weight is None else weight
    bias = torch.zeros_like(weight) if bias is None else bias
    found: Tensor = _Normed.apply(input, weight, bias, mean.to(wide), variance.to(wide), eps, count, total)
    return found


def _moments(input: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and biased variance of each channel, float64 (C,)."""
    wide = input.float() if input.dtype in (torch.bfloat16, torch.float16) else input
    if wide.device.type == "cpu":  # the kernel of torch's own batch norm: 11 to 40 times as fast as var_mean over channels
        mean, variance = torch.batch_norm_update_stats(wide, None, None, 0.0)
    else:
        variance, mean = torch.var_mean(wide, [axis for axis in range(wide.ndim) if axis != 1], correction=0)
    return mean.double(), variance.double()


@torch.no_grad()
def _remember(running: Tensor | None, value: Tensor, momentum: float) -> None:
    if running is not None:
        running.lerp_(value.to(running.dtype), momentum)


class _Normed(torch.autograd.Function):
    """The input, normalised by given moments, whose gradient is also that through the moments of all ranks.

    With x̂ the normalised input, g the gradient of the output, w the weight, r one over the deviation, and means over all
    ranks, that of the input is w r (g - mean(g) - x̂ · mean(g x̂)): x̂, scaled and shifted by torch's kernel, and g times w r.
    """

    @staticmethod
    def forward(
        ctx: Any,
        input: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        eps: float,
        count: float,
        total: Total,
    ) -> Tensor:
        """Return the normalised input, scaled and shifted."""
        ctx.save_for_backward(input, weight, mean, variance)
        ctx.eps, ctx.count, ctx.total = eps, count, total
        return F.batch_norm(input, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, slope: Tensor) -> Any:
        """Return the gradients of input, weight and bias, of the last two this rank's share."""
        input, weight, mean, variance = ctx.saved_tensors
        given = (slope, input, weight, mean, variance, None, None, False, ctx.eps, [False, True, True])
        _, along, summed = torch.ops.aten.native_batch_norm_backward(*given)
        rate = weight * (variance + ctx.eps).rsqrt()
        first, second = (ctx.total(torch.cat([summed.double(), along.double()])) / -ctx.count).to(mean.dtype).chunk(2)
        found = F.batch_norm(input, mean, variance, rate * second, rate * first, False, 0.0, ctx.eps)
        found.addcmul_(slope, rate.view(1, -1, *([1] * (input.ndim - 2))))
        return found, along, summed, None, None, None, None, None
