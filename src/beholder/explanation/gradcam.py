"""Grad-CAM: the last feature map, its channels weighted by the gradient of the class.

Source: Selvaraju et al., "Grad-CAM: visual explanations from deep networks via gradient-based localization", 2017.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from beholder.base.errors import UsageError

LEAST = 3
"""Least side, in cells, of a feature map that is worth showing."""

AFTER = 3
"""Most layers with weights between a feature map and the logits: what lies further back is not yet about classes."""


@dataclass(frozen=True)
class Place:
    """A feature map: the module that gives it, its sides in cells, and whether its channels come last, (B, h, w, C)."""

    module: nn.Module
    cells: tuple[int, int]
    last: bool


def gradcam(net: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return heat float32 (B, H, W) for normalised images (B, C, H, W); score: logits (B, K) → (B,).

    Raises `UsageError` (no-map) for a net that keeps no map of places near its answer.
    """
    place = feature_map(net, images[:1])
    if place is None:
        raise UsageError(
            "Grad-CAM needs a net with a feature map near its answer", code="no-map", hint="--method gradients suits any net"
        )
    caught: list[Tensor] = []

    def keep(_: nn.Module, __: object, out: Tensor) -> Tensor:
        caught.append(out)
        return out.clone()  # what follows may write into it

    hook = place.module.register_forward_hook(keep)
    try:
        total = score(net(images.detach().requires_grad_())).sum()
    finally:
        hook.remove()
    (slope,) = torch.autograd.grad(total, caught[-1])
    channels, sides = (3, (1, 2)) if place.last else (1, (2, 3))
    heat = (slope.mean(dim=sides, keepdim=True) * caught[-1]).sum(dim=channels).relu().detach()
    return enlarged(heat, images)


def enlarged(heat: Tensor, images: Tensor) -> Tensor:
    """Return heat (B, h, w) at the size of images (B, C, H, W): (B, H, W), bilinear."""
    size = (images.shape[2], images.shape[3])
    return functional.interpolate(heat[:, None].float(), size, mode="bilinear", align_corners=False)[:, 0]


@torch.no_grad()
def feature_map(net: nn.Module, image: Tensor, *, least: int = LEAST) -> Place | None:
    """Return the last map of features of at least `least` cells a side, None where there is none near the logits.

    image: float32 (1, C, H, W), any: the net is run once and watched.
    """
    seen: list[tuple[nn.Module, Tensor]] = []

    def watch(module: nn.Module, _: object, out: object) -> None:
        if isinstance(out, Tensor):
            seen.append((module, out))

    hooks = [module.register_forward_hook(watch) for module in net.modules() if module is not net]
    try:
        net(image)
    finally:
        for hook in hooks:
            hook.remove()
    last = any(getattr(module, "output_fmt", "NCHW") == "NHWC" for module in net.modules())
    after = 0
    for module, out in reversed(seen):
        cells = tuple(out.shape[1:3] if last else out.shape[2:]) if out.ndim == 4 else (0, 0)
        if min(cells) >= least:
            return Place(module, (cells[0], cells[1]), last)
        after += _weighs(module)
        if after > AFTER:
            break
    return None


def _weighs(module: nn.Module) -> bool:
    weight = getattr(module, "weight", getattr(module, "kernel", None))  # the latter is what Keras calls it
    return len(getattr(weight, "shape", ())) >= 2
