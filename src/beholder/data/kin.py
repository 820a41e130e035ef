"""Who looks the same as pictures that are no longer at hand, but for their hashes: what a bundle remembers of its training."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from beholder.base.records import Pictures
from beholder.data.cache import Pixels
from beholder.data.likeness import LENGTH, alike, likest, perceptual
from beholder.data.split import unit_of
from beholder.data.twins import SMALLEST, Twins

CLOSE = 0.98
"""Least cosine of two hashes that are taken for the same picture where its pixels cannot be compared (docs/HONESTY.md)."""

LARGEST = 2**18
"""Pictures of which a bundle remembers the hashes: 16 MiB of 64 bytes each. Of more it remembers none."""

_CHUNK = 256
_RED, _GREEN, _BLUE = 0.299, 0.587, 0.114

I8 = npt.NDArray[np.int8]
I64 = npt.NDArray[np.int64]


def none() -> I8:
    """Return no hashes: int8 (0, 64)."""
    return np.zeros((0, LENGTH), np.int8)


def hashes(pixels: Pixels) -> I8:
    """Return the hashes of N pictures as the net is given them: int8 (N, 64); zeros where they are too small to tell."""
    found = np.zeros((len(pixels), LENGTH), np.int8)
    if min(pixels.shape[1:]) < SMALLEST:
        return found
    for start in range(0, len(pixels), _CHUNK):
        positions = np.arange(start, min(start + _CHUNK, len(pixels)))
        found[positions] = perceptual(_luma(pixels.take(positions)))
    return found


def _luma(images: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Return the luma of uint8 (B, C, H, W): uint8 (B, H, W)."""
    if images.shape[1] < 3:
        return images[:, 0]
    red, green, blue = (images[:, channel].astype(np.float32) for channel in range(3))
    return np.asarray(_RED * red + _GREEN * green + _BLUE * blue + 0.5, np.uint8)


def remembered(*parts: Pixels) -> I8:
    """Return what a bundle keeps of the pictures of its parts: their different hashes, sorted, int8 (M, 64), M ≤ `LARGEST`."""
    if not 0 < sum(len(part) for part in parts) <= LARGEST:
        return none()
    known = np.unique(np.concatenate([hashes(part) for part in parts]), axis=0)
    return np.ascontiguousarray(known[known.any(axis=1)])


def looks_known(asked: I8, known: I8) -> npt.NDArray[np.bool_]:
    """Return which of the hashes int8 (N, 64) look the same as one of `known`, int8 (M, 64), turned copies too: bool (N,)."""
    return np.asarray(likest(asked, known, least=CLOSE)[0] >= 0)


def units(pictures: Pictures, asked: I8) -> I64:
    """Return the unit of each picture, int64 (N,): those of one group share one, and so do twins by digest or hash (N, 64)."""
    pairs, _ = alike(asked, least=CLOSE) if len(asked) else (np.empty((0, 2), np.int64), None)
    return unit_of(pictures, Twins(np.arange(len(pictures)), pairs, np.ones(len(pairs))))
