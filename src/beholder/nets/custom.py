"""Nets of the user's own: `module:function`, called with what it accepts of (channels, size, classes, width, dropout)."""

from __future__ import annotations

import inspect
from typing import cast

import torch
from torch import Tensor, nn

from beholder.base import registry
from beholder.base.errors import UsageError
from beholder.machine.placement import evaluating
from beholder.nets.features import Net


class Own(Net):
    """A net of the user's with its last linear layer found, if that is what gives the logits."""

    scheme = "default"

    def __init__(self, net: nn.Module, last: str | None) -> None:
        super().__init__()
        self.net = net
        self._last = last

    @property
    def head(self) -> nn.Linear | None:  # type: ignore[override]
        """The user's last linear layer, None where the logits do not come straight out of one."""
        return None if self._last is None else cast(nn.Linear, self.net.get_submodule(self._last))

    def body(self, images: Tensor) -> Tensor:
        """Return what the last linear layer is given, caught on its way: (B, F); the logits where there is none."""
        if self.head is None:
            return self.forward(images)
        caught: list[Tensor] = []
        hook = self.head.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
        try:
            self.net(images)
        finally:
            hook.remove()
        return caught[-1]

    def forward(self, images: Tensor) -> Tensor:
        """Return the user's logits (B, K)."""
        return cast(Tensor, self.net(images))


def custom_net(
    *, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0, target: str, **args: object
) -> Own:
    """Return the net that the function at `target` ("module:function") builds.

    Raises `UsageError`: import-failed, bad-net (no nn.Module, logits of a wrong shape), net-failed (it raised).
    """
    function = registry.attribute(target)
    given = {"channels": channels, "size": size, "classes": classes, "width": width, "dropout": dropout, **args}
    if not callable(function):
        raise UsageError(f"{target} is not a function", code="bad-net", hint=_HINT)
    try:
        net = function(**_accepted(function, given))
    except Exception as error:
        raise UsageError(f"{target} raised {type(error).__name__}: {error}", code="net-failed", hint=_HINT) from error
    if not isinstance(net, nn.Module):
        raise UsageError(f"{target} returned {type(net).__name__}, not a torch.nn.Module", code="bad-net", hint=_HINT)
    return Own(net, _last_linear(net, target, channels=channels, size=size, classes=classes))


_HINT = "write: def net(*, channels, size, classes): return a torch.nn.Module from (B, channels, *size) to (B, classes)"


def _accepted(function: object, given: dict[str, object]) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return given
    return {p.name: given[p.name] for p in parameters if p.name in given}


@torch.no_grad()
def _last_linear(net: nn.Module, target: str, *, channels: int, size: tuple[int, int], classes: int) -> str | None:
    """Run two random pictures through; return the name of the linear layer whose output is the logits, if there is one."""
    images = torch.rand(2, channels, *size, generator=torch.Generator().manual_seed(0))
    outputs: dict[str, object] = {}
    hooks = [
        module.register_forward_hook(lambda _, __, out, name=name: outputs.update({name: out}))
        for name, module in net.named_modules()
        if name and isinstance(module, nn.Linear)
    ]
    try:
        with evaluating(net):
            logits = net(images)
    except Exception as error:
        raise UsageError(
            f"the net of {target} cannot take pictures of {channels}x{size[0]}x{size[1]}: {error}",
            code="net-failed",
            hint=_HINT,
        ) from error
    finally:
        for hook in hooks:
            hook.remove()
    if not isinstance(logits, Tensor) or logits.shape != (2, classes):
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"the net of {target} gave {shape} for 2 pictures, not (2, {classes})", code="bad-net", hint=_HINT)
    return next((name for name, out in outputs.items() if out is logits), None)
