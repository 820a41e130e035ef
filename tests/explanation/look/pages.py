"""Bundles for pages, what a page holds, and the same numbers computed by NumPy from the file of weights."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import load_file
from tests.configs import config
from torch import nn

from beholder.base.recipe import Recipe
from beholder.bundle.bundle import Bundle
from beholder.measure.calibration import Calibration
from beholder.nets.build import build
from beholder.nets.spec import NetSpec
from beholder.tasks import named

CLOSE = 1e-6


def bundle(
    net: str | nn.Module,
    *,
    size: int = 16,
    channels: int = 3,
    classes: int = 4,
    task: str = "single",
    width: float = 0.25,
    **more: Any,
) -> Bundle:
    """Return a bundle with random weights (norms' statistics too); more: fields of its config."""
    names = more.pop("names", tuple(f"class {k}" for k in range(classes)))
    spec = NetSpec(net if isinstance(net, str) else "made", channels, size, size, named(task).width(len(names)), width)
    made = build(spec, seed=1) if isinstance(net, str) else net
    random = torch.Generator().manual_seed(2)
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features, generator=random) * 0.1
            module.running_var = torch.rand(module.num_features, generator=random) + 0.5
    told = dataclasses.replace(config(names, task=task, size=(channels, size, size), **more), net=spec)
    return Bundle(config=told, net=made.eval(), recipe=Recipe())


def temperature(count: int, scale: float = 1.7) -> Calibration:
    return Calibration("temperature", (scale,) * count, (0.0,) * count, 200)


def picture(seed: int = 0, height: int = 40, width: int = 50) -> np.ndarray:
    """Return a smooth picture uint8 (h, w, 3)."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (1, 3, 5, 6)))
    fine = torch.nn.functional.interpolate(coarse, (height, width), mode="bilinear")
    return fine[0].permute(1, 2, 0).numpy().round().astype(np.uint8)


class Page:
    """What lies in a page, read without a browser."""

    def __init__(self, html: str) -> None:
        self.facts: dict[str, Any] = json.loads(_script(html, "look"))
        self._bytes = zlib.decompress(base64.b64decode(_script(html, "blob")))

    def array(self, spec: dict[str, Any]) -> np.ndarray:
        kind = {"f32": "<f4", "u8": "u1", "i8": "i1"}[spec["type"]]
        count = int(np.prod(spec["shape"]))
        return np.frombuffer(self._bytes, kind, count, spec["at"]).reshape(spec["shape"])

    def pixels(self) -> np.ndarray:
        """Return the normalised pixels float64 (C, H, W) by the page's own numbers."""
        told = self.facts["pixels"]
        mean, std = (np.array([one[name] for one in told["channels"]])[:, None, None] for name in ("mean", "std"))
        return (self.array(told["image"]) / 255 - mean) / std


def _script(html: str, name: str) -> str:
    found = re.search(rf'<script type="[^"]+" id="{name}">(.*?)</script>', html, re.DOTALL)
    assert found
    return found[1]


def weights(made: Bundle, folder: Path) -> dict[str, np.ndarray]:
    """Return what model.safetensors holds, float64."""
    path = made.save(folder / "made.beholder")
    return {name: value.astype(np.float64) for name, value in load_file(path / "model.safetensors").items()}


def convolved(
    x: np.ndarray,
    kernel: np.ndarray,
    bias: np.ndarray | float = 0.0,
    *,
    stride: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilation: tuple[int, int] = (1, 1),
    groups: int = 1,
) -> np.ndarray:
    """Return a convolution by its definition: float64 (O, H', W') of x (C, H, W)."""
    x = np.pad(x, ((0, 0), pads[:2], pads[2:]))
    count, per, tall, wide = kernel.shape
    high = (x.shape[1] - dilation[0] * (tall - 1) - 1) // stride[0] + 1
    broad = (x.shape[2] - dilation[1] * (wide - 1) - 1) // stride[1] + 1
    out = np.zeros((count, high, broad))
    for o in range(count):
        start = o // (count // groups) * per
        for c in range(per):
            for i in range(tall):
                for j in range(wide):
                    top, left = i * dilation[0], j * dilation[1]
                    rows = slice(top, top + stride[0] * (high - 1) + 1, stride[0])
                    columns = slice(left, left + stride[1] * (broad - 1) + 1, stride[1])
                    out[o] += kernel[o, c, i, j] * x[start + c, rows, columns]
    return out + np.reshape(bias, (-1, 1, 1))


def forward(net: str, x: np.ndarray, held: dict[str, np.ndarray]) -> np.ndarray:
    """Return the logits of a plain net, float64, from pixels (C, H, W) and its file of weights."""
    if net == "cnn":
        maps = convolved(x, held["layers.0.weight"], held["layers.0.bias"])
        tall, wide = maps.shape[1] // 2, maps.shape[2] // 2
        x = np.maximum(maps[:, : 2 * tall, : 2 * wide].reshape(len(maps), tall, 2, wide, 2).max(axis=(2, 4)), 0)
    x = x.reshape(-1)
    if net == "mlp":
        for name in ("layers.1", "layers.4"):
            x = np.maximum(held[f"{name}.weight"] @ x + held[f"{name}.bias"], 0)
    return held["head.weight"] @ x + held["head.bias"]


def close(found: Any, wanted: Any) -> bool:
    """Return whether numbers are equal to 1e-6 of the largest of them."""
    found, wanted = np.asarray(found, np.float64), np.asarray(wanted, np.float64)
    assert found.shape == wanted.shape
    return bool(np.abs(found - wanted).max() <= CLOSE * max(1e-6, np.abs(wanted).max()))
