"""The layers of a Keras model for `look`: their names and sizes, and a convolution or Dense layer as one of torch."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from beholder.nets.keras import FromKeras

Plain = TypeVar("Plain", nn.Linear, nn.Conv2d)

FIRST = ("Conv1D", "Conv2D", "Conv3D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense", "EinsumDense")
"""Classes of which the first layer that runs is the first layer of the page."""


def is_layer(module: nn.Module) -> bool:
    """Return whether a module is a layer of Keras; keras is not imported for that."""
    library = sys.modules.get("keras")
    return library is not None and isinstance(module, library.layers.Layer)


def is_first(layer: nn.Module) -> bool:
    """Return whether a layer of Keras is a convolution or a dense layer of any kind."""
    library = sys.modules["keras"].layers
    return isinstance(layer, tuple(getattr(library, name) for name in FIRST))


def layers(net: FromKeras) -> Iterator[tuple[str, nn.Module]]:
    """Yield the layers of a net's model by name, those inside of a model or layer as OUTER.NAME, and last the head."""
    for layer in net.held.body.layers:
        yield from _named(layer, "")
    if net.head is not None:
        yield net.held.dense.name, net.head


def _named(layer: Any, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    if not hasattr(layer, "layers"):  # no model
        yield f"{prefix}{layer.name}", layer
    for child in inside(layer):
        yield from _named(child, f"{prefix}{layer.name}.")


def inside(layer: Any) -> list[Any]:
    """Return the layers that a model or a layer of Keras consists of."""
    return list(layer.layers) if hasattr(layer, "layers") else [child for child in layer.children() if is_layer(child)]


def learnt(layer: Any) -> int:
    """Return how many numbers a layer learns; the running statistics of norms are none."""
    return sum(math.prod(variable.shape) for variable in layer.trainable_variables)


def about(layer: Any) -> str:
    """Return the sizes of a layer in words, "" where there is nothing to say."""
    said = []
    kind = type(layer).__name__
    if kind == "Conv2D":
        said += [f"{layer.filters} channels, {_by(layer.kernel_size)}", f"padding {layer.padding}"]
        said += [f"stride {_by(layer.strides)}"] * (set(layer.strides) != {1})
        said += [f"dilation {_by(layer.dilation_rate)}"] * (set(layer.dilation_rate) != {1})
        said += [f"{layer.groups} groups"] * (layer.groups > 1)
    elif kind == "Dense":
        said.append(f"{layer.units} units")
    elif kind in ("MaxPooling2D", "AveragePooling2D"):
        said.append(f"{_by(layer.pool_size)}, stride {_by(layer.strides)}")
    if (name := activation(layer)) != "linear":
        said.append(f"then {name}" if said else name)
    return ", ".join(said)


def activation(layer: Any) -> str:
    """Return the name of the activation that a layer applies to what it computes, "linear" where it has none."""
    found = getattr(layer, "activation", None)
    return "linear" if found is None else str(getattr(found, "__name__", type(found).__name__))


def _by(sides: Any) -> str:
    return "×".join(str(side) for side in sides)


@torch.no_grad()
def plain(layer: Any, given: Tensor, gave: Tensor) -> tuple[nn.Module, Tensor, Tensor]:
    """Return a layer as one of torch, with what it was given and gives before its activation, channels first.

    The layer comes back as it is where it is neither a Conv2D nor a Dense layer, or computes something else. To be called
    while the model runs, for its weights are only lent to it.
    """
    kind = type(layer).__name__
    if kind not in ("Conv2D", "Dense"):
        return layer, given, gave
    to_tensor = sys.modules["keras"].ops.convert_to_tensor
    kernel, bias = to_tensor(layer.kernel), to_tensor(layer.bias) if layer.use_bias else None
    last = kind == "Dense" or layer.data_format == "channels_last"
    before = given @ kernel if kind == "Dense" else layer.convolution_op(given, kernel)
    if bias is not None:
        before = before + (bias if last else bias[:, None, None])
    after = before if layer.activation is None else layer.activation(before)
    if after.shape != gave.shape or not torch.allclose(after, gave, rtol=1e-4, atol=1e-5):
        return layer, given, gave
    twin = _dense(kernel, bias) if kind == "Dense" else _convolution(layer, kernel, bias)
    given, before = (x.permute(0, 3, 1, 2) if kind == "Conv2D" and last else x for x in (given, before))
    return twin, given.clone(), before.clone()


@torch.inference_mode(False)
def _dense(kernel: Tensor, bias: Tensor | None) -> nn.Linear:
    inputs, units = kernel.shape
    return _filled(nn.Linear(inputs, units, bias=bias is not None), kernel.T, bias)


@torch.inference_mode(False)
def _convolution(layer: Any, kernel: Tensor, bias: Tensor | None) -> nn.Conv2d:
    """Return a convolution without padding of its own: which one Keras means by "same" depends on the side of the input."""
    tall, wide, each, count = kernel.shape
    how: dict[str, Any] = {"stride": tuple(layer.strides), "dilation": tuple(layer.dilation_rate), "groups": int(layer.groups)}
    twin = nn.Conv2d(each * layer.groups, count, (tall, wide), bias=bias is not None, **how)
    return _filled(twin, kernel.permute(3, 2, 0, 1), bias)


def _filled(twin: Plain, weight: Tensor, bias: Tensor | None) -> Plain:
    with torch.no_grad():
        twin.weight.copy_(weight)
        if bias is not None and twin.bias is not None:
            twin.bias.copy_(bias)
    return twin
