"""Nets of the user's own: `module:function`, `keras:module:function`, or a function or a module lent by the caller.

A function is called with what it accepts of (channels, size, classes, width, dropout).
"""

from __future__ import annotations

import copy
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, cast

import torch
from torch import Tensor, nn

from beholder.base import registry
from beholder.base.errors import BeholderError, UsageError
from beholder.machine.keras import keras
from beholder.machine.placement import evaluating
from beholder.nets.features import Net
from beholder.nets.keras import HINT as _KERAS_HINT
from beholder.nets.keras import probabilities, wrapped

KERAS, GIVEN = "keras:", "given:"
"""What names of Keras's models begin with, and those of nets that the caller lends and no module is known to make."""

_LENT: ContextVar[tuple[str, object]] = ContextVar("lent", default=("", None))


class Own(Net):
    """A net of the user's with its last linear layer found, if that is what gives the logits."""

    scheme = "default"

    def __init__(self, net: nn.Module, last: str | None, *, probable: bool = False) -> None:
        super().__init__()
        self.net = net
        self._last = last
        self.notes = (_SOFTMAX,) if probable else ()

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


@contextmanager
def lent(net: object, name: str) -> Iterator[None]:
    """Let the net of this name be made by `net` within: a function as above, or an nn.Module, of which copies are taken."""
    token = _LENT.set((name, net))
    try:
        yield
    finally:
        _LENT.reset(token)


def is_lent(name: str) -> bool:
    """Return whether the caller lends the net of this name."""
    return _LENT.get()[0] == name


def lent_name(net: object) -> str:
    """Return how a function or a module that a caller lends is called: module:function if it can be imported, else given:NAME.

    Raises `UsageError` (bad-net) for what is neither.
    """
    if not isinstance(net, nn.Module) and not callable(net):
        hint = "give a name of `beholder nets` or of timm, module:function, an nn.Module, or a function that returns one"
        raise UsageError(f"a net is not given as {type(net).__name__}", code="bad-net", hint=hint)
    if not isinstance(net, nn.Module) and (found := registry.name_of(net)):
        return found
    plain = re.sub(r"\W+", "_", getattr(net, "__qualname__", "") or type(net).__name__).strip("_")
    return f"{GIVEN}{plain or 'net'}"


def custom_net(
    *, channels: int, size: tuple[int, int], classes: int, width: float = 1.0, dropout: float = 0.0, target: str, **args: object
) -> Net:
    """Return the net that the function at `target` builds, or the one that is lent.

    Raises `UsageError`: import-failed, needs-extra, keras-backend, bad-net (no nn.Module, logits of a wrong shape), net-failed
    (it raised).
    """
    function = found(target)
    shape: dict[str, Any] = {"channels": channels, "size": size, "classes": classes}
    if isinstance(function, nn.Module):
        net = _copied(function, target)
    elif callable(function):
        net = _called(function, {**shape, "width": width, "dropout": dropout, **args}, target)
    else:
        raise UsageError(f"{target} is not a function", code="bad-net", hint=_HINT)
    if is_keras(net):
        return wrapped(net, f"the model of {target}", **shape)
    if not isinstance(net, nn.Module) or target.startswith(KERAS):
        wanted = "keras.Model" if target.startswith(KERAS) else "torch.nn.Module"
        raise UsageError(f"{target} returned {type(net).__name__}, not a {wanted}", code="bad-net", hint=_hint(target))
    return _own(net, target, **shape)


_SOFTMAX = (
    "what the net gives are probabilities: leave the softmax at its end out, for the loss takes logits and learns slowly else"
)

_HINT = "write: def net(*, channels, size, classes): return a torch.nn.Module from (B, channels, *size) to (B, classes)"


def _hint(target: str) -> str:
    return _KERAS_HINT if target.startswith(KERAS) else _HINT


def is_keras(net: object) -> bool:
    """Return whether something is a model of Keras; keras is not imported for that."""
    model = getattr(sys.modules.get("keras"), "Model", None)  # another module may be called so
    return isinstance(model, type) and isinstance(net, model)


def found(target: str) -> object:
    """Return what makes the net at `target`, imported or lent. Raises `UsageError`, as `custom_net`."""
    if is_lent(target):
        return _LENT.get()[1]
    if not target.startswith(KERAS):
        return registry.attribute(target)
    keras()  # before the user's module, which imports it too
    target = target.removeprefix(KERAS)
    if ":" not in target:
        hint = "write it as keras:module:function, with the module on the Python path (PYTHONPATH=.)"
        raise UsageError(f"'{KERAS}{target}' names no function", code="bad-net", hint=hint)
    return registry.attribute(target)


def _copied(net: nn.Module, target: str) -> object:
    """Return a copy of a module that is lent, with its weights."""
    try:
        if not is_keras(net):
            return copy.deepcopy(net)
        twin: Any = keras().models.clone_model(net)
        for ours, theirs in zip(twin.variables, cast(Any, net).variables, strict=True):
            ours.assign(theirs.value)
    except Exception as error:
        hint = "give a function that makes it: def net(*, channels, size, classes)"
        raise UsageError(f"{target} cannot be copied: {error}", code="bad-net", hint=hint) from error
    return twin


def _called(function: Callable[..., object], given: dict[str, object], target: str) -> object:
    try:
        return function(**_accepted(function, given))
    except BeholderError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(f"{target} raised {type(error).__name__}: {error}", code="net-failed", hint=_hint(target)) from error


def _accepted(function: object, given: dict[str, object]) -> dict[str, object]:
    parameters = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return given
    return {p.name: given[p.name] for p in parameters if p.name in given}


@torch.no_grad()
def _own(net: nn.Module, target: str, *, channels: int, size: tuple[int, int], classes: int) -> Own:
    """Run two random pictures through; find the linear layer whose output is the logits, if there is one."""
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
    except (Exception, SystemExit) as error:
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
    return Own(net, next((name for name, out in outputs.items() if out is logits), None), probable=probabilities(logits))
