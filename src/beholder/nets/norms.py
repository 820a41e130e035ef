"""Batch norms and where their statistics are: got back for training where they were folded away, folded away for use."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

from beholder.machine.placement import evaluating

BatchNorm: TypeAlias = nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d | nn.SyncBatchNorm


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
    with evaluating(net):
        net(images)
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


@torch.no_grad()
def without_norms(net: nn.Module, images: Tensor) -> nn.Module:
    """Return a copy of `net`, for use only, in which batch norms that follow a convolution are folded into it.

    Which follows which is seen on `images`, float32 (B, C, H, W): the norm is given the very tensor that the convolution made.
    """
    net = copy.deepcopy(net).eval()
    made: dict[int, tuple[nn.Conv2d, Tensor]] = {}
    pairs: list[tuple[nn.Conv2d, BatchNorm]] = []

    def after(module: nn.Module, _given: tuple[Tensor, ...], out: Tensor) -> None:
        made[id(out)] = (cast(nn.Conv2d, module), out)  # held, so that its id stays its own

    def before(module: nn.Module, given: tuple[Tensor, ...]) -> None:
        if id(given[0]) in made:
            pairs.append((made[id(given[0])][0], cast(BatchNorm, module)))

    hooks = [m.register_forward_hook(after) for m in net.modules() if isinstance(m, nn.Conv2d)]
    hooks += [m.register_forward_pre_hook(before) for m in net.modules() if _foldable(m)]
    net(images)
    for hook in hooks:
        hook.remove()
    once = {id(m) for pair in pairs for m in pair if sum(m in other for other in pairs) == 1}
    for conv, norm in pairs:
        if id(conv) in once and id(norm) in once:
            _fold(net, conv, norm)
    return net


def _foldable(module: nn.Module) -> bool:
    return isinstance(module, BatchNorm) and module.affine and module.running_mean is not None


def _fold(net: nn.Module, conv: nn.Conv2d, norm: BatchNorm) -> None:
    assert norm.running_mean is not None
    assert norm.running_var is not None
    conv.weight, conv.bias = fuse_conv_bn_weights(
        conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    name = next(name for name, module in net.named_modules() if module is norm)
    rest = list(norm.children())  # timm's norms hold their activation
    parent, _, last = name.rpartition(".")
    setattr(net.get_submodule(parent), last, nn.Sequential(*rest))
