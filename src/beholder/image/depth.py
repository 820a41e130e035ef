"""Values of any numeric type as bytes, and arrays as pictures, by the rules of `image`."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from beholder.base.arrays import U8, Values
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.image.refusal import check_pixels

BEYOND = 0.01
"""Share of a picture's values that may lie beyond the range of its set."""

_BLOCK = 1 << 20
"""Values that are converted at a time: as floats they take eight times their memory."""


def scaled(values: Values, bits: int = 0) -> U8:
    """Return values of any numeric type as bytes of the same shape, by the rules at the top of `image`.

    bits: of whole numbers wider than a byte, as `PixelPolicy.bits` has them; 0: by the values themselves
    Raises `PictureError` (not-finite, out-of-range).
    """
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.int8:
        return values.view(np.uint8) ^ np.uint8(128)
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError("the picture holds NaN or infinite values", code="not-finite", hint="leave it out, or repair it")
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" and low >= 0:
        most = ceiling(bits) if bits else 255 if values.dtype.itemsize > 2 and high <= 255 else 65535
        if bits and high > most:
            _check_range(values, most)
            values = np.minimum(values, most)
        if high <= most or bits:
            kind = np.dtype(np.float64 if most > 65535 else np.float32)
            return in_bytes(values, lambda block: np.divide(block, most, dtype=kind))
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return in_bytes(values, lambda block: block.astype(np.promote_types(block.dtype, np.float32)))
    return spread(values, float(low), float(high))


def ceiling(bits: int) -> int:
    """Return the largest value of so many bits.

    >>> ceiling(12)
    4095
    """
    return (1 << bits) - 1


def bits_of(top: int) -> int:
    """Return how many bits values up to `top` take, 8 at least; 0 for 0.

    >>> bits_of(4095), bits_of(200), bits_of(0)
    (12, 8, 0)
    """
    return max(8, top.bit_length()) if top else 0


def alpha_of(values: Values, bits: int = 0) -> U8:
    """Return transparency as bytes of the same shape: by the range of the colours unless it exceeds that."""
    if values.dtype.kind == "f":
        return scaled(np.clip(values, 0, 1))
    most = ceiling(bits) if bits and values.max() <= ceiling(bits) else int(np.iinfo(values.dtype).max)
    return in_bytes(values, lambda block: np.clip(block.astype(np.float64) / most, 0, 1))


def _check_range(values: Values, most: int) -> None:
    """Refuse a picture of another range than the set's; single dots beyond it are as white as can be, as of a hot pixel."""
    beyond = float((values > most).mean())
    if beyond > BEYOND:
        text = f"{beyond:.0%} of the picture's values lie above {most:,}, the most that the other pictures have"
        hint = f"bring it to the range 0..{most:,} of the pictures that the pixel policy was made for"
        raise PictureError(text, code="out-of-range", hint=hint)


def spread(values: Values, low: float, high: float) -> U8:
    """Return values as bytes, `low` and what lies below as 0, `high` and what lies above as 255; all 0 where they are equal."""
    span = (high - low) or 1.0
    return in_bytes(values, lambda block: np.clip((block.astype(np.float64) - low) / span, 0.0, 1.0))


def in_bytes(values: Values, unit: Callable[[Values], Values]) -> U8:
    """Return `unit` of the values, which lies in 0..1, times 255 and rounded to the nearest; a block of rows at a time."""
    out = np.empty(values.shape, np.uint8)
    step = max(1, _BLOCK // max(1, values[:1].size))
    for top in range(0, len(values), step):
        out[top : top + step] = np.rint(unit(values[top : top + step]) * 255)
    return out


def of_array(array: Values, limits: Limits, bits: int = 0) -> U8:
    """Return an array as `load` takes it as bytes, (H, W) or (H, W, 3 or 4)."""
    array = grid(array)
    check_pixels(array.shape[0], array.shape[1], limits)
    return np.ascontiguousarray(scaled(array, bits))


def grid(array: Values) -> Values:
    """Return an array as (H, W) or (H, W, 3 or 4); where both ends could be the channels, the last is."""
    array = np.asarray(array)
    if array.dtype not in (np.uint8, np.uint16, bool) and array.dtype.kind != "f":
        raise PictureError(f"a picture of {array.dtype} values", code="bad-array", hint="give uint8, uint16 or floats in 0..1")
    if array.ndim == 3 and array.shape[2] not in (1, 3, 4) and array.shape[0] in (1, 3, 4):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.size == 0 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)):
        raise PictureError(
            f"an array of shape {array.shape} is no picture", code="bad-array", hint="give (H, W), (H, W, 3) or (3, H, W)"
        )
    return array
