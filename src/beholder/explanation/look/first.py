"""The first layer in numbers: what the browser needs to work out any value of it, patch × kernel + bias."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base.arrays import F32, F64
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.trace import First

CLOSE = 1e-4
"""By how much, of the largest value, sums in float32 may differ from those of the layer."""

INPUT = 520_000
"""Bytes that the input of the first layer may take; of a larger one the middle is shown."""

WHOLE = 850_000
"""Bytes that pixels, input and weights may take together; of more weights, those of channels that vary most are shown."""


@dataclass(frozen=True)
class Convolution:
    """A convolution as its numbers say it: out[o, y, x] = bias[o] + Σ weight[o] · the patch of input below (y, x).

    given: float32 (C, H, W); weight: float32 (O, C / groups, kh, kw); bias: float32 (O,); gave: float32 (O, H', W')
    pads: top, bottom, left, right, filled with zeros; note: where these are not the layer's own fields, why
    """

    given: F32
    weight: F32
    bias: F32
    gave: F32
    stride: tuple[int, int]
    pads: tuple[int, int, int, int]
    dilation: tuple[int, int]
    groups: int
    note: str = ""

    @cached_property
    def error(self) -> float:
        """Return by how much the sums differ at most from what the layer gave, of its largest value."""
        made = computed(self)
        if made.shape != self.gave.shape:
            return float("inf")
        return float(np.abs(made - self.gave).max() / max(float(np.abs(self.gave).max()), 1e-12))


def computed(conv: Convolution) -> F64:
    """Return all values of a convolution from its numbers, float64 (O, H', W'); (0, 0, 0) where no patch fits."""
    top, bottom, left, right = conv.pads
    x = F.pad(torch.from_numpy(conv.given).double()[None], (left, right, top, bottom))
    reach = [d * (k - 1) + 1 for d, k in zip(conv.dilation, conv.weight.shape[2:], strict=True)]
    if x.shape[2] < reach[0] or x.shape[3] < reach[1]:
        return np.zeros((0, 0, 0))
    weight, bias = torch.from_numpy(conv.weight).double(), torch.from_numpy(conv.bias).double()
    made: F64 = F.conv2d(x, weight, bias, conv.stride, 0, conv.dilation, conv.groups)[0].numpy()
    return made


def convolution(first: First) -> Convolution | None:
    """Return the numbers of a first convolution; None where it computes something else than a convolution."""
    module = first.module
    assert isinstance(module, nn.Conv2d)
    given, gave = _array(first.given[0]), _array(first.gave[0])
    bias = _array(module.bias) if module.bias is not None else np.zeros(len(gave), np.float32)
    stride, dilation = _two(module.stride), _two(module.dilation)
    plain = Convolution(given, _array(module.weight), bias, gave, stride, (0, 0, 0, 0), dilation, module.groups)
    tried = list(_tried(module, plain))
    for conv in tried:
        if conv.error <= CLOSE:
            return conv
    note = "The layer rescales its stored weights; these are the ones it multiplies by."
    for conv in tried:
        kernel = effective(first, conv)
        if kernel is not None and (fit := replace(conv, weight=kernel, note=note)).error <= CLOSE:
            return fit
    return None


def _tried(module: nn.Conv2d, plain: Convolution) -> Iterator[Convolution]:
    """Yield the paddings that a layer may mean: its own, and that of TensorFlow, which gives ceil(side / stride) values."""
    if module.padding_mode != "zeros":
        sides: list[int] = module._reversed_padding_repeated_twice  # what torch itself pads with
        mode = str(module.padding_mode)
        padded = F.pad(torch.from_numpy(plain.given)[None], sides, mode=mode)[0].numpy()
        yield replace(plain, given=padded, note=f"The input is shown as it was padded ({mode}).")
        return
    if not isinstance(module.padding, str):
        down, across = _two(module.padding)
        yield replace(plain, pads=(down, down, across, across))
    pads: list[int] = []
    for side, kernel, stride, dilation in zip(
        plain.given.shape[1:], plain.weight.shape[2:], plain.stride, plain.dilation, strict=True
    ):
        total = max((-(-side // stride) - 1) * stride + (kernel - 1) * dilation + 1 - side, 0)
        pads += [total // 2, total - total // 2]
    yield replace(plain, pads=(pads[0], pads[1], pads[2], pads[3]))
    yield plain


def effective(first: First, conv: Convolution) -> F32 | None:
    """Return the kernels that a layer multiplies by, float32 (O, C / groups, kh, kw), where they are not its weights.

    They are the slopes of one of its values, far from the padding, by the pixels of its patch; None where no place is.
    """
    count, per, tall, wide = conv.weight.shape
    rows, columns = (_inner(conv, axis) for axis in (0, 1))
    if conv.gave.ndim != 3 or rows is None or columns is None:
        return None
    (y, top), (x, left) = rows, columns
    if not (y < conv.gave.shape[1] and x < conv.gave.shape[2]):
        return None
    kernels = []
    with torch.inference_mode(False), torch.enable_grad():
        given = first.given.clone().requires_grad_(True)
        out = first.module(given)
        for o in range(count):
            [slope] = torch.autograd.grad(out[0, o, y, x], given, retain_graph=True)
            begin = o // (count // conv.groups) * per
            down = slice(top, top + conv.dilation[0] * (tall - 1) + 1, conv.dilation[0])
            across = slice(left, left + conv.dilation[1] * (wide - 1) + 1, conv.dilation[1])
            kernels.append(_array(slope[0, begin : begin + per, down, across]))
    return np.stack(kernels)


def _inner(conv: Convolution, axis: int) -> tuple[int, int] | None:
    """Return the first output position along an axis whose patch has no padding, and where the patch begins."""
    before, side = conv.pads[2 * axis], conv.given.shape[1 + axis]
    at = -(-before // conv.stride[axis])
    start = at * conv.stride[axis] - before
    reach = conv.dilation[axis] * (conv.weight.shape[2 + axis] - 1) + 1
    return (at, start) if start + reach <= side else None


def facts(first: First | None, pixels: Tensor, blob: Blob) -> dict[str, Any] | None:
    """Return what the page works the first layer out from; None where there is no such layer.

    pixels: normalised float32 (1, C, H, W). {"kind": "none", "why"} where it cannot be worked out on a page.
    """
    if first is None:
        return None
    named = {"name": first.name, "layer": type(first.module).__name__}
    if isinstance(first.module, nn.Linear):
        return {**named, **dense(first, pixels, blob)}
    conv = convolution(first) if isinstance(first.module, nn.Conv2d) else None
    if conv is None:
        return {**named, "kind": "none", "why": "This layer computes something else than a plain convolution."}
    return {**named, **_conv(conv, pixels, blob), "note": f"{conv.note} {first.note}".strip()}


def _conv(conv: Convolution, pixels: Tensor, blob: Blob) -> dict[str, Any]:
    same = bool(conv.given.shape == pixels.shape[1:] and np.array_equal(conv.given, _array(pixels[0])))
    room = WHOLE - blob.size
    window = middle(conv.given.shape, 1, INPUT) if same else middle(conv.given.shape, 4, min(INPUT, room // 2))
    top, left, tall, wide = window
    held = conv.given[:, top : top + tall, left : left + wide]
    used = 0 if same else held.nbytes
    span = [*_reached(conv, 0, top, tall), *_reached(conv, 1, left, wide)]
    chosen = _varied(conv, span, max(1, (room - used) // conv.weight[0].nbytes))
    inside = conv.gave[:, span[0] : span[1], span[2] : span[3]]
    start = int(np.argmax([np.ptp(inside[o]) for o in chosen])) if inside.size else 0
    y, x = _striking(inside[chosen[start]]) if inside.size else (0, 0)
    return {
        "kind": "conv",
        "pixels": same,
        "input": None if same else blob.add(held),
        "window": list(window),
        "size": list(conv.given.shape),
        "weight": blob.add(conv.weight[chosen]),
        "bias": blob.add(conv.bias[chosen]),
        "channels": chosen,
        "of": len(conv.weight),
        "out": list(conv.gave.shape[1:]),
        "span": span,
        "stride": list(conv.stride),
        "pads": list(conv.pads),
        "dilation": list(conv.dilation),
        "groups": conv.groups,
        "error": conv.error,
        "start": [start, y + span[0], x + span[2]],
    }


def _striking(values: F32) -> tuple[int, int]:
    """Return the place of a map (h, w) whose value is farthest from most others."""
    y, x = np.unravel_index(int(np.abs(values - np.median(values)).argmax()), values.shape)
    return int(y), int(x)


def middle(shape: tuple[int, ...], each: int, most: int) -> tuple[int, int, int, int]:
    """Return the middle (top, left, height, width) of an input (C, H, W) that takes `most` bytes, with `each` bytes a value."""
    channels, tall, wide = shape
    scale = min(1.0, (most / (channels * tall * wide * each)) ** 0.5)
    height, width = max(1, int(tall * scale)), max(1, int(wide * scale))
    return (tall - height) // 2, (wide - width) // 2, height, width


def _reached(conv: Convolution, axis: int, start: int, length: int) -> tuple[int, int]:
    """Return the range of output positions along an axis whose patches need no pixels but those of a window, or padding."""
    side, count = conv.given.shape[1 + axis], conv.gave.shape[1 + axis]
    reach = conv.dilation[axis] * (conv.weight.shape[2 + axis] - 1) + 1
    ends = np.arange(count) * conv.stride[axis] - conv.pads[2 * axis]
    fits = (np.maximum(ends, 0) >= start) & (np.minimum(ends + reach, side) <= start + length)
    found = np.flatnonzero(fits)
    return (int(found[0]), int(found[-1]) + 1) if len(found) else (0, 0)


def _varied(conv: Convolution, span: list[int], most: int) -> list[int]:
    """Return at most so many channels, in their order: those whose values vary most."""
    if most >= len(conv.weight):
        return list(range(len(conv.weight)))
    spread = conv.gave[:, span[0] : span[1], span[2] : span[3]].std(axis=(1, 2))
    return sorted(np.argsort(-spread, kind="stable")[:most].tolist())


def dense(first: First, pixels: Tensor, blob: Blob) -> dict[str, Any]:
    """Return what the page works a dense first layer out from: inputs (T, F) and the weights of as many units as fit."""
    module = first.module
    assert isinstance(module, nn.Linear)
    given = _array(first.given[0]).reshape(-1, module.in_features)
    gave = _array(first.gave[0]).reshape(-1, module.out_features)
    weight = _array(module.weight)
    bias = _array(module.bias) if module.bias is not None else np.zeros(len(weight), np.float32)
    flat = len(given) == 1 and np.array_equal(given[0], _array(pixels.reshape(-1)))
    used, room = (0 if flat else given.nbytes), WHOLE - blob.size
    if max(used, given.size) > INPUT or used + weight[0].nbytes > room:
        why = f"Its {given.size:,} inputs and {weight[0].size:,} weights a unit are too many for a page."
        return {"kind": "none", "why": why}
    error = np.abs(given.astype(np.float64) @ weight.T.astype(np.float64) + bias - gave).max() / max(np.abs(gave).max(), 1e-12)
    if error > CLOSE:
        return {"kind": "none", "why": "This layer computes something else than a plain dense layer."}
    most = (room - used) // weight[0].nbytes
    units = sorted(np.argsort(-np.abs(gave).max(axis=0), kind="stable")[:most].tolist())
    return {
        "kind": "dense",
        "pixels": flat,
        "input": None if flat else blob.add(given),
        "size": list(pixels.shape[1:]) if flat else list(given.shape),
        "weight": blob.add(weight[units]),
        "bias": blob.add(bias[units]),
        "channels": units,
        "of": len(weight),
        "error": float(error),
        "note": first.note,
        "start": [int(np.abs(gave[:, units]).max(axis=0).argmax()), int(np.abs(gave[:, units]).max(axis=1).argmax())],
    }


def _array(values: Tensor) -> F32:
    found: F32 = values.detach().float().cpu().contiguous().numpy()
    return found


def _two(sides: Any) -> tuple[int, int]:
    both = (sides, sides) if isinstance(sides, int) else tuple(sides)
    return int(both[0]), int(both[1])
