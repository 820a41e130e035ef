"""Resizing in numpy, bit for bit as torch's uint8 kernel: for processes that do not load torch.

Antialiased bilinear: triangles whose support grows with the reduction; columns first, then rows. Weights are whole numbers of
16 bits, as many of them behind the point as the largest weight leaves room for; each pass rounds to whole levels.
Source: aten/src/ATen/native/cpu/UpSampleKernel.cpp of PyTorch, which follows Pillow's Resample.c.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from beholder.base.arrays import U8

_BITS = 22
"""At most so many bits behind the point."""

_ROWS = 64
"""So many rows at a time stay within the processor's cache."""


def resized(pixels: U8, height: int, width: int) -> U8:
    """Return pixels (H, W, C) in another size, equal to torch's `interpolate(…, mode="bilinear", antialias=True)` of bytes."""
    tall, wide, channels = pixels.shape
    if wide != width:
        pixels = np.concatenate([_along(pixels[top : top + _ROWS], width) for top in range(0, tall, _ROWS)])
    if tall != height:
        rows = np.ascontiguousarray(pixels).reshape(tall, width * channels)
        pixels = _pass(rows, height).reshape(height, width, channels)
    return np.ascontiguousarray(pixels)


def _along(pixels: U8, width: int) -> U8:
    """Return some rows (R, W, C) in another width."""
    tall, wide, channels = pixels.shape
    columns = np.ascontiguousarray(pixels.transpose(1, 0, 2)).reshape(wide, tall * channels)
    return _pass(columns, width).reshape(width, tall, channels).transpose(1, 0, 2)


def _pass(lines: U8, wanted: int) -> U8:
    """Return lines (length, M) as (wanted, M): each a weighted sum of its neighbours, rounded."""
    weights, bits = _weights(len(lines), wanted)
    summed = weights @ lines.astype(np.int32)
    return np.asarray(np.clip((summed + (1 << (bits - 1))) >> bits, 0, 255), np.uint8)


@lru_cache(maxsize=64)
def _weights(length: int, wanted: int) -> tuple[Any, int]:
    """Return the sparse matrix int32 (wanted, length) of weights · 2^bits, and bits."""
    from scipy.sparse import csr_matrix

    scale = length / wanted
    reach = max(scale, 1.0)
    centres = scale * (np.arange(wanted) + 0.5)
    first = np.maximum((centres - reach + 0.5).astype(np.int64), 0)
    last = np.minimum((centres + reach + 0.5).astype(np.int64), length)
    places = first[:, None] + np.arange(int((last - first).max()))
    apart = (places - centres[:, None] + 0.5) * (1.0 / reach)
    values = np.where(places < last[:, None], np.maximum(1.0 - np.abs(apart), 0.0), 0.0)
    values /= values.sum(axis=1, keepdims=True)
    bits = next(b for b in range(_BITS + 1) if b == _BITS or int(0.5 + values.max() * (1 << (b + 1))) >= 1 << 15)
    whole = (values * (1 << bits) + 0.5).astype(np.int32)
    rows = np.broadcast_to(np.arange(wanted)[:, None], places.shape)
    kept = whole > 0
    return csr_matrix((whole[kept], (rows[kept], places[kept])), shape=(wanted, length)), bits
