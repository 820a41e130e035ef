"""What of a pretrained backbone is not trained when all of a detector is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from beholder.machine.placement import evaluating
from beholder.nets.detector import Detector as Net


def settled(net: Net, channels: int) -> list[nn.Module]:
    """Freeze what of a pretrained backbone is not trained, and return the modules that stay in evaluation mode.

    Its layers up to a stride of 4 are what costs most and changes least; its batch norms keep the statistics that they came
    with, for batches here are small.
    """
    early = first_layers(net.backbone, channels)
    for module in early:
        module.requires_grad_(False)
    norms = [module for module in net.backbone.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return [*early, *norms]


def first_layers(backbone: nn.Module, channels: int) -> list[nn.Module]:
    """Return the layers that a backbone goes through before the first whose maps are an eighth of the picture's side."""
    side, found, done = 64, list[nn.Module](), []

    def note(module: nn.Module, _given: Any, made: Any) -> None:
        if isinstance(made, Tensor) and made.ndim == 4 and made.shape[-1] <= side // 8:
            done.append(True)
        if not done:
            found.append(module)

    hooks = [m.register_forward_hook(note) for m in backbone.modules() if not list(m.children())]
    try:
        with torch.no_grad(), evaluating(backbone):
            on = next(backbone.parameters()).device
            backbone(torch.zeros(1, channels, side, side, device=on))
    finally:
        for hook in hooks:
            hook.remove()
    return found
