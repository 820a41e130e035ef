"""Appearance in figures: brightness, tint, sharpness, border and corners, for many pictures at once; and thumbnails."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder import image
from beholder.base.arrays import F64, I64, U8
from beholder.duplicates.alignment import SIZE
from beholder.duplicates.hashing import perceptual
from beholder.image.fit import resized

SIDE = 512
"""Longer side in pixels up to which a picture is measured as it is."""

LINES = 32
"""Sharpness is measured on so many rows and columns, evenly spread: more would change it little."""

QUANTILES = (0.01, 0.05, 0.5, 0.95, 0.99)
TINTS = (0.9, 0.99)


def seen(data: bytes | npt.NDArray[np.generic], bits: int = 0) -> U8:
    """Return the thumbnail of a picture that `Thumbnails` would hold, uint8 (64, 64). Raises `PictureError`."""
    return thumbnail(grey(bounded(image.decode(data, channels=3, bits=bits))[None])[0])


def thumbnail(luma: U8) -> U8:
    """Return a luma (H, W) squeezed to the size in which duplicates are compared, uint8 (64, 64)."""
    return np.array(resized(luma, SIZE, SIZE))


def bounded(pixels: U8) -> U8:
    """Return pixels (H, W, 3) with no side longer than `SIDE`."""
    factor = -(-max(pixels.shape[:2]) // SIDE)
    return np.asarray(Image.fromarray(pixels).reduce(factor)) if factor > 1 else pixels


def grey(pixels: U8) -> U8:
    """Return the luma of B pictures: uint8 (B, H, W, 3) → (B, H, W)."""
    count, height, width, _ = pixels.shape
    return np.asarray(Image.fromarray(pixels.reshape(count * height, width, 3)).convert("L")).reshape(count, height, width)


def describe(pixels: U8) -> dict[str, npt.NDArray[np.number]]:
    """Return the fields of `FACTS` that follow from the pixels uint8 (B, H, W, 3) of B pictures: name → (B,) or (B, n)."""
    luma = grey(pixels)
    return shapes(luma) | lights(histogram(luma), histogram(tints(pixels)))


def shapes(luma: U8) -> dict[str, npt.NDArray[np.number]]:
    """Return the fields for which it counts where what is, of luma (B, H, W)."""
    ring = np.concatenate([luma[:, 0], luma[:, -1], luma[:, 1:-1, 0], luma[:, 1:-1, -1]], axis=1) / 255
    blur, fine = sharpness(luma)
    border = np.stack([ring.mean(axis=1), ring.std(axis=1)], axis=1)
    return {"hash": perceptual(luma), "blur": blur, "fine": fine, "border": border, "corners": _corners(luma)}


def tints(pixels: U8) -> U8:
    """Return the largest less the smallest of R, G, B: (B, H, W, 3) → (B, H, W)."""
    red, green, blue = np.ascontiguousarray(np.moveaxis(pixels, -1, 0))
    return np.asarray(np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue))


def lights(levels: I64, tints: I64) -> dict[str, npt.NDArray[np.number]]:
    """Return the fields that follow from how often each luma and each tint occurs, int64 (B, 256) each."""
    n = levels.sum(axis=1)
    total, colours = np.cumsum(levels, axis=1), np.cumsum(tints, axis=1)
    values = np.arange(256)
    mean = levels @ values / n
    near = np.clip(levels.argmax(axis=1)[:, None] + np.array([4, -5]), -1, 255)
    padded = np.concatenate([total, np.zeros((len(n), 1), total.dtype)], axis=1)  # [-1] is 0
    commonest = np.take_along_axis(padded, near, axis=1)
    return {
        "light": np.stack([(total >= q * n[:, None]).argmax(axis=1) / 255 for q in QUANTILES], axis=1),
        "spread": np.sqrt(np.maximum(levels @ values**2 / n - mean**2, 0)) / 255,
        "mode": (commonest[:, 0] - commonest[:, 1]) / n,
        "tint": np.stack([(colours >= q * n[:, None]).argmax(axis=1) / 255 for q in TINTS], axis=1),
    }


def _corners(luma: U8) -> F64:
    """Return (B, 8) in 0..1 of luma uint8 (B, H, W): upper left, upper right, lower left, lower right."""
    side = max(1, min(luma.shape[1:]) // 8)
    found = []
    for rows in (slice(None, side), slice(-side, None)):
        for columns in (slice(None, side), slice(-side, None)):
            found += [luma[:, rows, columns].mean(axis=(1, 2)), luma[:, rows, columns].std(axis=(1, 2))]
    return np.stack(found, axis=1) / 255


def histogram(values: U8) -> I64:
    """Return how often each of 256 values occurs in each of B pictures: values uint8 (B, H, W) → int64 (B, 256)."""
    count = len(values)
    if values[0].size > 4096:  # Pillow counts a large picture in a third of the time
        return np.array([Image.fromarray(one).histogram() for one in values], np.int64)
    shifted = values.reshape(count, -1) + 256 * np.arange(count)[:, None]
    return np.bincount(shifted.ravel(), minlength=256 * count).reshape(count, 256).astype(np.int64)


def sharpness(luma: U8) -> tuple[F64, F64]:
    """Return (blur, fine) of uint8 (B, H, W), each (B,) in [0, 1]: the larger one of both directions, on `LINES` lines in each.

    blur: how little of the gradient is lost when the picture is blurred again; 1 = nothing, so it was blurred, or has no detail
    at all. Source: Crété-Roffet et al., The blur effect, SPIE 2007, with its box filter of 11 pixels.
    fine: share of the gradient's energy that averaging neighbouring slopes takes away: what is finer than two pixels.
    """
    _, height, width = luma.shape
    rows, columns = luma[:, :: -(-height // LINES)], luma[:, :, :: -(-width // LINES)].swapaxes(1, 2)
    pairs = [_sharpness(np.ascontiguousarray(lines, np.int16)) for lines in (rows, columns)]
    return np.maximum(pairs[0][0], pairs[1][0]), np.maximum(pairs[0][1], pairs[1][1])


def _sharpness(plane: npt.NDArray[np.int16]) -> tuple[F64, F64]:
    """Return (blur, fine) along the last axis of int16 (B, H, W)."""
    count, height, length = plane.shape
    if length < 4:
        return np.ones(count), np.zeros(count)
    width = min(11, length - 2) | 1
    half = width // 2
    wide = np.empty((count, height, length + 2 * half), np.int16)  # as far as means reach beyond the edge
    wide[:, :, half : half + length] = plane
    wide[:, :, :half], wide[:, :, half + length :] = plane[:, :, :1], plane[:, :, -1:]
    slope = plane[:, :, 1:] - plane[:, :, :-1]
    steep = np.abs(slope)
    # Sums of `width` pixels instead of their means, so that everything stays in whole numbers: two neighbouring sums differ by
    # the pixel that comes in less the one that goes.
    kept = steep * np.int16(width) - np.abs(wide[:, :, width:] - wide[:, :, :-width])
    lost, energy = np.maximum(kept, 0).sum(axis=(1, 2), dtype=np.int64) / width, steep.sum(axis=(1, 2), dtype=np.int64)
    power = np.square(slope, dtype=np.int32).sum(axis=(1, 2), dtype=np.int64)
    finer = np.square(slope[:, :, 1:] - slope[:, :, :-1], dtype=np.int32).sum(axis=(1, 2), dtype=np.int64) / 4
    blur = 1 - np.divide(lost, energy, out=np.zeros(count), where=energy > 0)
    return blur, np.minimum(np.divide(finer, power, out=np.zeros(count), where=power > 0), 1.0)
