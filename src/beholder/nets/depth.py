"""How deep in a net a parameter lies: for rates that grow with depth, and for lower layers that stay as they are."""

from __future__ import annotations

from typing import cast

from torch import nn

from beholder.nets.features import Net, head


def layers(net: nn.Module) -> dict[str, int]:
    """Return the layer of every parameter by name: 0 next to the pixels, the highest for the head.

    Nets of timm say themselves what a layer is (a block, for most); of others every module with weights of its own is one.
    """
    if not isinstance(net, Net) and callable(getattr(net, "group_matcher", None)):
        from timm.models import group_parameters

        return cast(dict[str, int], group_parameters(net, net.group_matcher(coarse=False), reverse=True))  # type: ignore[operator]
    found: dict[str, int] = {}
    seen: list[str] = []
    for name, parameter in net.named_parameters():
        owner = name.rpartition(".")[0]
        if parameter.ndim > 1 and owner not in seen:  # a norm belongs to the layer before it
            seen.append(owner)
        found[name] = max(0, len(seen) - 1)
    return found


def decayed(net: nn.Module, decay: float) -> dict[str, float]:
    """Return the factor on the rate of every parameter by name: 1 for the highest layer, times `decay` with each below it."""
    where = layers(net) if decay < 1 else {}
    top = max(where.values(), default=0)
    return {name: decay ** (top - layer) for name, layer in where.items()}


def freeze(net: nn.Module, share: float) -> list[nn.Module]:
    """Fix the parameters of the lowest `share` of the layers; return the largest modules that now learn nothing.

    They have to stay in evaluation mode: their norms keep the statistics of pretraining, their dropout is off.
    The head is never among them.
    """
    where = layers(net)
    below = int(share * (max(where.values(), default=0) + 1) + 1e-9)
    decides = {id(p) for p in found.parameters()} if (found := head(net)) is not None else set()
    for name, parameter in net.named_parameters():
        if where[name] < below and id(parameter) not in decides:
            parameter.requires_grad_(False)
    return _fixed(net)


def _fixed(net: nn.Module) -> list[nn.Module]:
    found: list[nn.Module] = []
    for child in net.children():
        learning = [p.requires_grad for p in child.parameters()]
        if learning and not any(learning):
            found.append(child)
        else:
            found += _fixed(child)
    return found
