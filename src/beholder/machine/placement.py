"""A context that moves a net and restores its device, mode and `requires_grad` however it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from beholder.base.errors import MachineError


@contextmanager
def lent(net: nn.Module, *, on: torch.device | None = None, buffers: bool = False) -> Iterator[nn.Module]:
    """Yield `net` itself, on the device `on` (None: where it is).

    After the block, however it ends, the device of each tensor, the mode of each module and `requires_grad` of each parameter
    are as before, and with `buffers` their values too. Of a net that was moved the tensors that it had are put back, so that
    neither a full device nor Ctrl-C leaves it in two places; what the block writes to those on the other device is lost.
    Raises `MachineError` (out-of-memory) where the device has too little memory for it.
    """
    with ExitStack() as stack:
        stack.callback(_modes(net))
        if buffers:
            stack.callback(_values(net))
        if on is not None and any(tensor.device != on for tensor in (*net.parameters(), *net.buffers())):
            stack.callback(_tensors(net))
            _move(net, on)
        yield net


def moved(net: nn.Module, on: torch.device) -> nn.Module:
    """Move `net` for good and return it; where that fails it is where it was. Raises `MachineError` (out-of-memory)."""
    with ExitStack() as stack:
        stack.callback(_tensors(net))
        _move(net, on)
        stack.pop_all()
    return net


@contextmanager
def evaluating(net: nn.Module, *, on: torch.device | None = None) -> Iterator[nn.Module]:
    """Yield `net` in evaluation mode, else as `lent` does: to be run, not trained."""
    with lent(net, on=on):
        yield net.eval() if any(module.training for module in net.modules()) else net


def _modes(net: nn.Module) -> Callable[[], None]:
    """Return what puts back the mode of each module, and which parameters take gradients."""
    modes = [(module, module.training) for module in net.modules()]
    learning = [(parameter, parameter.requires_grad) for parameter in net.parameters()]

    def restore() -> None:
        for module, training in modes:
            if module.training is not training:
                module.training = training
        for parameter, wanted in learning:
            if parameter.requires_grad is not wanted:
                parameter.requires_grad = wanted

    return restore


def _values(net: nn.Module) -> Callable[[], None]:
    """Return what puts back the values of the buffers, such as the running statistics of batch norms."""
    values = [(buffer, buffer.clone()) for buffer in net.buffers()]

    def restore() -> None:
        with torch.no_grad():
            for buffer, value in values:
                buffer.copy_(value)

    return restore


def _tensors(net: nn.Module) -> Callable[[], None]:
    """Return what puts back the very tensors that a net and its gradients consist of."""
    tensors = [
        (module, name, tensor, tensor.data, tensor.grad)
        for module in net.modules()
        for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False))
    ]
    gradients = [(gradient, gradient.data) for *_, gradient in tensors if gradient is not None]

    def restore() -> None:
        for kept, data in gradients:
            kept.data = data
        for module, name, tensor, data, gradient in tensors:
            tensor.data = data
            tensor.grad = gradient
            setattr(module, name, tensor)

    return restore


def _move(net: nn.Module, on: torch.device) -> None:
    try:
        with torch.inference_mode(False):  # autograd refuses tensors that were made in inference mode
            net.to(on)
    except torch.OutOfMemoryError as error:
        size = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers()))
        hint = "end what else uses it, or hide it from this process with CUDA_VISIBLE_DEVICES="
        message = f"{on} has too little memory for a net of {size / 1e6:.0f} MB"
        raise MachineError(message, code="out-of-memory", hint=hint) from error
