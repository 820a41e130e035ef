"""Values of any numeric type as bytes, and arrays as pictures, by the rules of `data.image`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import PictureError
from beholder.data.image.refusal import check_pixels
from beholder.data.limits import Limits

Pixels = npt.NDArray[np.uint8]

_BLOCK = 1 << 20
"""Values that are converted at a time: as floats they take eight times their memory."""


def scaled(values: npt.NDArray[Any]) -> Pixels:
    """Return values of any numeric type as bytes of the same shape, by the rules at the top of `data.image`."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError("the picture holds NaN or infinite values", code="not-finite", hint="leave it out, or mend it")
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" and low >= 0 and high <= 65535:
        return in_bytes(values, lambda block: block.astype(np.float32) / 65535)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return in_bytes(values, lambda block: block)
    return spread(values, float(low), float(high))


def spread(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """Return values as bytes, `low` and what lies below as 0, `high` and what lies above as 255; all 0 where they are equal."""
    span = (high - low) or 1.0
    return in_bytes(values, lambda block: np.clip((block.astype(np.float64) - low) / span, 0.0, 1.0))


def in_bytes(values: npt.NDArray[Any], unit: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]) -> Pixels:
    """Return `unit` of the values, which lies in 0..1, times 255 and rounded to the nearest; a block of rows at a time."""
    out = np.empty(values.shape, np.uint8)
    step = max(1, _BLOCK // max(1, values[:1].size))
    for top in range(0, len(values), step):
        out[top : top + step] = np.rint(unit(values[top : top + step]) * 255)
    return out


def of_array(array: npt.NDArray[Any], limits: Limits) -> Pixels:
    """Return an array as `load` takes it as bytes, (H, W) or (H, W, 3 or 4)."""
    array = grid(array)
    check_pixels(array.shape[0], array.shape[1], limits)
    return np.ascontiguousarray(scaled(array))


def grid(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
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
