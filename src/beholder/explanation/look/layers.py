"""The maps of every layer as a page carries them: eight bits a value, in as many bytes as there is room for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from beholder.base.arrays import F32, I8
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.trace import Layer

SIDES = (64, 56, 48, 40, 32, 28, 24, 20, 16, 12, 8)
"""Sides of maps that are tried, from the finest."""

WORDS: Mapping[str, str] = {
    "Conv": "Each map is made of all maps before it: patch × kernel + bias, at every place with the same kernel.",
    "Linear": "Each value is a weighted sum of all values before it, plus a bias.",
    "Dense": "Each value is a weighted sum of all values before it, plus a bias.",
    "BatchNorm": "Each map is shifted and scaled by numbers that were fixed in training.",
    "LayerNorm": "The values are brought to mean 0 and deviation 1, then scaled and shifted by learnt numbers.",
    "GroupNorm": "Groups of maps are brought to mean 0 and deviation 1, then scaled and shifted by learnt numbers.",
    "ReLU": "What is negative becomes 0; the rest stays.",
    "GELU": "What is clearly negative becomes about 0; what is clearly positive stays.",
    "SiLU": "x · σ(x): what is clearly negative becomes about 0; what is clearly positive stays.",
    "Sigmoid": "Every value is pressed between 0 and 1.",
    "MaxPool": "Of each small window only the largest value stays: the maps become smaller.",
    "AvgPool": "Of each small window the mean stays: the maps become smaller.",
    "AveragePool": "Of each small window the mean stays: the maps become smaller.",
    "AdaptiveAvgPool": "The mean of each map.",
    "GlobalAveragePool": "The mean of each map.",
    "GlobalMaxPool": "The largest value of each map.",
    "Flatten": "All values in one row; none changes.",
    "Dropout": "In training it sets values to 0 at random; here it changes nothing.",
    "flatten": "All values in one row; none changes.",
    "mean of each map": "Where in the picture something was seen is forgotten; how strongly is kept.",
    "largest value of each map": "Where in the picture something was seen is forgotten; how strongly is kept.",
}
"""What a layer does, by the beginning of its name."""


def words(kind: str) -> str:
    """Return what a kind of layer does in a sentence; "" for one that is not known.

    >>> words("MaxPool2d")
    'Of each small window only the largest value stays: the maps become smaller.'
    """
    return next((said for name, said in WORDS.items() if kind.startswith(name)), "")


def facts(layers: Sequence[Layer], blob: Blob, *, room: int) -> list[dict[str, Any]]:
    """Return the layers as plain values, their maps in `blob`: int8, 127 standing for `peak`, in at most `room` bytes."""
    most, side = fitting(layers, room)
    return [_layer(layer, blob, most=most, side=side) for layer in layers]


def fitting(layers: Sequence[Layer], room: int) -> tuple[int, int]:
    """Return how many maps of a layer, and of which side, fit `room` bytes: the finest of most maps, (0, 0) if none does."""
    for most in (8, 6, 4, 2, 1):
        for side in SIDES[: len(SIDES) if most == 1 else 8]:
            if sum(_bytes(layer, most, side) for layer in layers) <= room:
                return most, side
    return 0, 0


def _bytes(layer: Layer, most: int, side: int) -> int:
    count, height, width = layer.maps.shape
    if layer.form != "maps":
        return int(layer.maps.size)
    scale = min(1.0, side / max(height, width))
    return int(min(count, most) * max(1, round(height * scale)) * max(1, round(width * scale)))


def _layer(layer: Layer, blob: Blob, *, most: int, side: int) -> dict[str, Any]:
    maps = smaller(layer.maps[:most], side) if layer.form == "maps" and side else layer.maps[: most or 0]
    peak = float(np.abs(maps).max()) if maps.size else 0.0
    own = {"name": layer.name, "kind": layer.kind, "about": layer.about, "words": words(layer.kind), "group": layer.group}
    size = {"shape": list(layer.shape), "parameters": layer.parameters, "low": layer.low, "high": layer.high}
    shown = {"channels": list(layer.channels[: len(maps)]), "total": layer.total}
    form = layer.form if maps.size else "none"
    return {**own, **size, **shown, "form": form, "peak": peak, "maps": blob.add(quantised(maps, peak)) if maps.size else None}


def smaller(maps: F32, side: int) -> F32:
    """Return maps (n, h, w) averaged down so that no side is longer than `side`."""
    height, width = maps.shape[1:]
    scale = side / max(height, width)
    if scale >= 1:
        return maps
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    found: F32 = F.adaptive_avg_pool2d(torch.from_numpy(maps), size).numpy()
    return found


def quantised(maps: F32, peak: float) -> I8:
    """Return values as int8, of which 127 stands for `peak`."""
    return np.rint(maps * (127 / peak) if peak and np.isfinite(peak) else maps * 0).astype(np.int8)
