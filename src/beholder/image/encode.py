"""From pixels to files: arrays as PNG without loss, and small pictures to look at."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from beholder import image
from beholder.base.arrays import Values
from beholder.base.limits import LIMITS, Limits

TINY = 64
"""Pictures up to this many pixels a side are PNG: JPEG blurs small pictures and saves little on them."""


def png(array: Values) -> tuple[bytes, bool]:
    """Return a picture that is an array, (H, W) or (H, W, C) with C of 1, 3 or 4, as PNG, and whether nothing was lost.

    Bits, bytes and grey of 16 bits keep their values; colour of 16 bits and floats get 8 bits. Raises `PictureError`.
    """
    image.header(array)
    flat = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    bytewise = flat.dtype in (np.uint8, np.bool_) and (flat.ndim == 2 or flat.shape[-1] in (3, 4))
    exact = bytewise or (flat.dtype == np.uint16 and flat.ndim == 2)
    pixels = flat if exact else image.decode(array, channels=1 if flat.ndim == 2 else 3)
    pixels = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    return _saved(Image.fromarray(np.ascontiguousarray(pixels)), "png"), exact


def thumbnail(data: bytes | Values, *, side: int, limits: Limits = LIMITS, bits: int = 0, most: int = 0) -> tuple[bytes, str]:
    """Return a picture upright, at most `side` pixels wide and high, encoded anew, and its kind: "png" or "jpeg".

    most: bytes beyond which it is a coarser JPEG; 0: there is no limit
    Nothing of the file itself is passed on. Raises `PictureError`.
    """
    made = Image.fromarray(image.decode(data, channels=3, limits=limits, bits=bits))
    made.thumbnail((side, side), Image.Resampling.BILINEAR, reducing_gap=2.0)
    kind = "png" if max(made.size) <= TINY else "jpeg"
    found = _saved(made, kind)
    return (_saved(made, "jpeg", quality=65), "jpeg") if 0 < most < len(found) else (found, kind)


def _saved(picture: Image.Image, kind: str, *, quality: int = 88) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **({"quality": quality} if kind == "jpeg" else {}))
    return buffer.getvalue()
