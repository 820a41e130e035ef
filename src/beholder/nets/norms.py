"""Batch norms whose statistics were folded into their weights: exact in use, ruinous in training, and mended here."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

BatchNorm = nn.modules.batchnorm._BatchNorm


def folded(net: nn.Module) -> list[BatchNorm]:
    """Return the batch norms that hold no statistics: every mean 0, every variance 1.

    In evaluation mode such a norm is only a factor and an offset. In training mode it divides by what it sees, and the net
    that was pretrained gives something else.
    """
    return [
        module
        for module in net.modules()
        if isinstance(module, BatchNorm)
        and module.affine
        and module.running_mean is not None
        and module.running_var is not None
        and bool((module.running_mean == 0).all())
        and bool((module.running_var == 1).all())
    ]


@torch.no_grad()
def unfold(net: nn.Module, images: Tensor) -> int:
    """Give every folded norm the statistics that `images` have there; return how many there were.

    images: float32 (B, C, H, W), normalised. What the net gives in evaluation mode stays the same: weight and bias take up
    what the statistics now take away.
    """
    norms, seen = folded(net), dict[BatchNorm, tuple[Tensor, Tensor]]()
    if not norms:
        return 0

    def watching(norm: BatchNorm) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def look(_module: nn.Module, given: tuple[Tensor, ...]) -> None:
            values = given[0].float().transpose(0, 1).flatten(1)
            seen[norm] = values.mean(1), values.var(1, correction=0)

        return look

    hooks = [norm.register_forward_pre_hook(watching(norm)) for norm in norms]
    was = net.training
    net.eval()(images)
    net.train(was)
    for hook in hooks:
        hook.remove()
    for norm, (mean, variance) in seen.items():
        _set(norm, mean, variance)
    return len(norms)


def _set(norm: BatchNorm, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    factor = norm.weight / (1 + norm.eps) ** 0.5
    norm.bias.add_(factor * norm.running_mean)
    norm.weight.copy_(factor * (norm.running_var + norm.eps).sqrt())
