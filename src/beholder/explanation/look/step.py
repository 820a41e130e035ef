"""One step of backpropagation through a plain net on one picture, in float64, without torch: loss, δ, Δw = −α δ xᵀ, loss after.

Source: D. Rumelhart, G. Hinton, R. Williams, Learning representations by back-propagating errors, Nature 323 (1986).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from torch import nn

from beholder.base.arrays import F32, F64, I64
from beholder.explanation.look.head import largest, rows_of, times, weights
from beholder.measure.families import Family
from beholder.nets.plain import Stack

ALPHA = 0.01
"""The learning rate α of the step that is shown."""

RATES = (0.001, 0.01, 0.1, 1.0)
"""Learning rates whose loss after the step is shown beside."""

MOST = 100_000_000
"""Products of one pass, and weights, above which no step is worked out: it would take seconds."""

LOGITS = 300
"""Logits whose δ is shown, at most."""

UNITS, INPUTS = 3, 4
"""Rows and columns of δ xᵀ that are shown of a dense layer: the largest of both."""


@dataclass(frozen=True)
class Plain:
    """One layer of a plain net. kind: flatten | relu | dense | conv | pool; dense: weight (O, F); conv: weight (O, C, k, k)."""

    kind: str
    name: str
    weight: F32
    bias: F32


@dataclass(frozen=True)
class Pass:
    """A layer's part of a pass: what it was given and, of pooling, where the largest value of each window was."""

    given: F64
    places: I64


@dataclass(frozen=True)
class Change:
    """What a layer with weights learns: delta is the slope of the loss by what it gave, given is what it was given."""

    delta: F64
    given: F64


NOTHING = np.zeros(0, np.float32)
NOWHERE = np.zeros(0, np.int64)


def layers_of(net: nn.Module) -> list[Plain] | None:
    """Return the layers of a plain net with their weights; None for a net that is not plain."""
    if not isinstance(net, Stack) or net.head is None or net.scale != 1.0:
        return None
    found: list[Plain] = []
    for k, layer in enumerate(net.layers):
        name = f"layers.{k}"
        if isinstance(layer, nn.Linear):
            found.append(Plain("dense", name, *weights(layer)))
        elif isinstance(layer, nn.Conv2d):
            bias = np.zeros(layer.out_channels, np.float32) if layer.bias is None else layer.bias.detach().float().cpu().numpy()
            if found or any(layer.padding) or set(layer.stride) != {1}:
                return None
            found.append(Plain("conv", name, layer.weight.detach().float().cpu().numpy(), bias))
        elif type(layer) in KINDS:
            found += [Plain(KINDS[type(layer)], name, NOTHING, NOTHING)] * bool(KINDS[type(layer)])
        else:
            return None
    return [*found, Plain("dense", "head", *weights(net.head))]


KINDS: dict[type[nn.Module], str] = {nn.Flatten: "flatten", nn.ReLU: "relu", nn.MaxPool2d: "pool", nn.Dropout: ""}
"""Layers without weights that a plain net may have; dropout does nothing here."""


def products(layers: Sequence[Plain], shape: tuple[int, ...]) -> int:
    """Return how many products of weights and inputs a pass takes on pixels (C, H, W)."""
    _, height, width = shape
    found = 0
    for layer in layers:
        if layer.kind == "conv":
            side = layer.weight.shape[2] - 1
            found += layer.weight.size * (height - side) * (width - side)
        elif layer.kind == "dense":
            found += layer.weight.size
    return found


def forward(
    layers: Sequence[Plain], x: F64, *, changes: Sequence[Change | None] = (), alpha: float = 0.0
) -> tuple[F64, list[Pass]]:
    """Return the logits float64 (W,) of pixels float64 (C, H, W), and each layer's part.

    changes, alpha: with weights after a step, w − α δ xᵀ, which are never written down: they may be many
    """
    passes: list[Pass] = []
    for k, layer in enumerate(layers):
        change = changes[k] if changes else None
        places = NOWHERE
        given = x
        if layer.kind == "flatten":
            x = given.reshape(-1)
        elif layer.kind == "relu":
            x = np.maximum(given, 0.0)
        elif layer.kind == "pool":
            x, places = _pooled(given)
        elif layer.kind == "dense":
            x = times(layer.weight, given) + layer.bias
            if change is not None:
                x = x - alpha * change.delta * (change.given @ given + 1.0)
        else:
            kernel, bias = layer.weight.astype(np.float64), layer.bias.astype(np.float64)
            if change is not None:
                kernel = kernel - alpha * kernel_slope(layer, change)
                bias = bias - alpha * change.delta.sum(axis=(1, 2))
            x = np.einsum("ocij,cyxij->oyx", kernel, _patches(given, kernel.shape[2]), optimize=True) + bias[:, None, None]
        passes.append(Pass(given, places))
    return x, passes


def backward(layers: Sequence[Plain], passes: Sequence[Pass], delta: F64) -> list[Change | None]:
    """Return what each layer learns, None for one without weights. delta: slope of the loss by the logits, float64 (W,)."""
    found: list[Change | None] = []
    for layer, part in zip(reversed(layers), reversed(passes), strict=True):
        learns = layer.kind in ("dense", "conv")
        found.append(Change(delta, part.given) if learns else None)
        if layer.kind == "dense":
            delta = _back(layer.weight, delta)
        elif layer.kind == "relu":
            delta = delta * (part.given > 0)
        elif layer.kind == "flatten":
            delta = delta.reshape(part.given.shape)
        elif layer.kind == "pool":
            delta = _unpooled(delta, part)
    return found[::-1]


def kernel_slope(layer: Plain, change: Change) -> F64:
    """Return the slope of the loss by a convolution's weights, float64 (O, C, k, k): Σ over places of δ · patch."""
    patches = _patches(change.given, layer.weight.shape[2])
    found: F64 = np.einsum("oyx,cyxij->ocij", change.delta, patches, optimize=True)
    return found


def _patches(x: F64, side: int) -> F64:
    return np.asarray(sliding_window_view(x, (side, side), axis=(1, 2)))


def _pooled(x: F64) -> tuple[F64, I64]:
    """Return the largest of each 2 × 2 values of maps (C, H, W), and which of the four it is."""
    channels, height, width = x.shape
    tall, wide = height // 2, width // 2
    windows = x[:, : 2 * tall, : 2 * wide].reshape(channels, tall, 2, wide, 2).swapaxes(2, 3).reshape(channels, tall, wide, 4)
    places = windows.argmax(axis=3)
    return np.take_along_axis(windows, places[..., None], axis=3)[..., 0], places


def _unpooled(delta: F64, part: Pass) -> F64:
    """Return δ of what pooling was given: it goes to the largest value of each window alone."""
    out = np.zeros_like(part.given)
    c, y, x = np.indices(delta.shape)
    out[c, 2 * y + part.places // 2, 2 * x + part.places % 2] = delta
    return out


def _back(weight: F32, delta: F64) -> F64:
    """Return weightᵀ @ delta in float64, some rows at a time, as `times`."""
    rows = rows_of(weight)
    found = np.zeros(weight.shape[1])
    for k in range(0, len(weight), rows):
        found += delta[k : k + rows] @ weight[k : k + rows].astype(np.float64)
    return found


def facts(net: nn.Module, x: F64, truth: F64, family: Family) -> dict[str, Any] | None:
    """Return one step on pixels float64 (C, H, W) with its numbers; None for a net that is not plain.

    truth: float64 (K,), hot. {"alpha", "loss", "after", "rates", "logits", "delta", "layers"}, the last layer first
    """
    layers = layers_of(net)
    if layers is None:
        return None
    logits, passes = forward(layers, x)
    [loss], [delta] = family.cost(logits[None], truth[None])
    changes = backward(layers, passes, delta)

    def after(alpha: float) -> float:
        made, _ = forward(layers, x, changes=changes, alpha=alpha)
        return float(family.cost(made[None], truth[None])[0][0])

    rates = {alpha: after(alpha) for alpha in RATES}
    learnt = [(layer, change) for layer, change in zip(layers, changes, strict=True) if change is not None]
    return {
        "alpha": ALPHA,
        "loss": float(loss),
        "after": rates[ALPHA],
        "rates": [{"alpha": alpha, "after": value} for alpha, value in rates.items()],
        "logits": logits.tolist(),
        "delta": delta.tolist(),
        "layers": [_dense(*each) if each[0].kind == "dense" else _kernel(*each) for each in reversed(learnt)],
    }


def shortened(found: dict[str, Any], truth: F64) -> dict[str, Any]:
    """Return the facts of a step with `rows` of the largest |δ| in place of all: {"at", "logit", "delta", "y"}.

    y: what the logit should say, None where logits are not one for each class
    """
    logits, delta = np.asarray(found["logits"]), np.asarray(found["delta"])
    y = truth.tolist() if len(truth) == len(delta) else [None] * len(delta)
    rows = [{"at": k, "logit": float(logits[k]), "delta": float(delta[k]), "y": y[k]} for k in largest(delta, LOGITS)]
    others = {name: value for name, value in found.items() if name not in ("logits", "delta")}
    return {**others, "rows": rows, "count": len(delta)}


def _dense(layer: Plain, change: Change) -> dict[str, Any]:
    """Return the largest changes of a dense layer: units by |δ|, inputs by |x|."""
    units, inputs = largest(change.delta, UNITS), largest(change.given, INPUTS)
    cells = []
    for unit in units:
        for j in inputs:
            w, d, given = float(layer.weight[unit, j]), float(change.delta[unit]), float(change.given[j])
            step = -ALPHA * d * given
            cells.append({"unit": unit, "input": j, "delta": d, "x": given, "w": w, "dw": step, "new": w + step})
    biases = [
        {"unit": u, "delta": float(change.delta[u]), "b": float(layer.bias[u]), "db": -ALPHA * float(change.delta[u])}
        for u in units
    ]
    size = {"weights": layer.weight.size + layer.bias.size, "still": int((change.delta == 0).sum()), "units": len(change.delta)}
    return {"name": layer.name, "kind": "dense", "cells": cells, "biases": biases, **size}


def _kernel(layer: Plain, change: Change) -> dict[str, Any]:
    """Return the change of that kernel of a convolution which changes most."""
    slope = kernel_slope(layer, change)
    unit = int(np.abs(slope).sum(axis=(1, 2, 3)).argmax())
    weight = layer.weight[unit].astype(np.float64)
    step = -ALPHA * slope[unit]
    places = int(np.count_nonzero(change.delta[unit]))
    shown = {"w": weight.tolist(), "dw": step.tolist(), "new": (weight + step).tolist()}
    size = {"weights": layer.weight.size + layer.bias.size, "places": places, "of": int(change.delta[unit].size)}
    bias = {"b": float(layer.bias[unit]), "db": -ALPHA * float(change.delta[unit].sum())}
    return {"name": layer.name, "kind": "conv", "unit": unit, **shown, **size, **bias}
