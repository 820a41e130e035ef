"""What every layer of a net makes of one picture, in the order in which they ran, and what its first layer was given."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base.arrays import F32
from beholder.explanation.look import keras
from beholder.nets.custom import Own
from beholder.nets.keras import FromKeras

CHANNELS = 8
"""Maps that are shown of a layer: those that vary most over the picture."""

SIDE = 64
"""Largest side of a map that is kept; larger ones are averaged."""

ROW = 4096
"""Values of a layer without maps that are shown."""

FLAT, GROUP = 40, 16
"""A net of more than FLAT layers is shown in groups of at most GROUP."""

LAYERS = 1500
"""Rows that are kept: what calls itself over and over ends there."""


@dataclass(frozen=True)
class Layer:
    """One layer's answer to the picture.

    kind: the class of the module, or what the net's code did between two; about: its sizes; group: "" or a part of the net
    shape: of what it gives, without the batch; form: maps | row | sheet | none
    maps: float32 (n, h, w), the shown ones; channels: which; total: of how many; low, high: over all values
    """

    name: str
    kind: str
    about: str
    group: str
    shape: tuple[int, ...]
    parameters: int
    form: str
    maps: F32
    channels: tuple[int, ...]
    total: int
    low: float
    high: float


@dataclass(frozen=True)
class First:
    """The first convolution or dense layer that ran: what it was given and gave, both with the batch of one.

    A layer of Keras stands here as one of torch, channels first; note: what is not shown of it, in a sentence
    """

    name: str
    module: nn.Module
    given: Tensor
    gave: Tensor
    note: str = ""


@dataclass(frozen=True)
class Trace:
    """The layers in their order; first: None where a net has neither a convolution nor a dense layer."""

    layers: tuple[Layer, ...]
    first: First | None


@torch.inference_mode()
def traced(net: nn.Module, x: Tensor) -> Trace:
    """Return what the layers of a net in evaluation mode make of one normalised picture float32 (1, C, H, W)."""
    root: Any = net.net if isinstance(net, Own) else net
    seen = _Recorder(root, x)
    hooks = []
    for name, module in parts(root):
        if whole(module):
            hooks.append(module.register_forward_pre_hook(partial(seen.before, name)))
        hooks.append(module.register_forward_hook(partial(seen.after, name)))
    try:
        net(x)
    finally:
        for hook in hooks:
            hook.remove()
    return Trace(tuple(seen.layers), seen.first)


def whole(module: nn.Module) -> bool:
    """Return whether a module is shown as one layer: it has none inside, or is a norm with an activation inside."""
    if keras.is_layer(module):
        return not keras.inside(module)
    return isinstance(module, NORMS) or not any(True for _ in module.children())


NORMS = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)


def parts(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield all modules inside one by name, but those inside of what is shown as one layer."""
    if isinstance(module, FromKeras):
        yield from keras.layers(module)
        return
    for name, child in module.named_children():
        yield f"{prefix}{name}", child
        if not whole(child):
            yield from parts(child, f"{prefix}{name}.")


MIXING = ("Conv", "Linear", "Subsampled", "Dense", "Separable")
"""How the names of layers begin that make each map of all maps before."""


def first(name: str, module: nn.Module, args: tuple[Any, ...], out: Tensor) -> First | None:
    """Return what a layer that ran computed, where it is a convolution or a dense layer."""
    if keras.is_layer(module):
        if not keras.is_first(module) or not args:
            return None
        said = keras.activation(module)
        note = "" if said == "linear" else f"The layer of Keras applies its activation, {said}, to these values."
        return First(name, *keras.plain(module, args[0], out), note)
    return First(name, module, args[0].clone(), out.clone()) if isinstance(module, (nn.Conv2d, nn.Linear)) else None


class _Recorder:
    """Keeps a row for every tensor that a layer gave, and for those that code between layers made of them."""

    def __init__(self, root: nn.Module, x: Tensor) -> None:
        self.layers: list[Layer] = []
        self.first: First | None = None
        self._groups = groups(root)
        self._held: dict[int, Tensor] = {id(x): x}
        self._last = x
        self._channels_last = isinstance(root, FromKeras) and root.held.last
        self._grid = (int(x.shape[2]), int(x.shape[3]))

    def before(self, name: str, _: nn.Module, args: tuple[Any, ...]) -> None:
        """Record what code of the net made between two layers."""
        given = args[0] if args else None
        if isinstance(given, Tensor) and given.ndim == 4 and self._channels_last and given.data_ptr() == self._last.data_ptr():
            self._held[id(given)] = given  # the pixels, with their channels last
        if isinstance(given, Tensor) and given.ndim in (2, 4) and id(given) not in self._held:
            what = recognised(self._last, given)
            self._row(f"before {name}", what or "function", "" if what else BETWEEN, given, 0, group=name)

    def after(self, name: str, module: nn.Module, args: tuple[Any, ...], out: Any) -> None:
        """Record what a layer gave."""
        if not isinstance(out, Tensor) or isinstance(module, nn.Identity):
            return
        if self.first is None:
            self.first = first(name, module, args, out)
        if whole(module):
            own = keras.is_layer(module)
            count = keras.learnt(module) if own else sum(parameter.numel() for parameter in module.parameters())
            self._row(name, type(module).__name__, about(module), out, count)
        elif id(out) not in self._held:
            self._row(name, type(module).__name__, "the block's output, after what its code does with its layers", out, 0)

    def _row(self, name: str, kind: str, words: str, out: Tensor, count: int, *, group: str = "") -> None:
        still = kind in ("Dropout", "DropPath", "Dropout2d", "SpatialDropout2D")
        if len(self.layers) < LAYERS and len(out) == 1 and out.is_floating_point():
            form, values = self._values(out, kind)
            keep = self.layers[-1].channels if self.layers and self._follows(kind, len(values)) else ()
            maps, channels = shown(values, form, keep) if not still else (np.zeros((0, 1, 1), np.float32), ())
            low, high = (float(edge) for edge in torch.aminmax(out.float()))
            where = self._groups.get(group or name, "")
            size = tuple(int(side) for side in out.shape[1:])
            form = form if len(channels) else "none"
            total = len(values)
            self.layers.append(Layer(name, kind, words, where, size, count, form, maps, channels, total, low, high))
        self._held[id(out)] = out
        self._last = out

    def _follows(self, kind: str, total: int) -> bool:
        """Return whether map k of a layer is made of map k of the layer before, so that the same ones are shown."""
        before = self.layers[-1]
        return before.form == "maps" and before.total == total and not kind.startswith(MIXING)

    def _values(self, out: Tensor, kind: str) -> tuple[str, Tensor]:
        """Return the form of a layer's values, and them as float32 (n, h, w)."""
        values = out[0].float()
        if values.ndim == 3:
            last = self._channels_last or kind == "Linear" or (values.shape[0] == values.shape[1] != values.shape[2])
            maps = values.permute(2, 0, 1) if last else values
            if maps.shape[1] * maps.shape[2] == 1:
                return "row", maps.reshape(1, 1, -1)
            self._grid = (int(maps.shape[1]), int(maps.shape[2]))
            return "maps", maps
        if values.ndim == 2:
            spare = values.shape[0] - math.prod(self._grid)
            if 0 <= spare <= 8:
                return "maps", values[spare:].T.reshape(-1, *self._grid)
            return "sheet", values[None]
        return "row", values.reshape(1, 1, -1)


BETWEEN = "what the net's code does between two layers: an activation, a sum, a change of shape"

FUNCTIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "ReLU": F.relu,
    "GELU": F.gelu,
    "SiLU": F.silu,
    "largest value of each map": lambda x: x.amax(dim=(2, 3)),
    "mean of each map": lambda x: x.mean(dim=(2, 3)),
    "flatten": lambda x: x.flatten(1),
}
"""What is told apart of that, by its numbers."""


def recognised(before: Tensor, after: Tensor) -> str:
    """Return which of `FUNCTIONS` made `after` of `before`; "" for none of them."""
    for name, function in FUNCTIONS.items():
        flat = name in ("largest value of each map", "mean of each map", "flatten")
        if flat and (before.ndim != 4 or after.ndim != 2):
            continue
        made = function(before)
        if made.shape == after.shape and torch.equal(made, after):
            return name
    return ""


def shown(values: Tensor, form: str, keep: tuple[int, ...] = ()) -> tuple[F32, tuple[int, ...]]:
    """Return what is shown of values float32 (n, h, w): maps float32 (m, h', w') and which they are, in their order.

    Of maps those to `keep`, else those that vary most, averaged down to `SIDE`; of a row at most `ROW` values, in lines of 64.
    """
    if form == "row":
        row = values.reshape(-1)
        if row.numel() > ROW:
            return np.zeros((0, 1, 1), np.float32), ()
        columns = min(64, row.numel())
        padded = F.pad(row, (0, -row.numel() % columns))
        return padded.reshape(1, -1, columns).numpy().copy(), (0,)
    spread = values.flatten(1).std(dim=1, correction=0)
    best = list(keep) or sorted(torch.topk(spread, min(CHANNELS, len(values))).indices.tolist())
    chosen = values[best]
    scale = SIDE / max(chosen.shape[1:])
    if scale < 1:
        height, width = (max(1, round(side * scale)) for side in chosen.shape[1:])
        chosen = F.adaptive_avg_pool2d(chosen, (height, width))
    return chosen.numpy().copy(), tuple(best)


def groups(root: nn.Module) -> dict[str, str]:
    """Return module name → the part of the net that it is shown in; none for a net of few layers, or a part of one layer."""
    leaves = [name for name, module in parts(root) if whole(module)]
    if len(leaves) <= FLAT:
        return {}
    inside: Counter[str] = Counter()
    for name in leaves:
        inside.update(_prefixes(name))
    found = {}
    for name, _ in parts(root):
        group = next((prefix for prefix in _prefixes(name) if inside[prefix] <= GROUP), "")
        if group and inside[group] > 1:
            found[name] = group
    return found


def _prefixes(name: str) -> list[str]:
    """Return a, a.b and a.b.c of a.b.c."""
    levels = name.split(".")
    return [".".join(levels[: k + 1]) for k in range(len(levels))]


def about(module: nn.Module) -> str:
    """Return the sizes of a layer in words, "" where there is nothing to say."""
    if keras.is_layer(module):
        return keras.about(module)
    if isinstance(module, NORMS):
        inside = [type(child).__name__ for child in module.modules() if child is not module and whole(child)]
        return " ".join(f"then {name}" for name in inside if name not in ("Identity", "Dropout", "DropPath"))
    if isinstance(module, nn.Conv2d):
        said = [f"{module.in_channels} → {module.out_channels} channels, {_by(module.kernel_size)}"]
        said += [f"stride {_by(module.stride)}"] * (set(module.stride) != {1})
        said += [f"padding {_by(module.padding)}"] * (module.padding not in (0, (0, 0)))
        said += [f"dilation {_by(module.dilation)}"] * (set(module.dilation) != {1})
        said += [f"{module.groups} groups"] * (module.groups > 1)
        return ", ".join(said)
    if isinstance(module, nn.Linear):
        return f"{module.in_features} → {module.out_features}"
    if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
        return f"{_by(module.kernel_size)}, stride {_by(module.stride)}"
    return ""


def _by(sides: Any) -> str:
    """Return 3×3 of 3 or (3, 3), and 2 of a stride (2, 2) as 2×2."""
    if isinstance(sides, str):
        return sides
    both = (sides, sides) if isinstance(sides, int) else tuple(sides)
    return "×".join(str(side) for side in both)
