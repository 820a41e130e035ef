"""Nets of Keras 3 on torch: `keras:module:function`, whose function returns a keras.Model.

Keras does the forward pass, torch the rest: the weights are parameters of a `Net` and are lent to the model at each call
(`keras.StatelessScope`), so that moving, averaging, saving and resuming are as for any other net.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from beholder.base.errors import UsageError
from beholder.machine.keras import keras
from beholder.nets.features import Net

HINT = "write: def net(*, channels, size, classes): return a keras.Model from (*size, channels) to classes logits or a softmax"

ENDS = ("softmax", "sigmoid", "log_softmax")
"""Activations that are taken off the end of a model: losses here are of logits."""


@dataclass(frozen=True, eq=False)
class Held:
    """What copies of a net share: the model as the user's function made it, and what of it is called.

    body: gives what the head is given, or the logits; dense: the layer whose place `FromKeras.head` takes, None where none does
    last: whether the channels are the last axis
    """

    model: Any
    body: Any
    dense: Any
    last: bool

    def __deepcopy__(self, _: object) -> Held:
        return self


class FromKeras(Net):
    """A model of Keras: its variables are parameters, those that are not trained buffers.

    Kernels of convolutions are kept as torch has them, (out, in, h, w), for optimisers that look at their rows.
    """

    scheme = "default"

    def __init__(self, held: Held, notes: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.held, self.notes = held, notes
        self.output_fmt = "NHWC" if held.last else "NCHW"
        self.names: list[str] = []
        trained = {id(variable) for variable in held.body.trainable_variables}
        for number, variable in enumerate(held.body.variables):
            self.names.append(f"v{number:03d}_" + re.sub(r"\W", "_", variable.name))
            value = _stored(variable.value.detach().to("cpu")).clone()
            if id(variable) in trained:
                self.register_parameter(self.names[-1], nn.Parameter(value))
            else:
                self.register_buffer(self.names[-1], value)
        self._last = None if held.dense is None else _linear(held.dense)

    @property
    def head(self) -> nn.Linear | None:  # type: ignore[override]
        """The last Dense layer, where it gives the logits."""
        return self._last

    def modules(self) -> Iterator[nn.Module]:  # type: ignore[override]
        """Yield the layers of Keras too, so that they can be watched."""
        yield from super().modules()
        yield from _layers(self.held.body)

    def body(self, images: Tensor) -> Tensor:
        """Return what the last Dense layer is given, (B, F), or the logits (B, K) where there is none."""
        given = images.permute(0, 2, 3, 1) if self.held.last else images
        pairs = [(v, getattr(self, name)) for v, name in zip(self.held.body.variables, self.names, strict=True)]
        library = keras()
        mapping = [(variable, _lent(value)) for variable, value in pairs]
        with library.device(str(images.device)), library.StatelessScope(state_mapping=mapping) as scope:
            found = self.held.body(given, training=self.training)
            if self.training:
                self._update([(value, scope.get_current_value(variable)) for variable, value in pairs])
        return cast(Tensor, found)

    @torch.no_grad()
    def _update(self, pairs: list[tuple[Tensor, Tensor]]) -> None:
        """Write what layers change by themselves, such as the running statistics of batch norms."""
        for held, value in pairs:
            if not isinstance(held, nn.Parameter) and value is not held:
                held.copy_(_stored(value))

    @property
    def model(self) -> Any:
        """The keras.Model of the user's function with these weights, for `model.save`: it gives logits."""
        for variable, name in zip(self.held.body.variables, self.names, strict=True):
            variable.assign(_lent(getattr(self, name).detach()))
        if self._last is not None:
            values = [self._last.weight.detach().T, *([] if self._last.bias is None else [self._last.bias.detach()])]
            for variable, value in zip(self.held.dense.variables, values, strict=True):
                variable.assign(value)
        return self.held.model


def wrapped(model: Any, what: str, *, channels: int, size: tuple[int, int], classes: int) -> FromKeras:
    """Return a keras.Model as a net; what: what to call it in errors.

    A softmax or sigmoid at its end is taken off. Raises `UsageError`: bad-net (other input, other or several outputs,
    probabilities that do not come from a last layer), net-failed (it raised).
    """
    library = keras()
    last = _channels_last(library, model, what, channels=channels, size=size)
    shape = (2, *size, channels) if last else (2, channels, *size)
    images = torch.rand(*shape, generator=torch.Generator().manual_seed(0))
    with library.device("cpu"):
        model, taken = _logits(library, model, images, what)
        found, ends = _watched(model, images, what)
        _check(found, classes, what)
        body, dense = _parted(library, model, ends)
        notes = _notes(model, taken)
        return FromKeras(Held(model, body, dense, last), notes)


def _check(found: object, classes: int, what: str) -> None:
    if not isinstance(found, Tensor) or found.shape != (2, classes):
        shape = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        two = ": two classes are two outputs, Dense(classes)" if shape == (2, 1) and classes == 2 else ""
        raise UsageError(f"{what} gave {shape} for 2 pictures, not (2, {classes}){two}", code="bad-net", hint=HINT)
    if probabilities(found):
        hint = "leave the softmax out, or make it the activation of the last layer, where it is taken off"
        raise UsageError(f"{what} gives probabilities that no last layer makes of logits", code="bad-net", hint=hint)


def probabilities(outputs: Tensor) -> bool:
    """Return whether outputs (B, K) look like those of a softmax: none below 0, and each row sums to 1."""
    ones = (outputs.sum(1) - 1).abs() < 1e-4
    return outputs.shape[1] > 1 and bool((outputs >= 0).all()) and bool(ones.all())


def _logits(library: Any, model: Any, images: Tensor, what: str) -> tuple[Any, str]:
    """Return the model without the activation at its end that makes probabilities of logits, and its name ("": none)."""
    _, ends = _watched(model, images, what)
    layers = library.layers
    for layer in ends:
        name = "softmax" if isinstance(layer, layers.Softmax) else getattr(getattr(layer, "activation", None), "__name__", "")
        if name in ENDS and isinstance(layer, (layers.Softmax, layers.Activation)) and _is_last(model, layer):
            return library.Model(model.inputs, layer.input), name
        if name in ENDS and hasattr(layer, "activation"):
            layer.activation = library.activations.linear
            return model, name
    return model, ""


def _parted(library: Any, model: Any, ends: list[Any]) -> tuple[Any, Any]:
    """Return (body, last Dense layer) of a functional or sequential model that ends in one, else (model, None)."""
    for layer in ends:
        plain = isinstance(layer, library.layers.Dense) and _name(layer) == "linear" and _is_last(model, layer)
        if plain and layer.trainable and len(layer.input.shape) == 2 and len(layer.variables) == 1 + bool(layer.use_bias):
            return library.Model(model.inputs, layer.input), layer
    return model, None


def _name(layer: Any) -> str:
    return getattr(layer.activation, "__name__", "linear")


def _is_last(model: Any, layer: Any) -> bool:
    """Return whether a model that is a graph of layers ends in this one."""
    try:
        return layer.output is model.outputs[0] and len(model.inputs) == 1
    except (AttributeError, ValueError, RuntimeError, TypeError, IndexError):  # no graph, or a layer that is used twice
        return False


@torch.no_grad()
def _watched(model: Any, images: Tensor, what: str) -> tuple[Any, list[Any]]:
    """Return what a model gives for pictures, and the layers that give just that, the last first."""
    try:
        model(images, training=False)  # one that was not built yet has its layers now
        outputs: list[tuple[Any, Any]] = []
        hooks = [layer.register_forward_hook(lambda module, _, out: outputs.append((module, out))) for layer in _layers(model)]
        try:
            found = model(images, training=False)
        finally:
            for hook in hooks:
                hook.remove()
    except Exception as error:  # whatever Keras raises of a model that does not fit
        shape = "x".join(map(str, images.shape[1:]))
        said = next(iter(str(error).strip().splitlines()), "")
        raise UsageError(f"{what} cannot take pictures of {shape}: {said}", code="net-failed", hint=HINT) from error
    return found, [layer for layer, out in reversed(outputs) if out is found]


def _layers(model: Any) -> Iterator[Any]:
    """Yield every layer of a model, those of models inside it too, but not the models."""
    for layer in model.layers:
        if hasattr(layer, "layers"):
            yield from _layers(layer)
        else:
            yield layer


def _channels_last(library: Any, model: Any, what: str, *, channels: int, size: tuple[int, int]) -> bool:
    """Return whether a model takes (H, W, C), by the shape of its input, or where it has none yet by what its layers say."""
    usual = library.config.image_data_format()
    shape = getattr(model, "input_shape", None) if getattr(model, "built", False) else None
    if shape is None:
        said = next((layer.data_format for layer in _layers(model) if hasattr(layer, "data_format")), usual)
        return bool(said == "channels_last")
    fits = {
        name: isinstance(shape, tuple)
        and len(shape) == 4
        and all(a in (None, b) for a, b in zip(shape[1:], wanted, strict=True))
        for name, wanted in (("channels_last", (*size, channels)), ("channels_first", (channels, *size)))
    }
    if not any(fits.values()):
        text = f"{what} takes {shape}, and pictures are (None, {size[0]}, {size[1]}, {channels})"
        raise UsageError(text, code="bad-net", hint=HINT)
    return fits["channels_last"] if not all(fits.values()) else usual == "channels_last"


def _notes(model: Any, taken: str) -> tuple[str, ...]:
    notes = [f"the {taken} at its end was taken off: it is trained on its logits"] if taken else []
    if model.losses:
        notes.append("losses that its layers add, such as regularisers, are left out: weight_decay is the recipe's")
    return tuple(notes)


def _stored(value: Tensor) -> Tensor:
    return value.permute(3, 2, 0, 1).contiguous() if value.ndim == 4 else value


def _lent(value: Tensor) -> Tensor:
    return value.permute(2, 3, 1, 0) if value.ndim == 4 else value


def _linear(dense: Any) -> nn.Linear:
    kernel = dense.kernel.value.detach().to("cpu", torch.float32)
    inputs, outputs = kernel.shape
    linear = nn.Linear(inputs, outputs, bias=bool(dense.use_bias))
    with torch.no_grad():
        linear.weight.copy_(kernel.T)
        if dense.use_bias:
            linear.bias.copy_(dense.bias.value.detach().to("cpu"))
    return linear
