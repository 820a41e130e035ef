"""A net of timm that enlarges its pictures itself: so that one that was pretrained on larger ones sees small ones well."""

from __future__ import annotations

from functools import partial

from torch import Tensor, nn
from torch.nn import functional

from beholder.base.errors import BundleError, UsageError

LARGEST = 1024
"""Side in pixels to which pictures may be enlarged: what a bundle of somebody else's asks for costs memory."""


def enlarged(net: nn.Module, side: int) -> nn.Module:
    """Return the net, made to enlarge its pictures to `side` pixels before its first convolution; 0: as it is.

    Its layers and the names of its weights stay as timm knows them. Raises `BundleError` (bad-spec) for a side that no recipe
    could have asked for, `UsageError` for a net that does not say by what it begins.
    """
    if type(side) is not int or not 0 <= side <= LARGEST:
        what = f"a net cannot enlarge pictures to {str(side)[:40]} pixels"
        raise BundleError(what, code="bad-spec", hint=f"a side has {LARGEST:,} pixels at most")
    if side:
        first = net.get_submodule(_first(net))
        first.register_forward_pre_hook(partial(_enlarged, side=side))
        net.enlarge = side  # type: ignore[assignment]
    return net


def _first(net: nn.Module) -> str:
    """Return the name of the first convolution of a net of timm, which is the first to be given the pictures."""
    named = getattr(net, "pretrained_cfg", {}).get("first_conv")
    if isinstance(named, str):
        return named
    raise UsageError(
        f"{type(net).__name__} does not say by what it begins, so it cannot enlarge pictures",
        code="bad-value",
        hint="leave net.enlarge out; --size N reads the pictures larger",
    )


def _enlarged(_: nn.Module, given: tuple[Tensor, ...], *, side: int) -> tuple[Tensor, ...]:
    images, *others = given
    longer = max(images.shape[-2:])
    size = [max(1, round(length * side / longer)) for length in images.shape[-2:]]
    return (functional.interpolate(images, size, mode="bicubic", align_corners=False), *others)
