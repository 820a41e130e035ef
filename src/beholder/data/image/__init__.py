"""The only place that opens, orients, converts and resizes a picture: training and serving see the same pixels.

The rules. EXIF orientation is applied, in every format that can carry it. Of an animation the first frame counts.
Palettes, CMYK, YCbCr, LAB and HSV become RGB; transparent pixels are composed on the background; grey is ITU-R 601 luma.
Depth is scaled, never clipped: 16 bits by 1/257, so 65535 becomes 255; wider whole numbers likewise if they lie in 0..65535,
else from their least to their largest value; floats in 0..1 by 255, others from least to largest; NaN and infinity are refused.
Resizing is bilinear with antialiasing (the filter's support grows with the reduction). Truncated files are refused.

The reference is Pillow. Two things are done by others, faster: an ordinary JPEG is decoded by simplejpeg (libjpeg-turbo), to
the same pixels, and colour is resized by torch, to pixels that differ from Pillow's by two levels of 255 at most (one for each
of the two passes that round) and by 0.02 on average. Which road a file takes depends on nothing but the file, and what
simplejpeg refuses, be it a mere warning, Pillow judges, except a warning that pixels are wrong. No picture is decoded at
reduced size (libjpeg's scaling): that would be another filter, and other pixels. HEIF and DICOM are read by extras, `heif` and
`dicom` (`heif.py`, `dicom.py`).

What could harm the run is decoded apart, in a child process (`apart.py`), to the same pixels: all but plain JPEG, PNG, GIF, BMP
and PPM of sensible size (`kinds.ordinary`). There a crash, more than `Limits.memory` or more than `Limits.seconds` costs one
picture and a reason code: crashed, out-of-memory, too-slow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.base.records import PixelPolicy
from beholder.data.image import apart, pillow
from beholder.data.image.depth import grid, of_array
from beholder.data.image.depth import scaled as scaled
from beholder.data.image.fit import fitted
from beholder.data.image.jpeg import frame, pixels_of
from beholder.data.image.kinds import Header, kind, ordinary
from beholder.data.image.refusal import check_bytes, check_pixels, not_a_picture, refusing
from beholder.data.limits import LIMITS, Limits

__all__ = ["Header", "decode", "header", "header_of_array", "load", "scaled"]

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]


def header(data: bytes, *, limits: Limits = LIMITS) -> Header:
    """Return size and kind of a picture without decoding its pixels. Raises `PictureError`."""
    with refusing():
        name = _known(data, limits)
        return pillow.header(data, limits) if ordinary(data, name) else apart.header(data, limits)


def header_of_array(array: npt.NDArray[Any]) -> Header:
    """Return size and kind of a picture that is an array. Raises `PictureError` (bad-array)."""
    with refusing():
        array = grid(array)
        return Header(array.shape[0], array.shape[1], 1 if array.ndim == 2 else array.shape[2], "array")


def decode(
    data: bytes | npt.NDArray[Any], *, channels: int, background: Colour = (255, 255, 255), limits: Limits = LIMITS
) -> Pixels:
    """Return a picture upright in its own size: uint8 (H, W, channels), channels 1 or 3.

    data: an encoded file, or an array as `load` takes it. Raises `PictureError`.
    """
    with refusing():
        pixels = _upright(data, channels, background, limits)
    return _with_channels(pixels, channels)


def load(data: bytes | npt.NDArray[Any], policy: PixelPolicy, *, limits: Limits = LIMITS) -> Pixels:
    """Return a picture as a net is given it: uint8 (policy.channels, policy.height, policy.width).

    data: an encoded file; or uint8 or uint16 or float in 0..1, (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4.
    Raises `PictureError` with a reason code: empty, not-a-picture, truncated, damaged, too-many-pixels, too-many-bytes,
    not-finite, bad-array, needs-extra, no-decoder, no-pixels, crashed, out-of-memory, too-slow.
    """
    with refusing():
        pixels = fitted(_upright(data, policy.channels, policy.background, limits), policy)
    return np.ascontiguousarray(_with_channels(pixels, policy.channels).transpose(2, 0, 1))


def _upright(data: bytes | npt.NDArray[Any], channels: int, background: Colour, limits: Limits) -> Pixels:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey."""
    if not isinstance(data, bytes):
        return pillow.converted(Image.fromarray(of_array(data, limits)), channels, background)
    name = _known(data, limits)
    if not ordinary(data, name):
        return apart.decode(data, channels, background, limits)
    if name != "JPEG":
        return pillow.pixels(data, channels, background, limits)
    try:
        pixels = _jpeg(data, limits)
    except ImportError:  # there is no simplejpeg for this platform
        return pillow.pixels(data, channels, background, limits)
    if pixels is None:
        return apart.decode(data, channels, background, limits)
    return np.asarray(Image.fromarray(pixels).convert("L")) if channels == 1 and pixels.ndim == 3 else pixels


def _known(data: bytes, limits: Limits) -> str:
    """Return the format of a file that may be opened here. Raises `PictureError`."""
    check_bytes(data, limits)
    name = kind(data)
    if not name:
        raise not_a_picture()
    apart.needs(name)
    return name


def _jpeg(data: bytes, limits: Limits) -> Pixels | None:
    """Return the pixels of an ordinary JPEG, upright, (H, W) or (H, W, 3); None where Pillow has to do or refuse it."""
    found = frame(data)
    if found is None:
        return None
    check_pixels(found.height, found.width, limits)
    turn = 1
    if not found.plain:  # EXIF, XMP, colour profiles: what they mean, Pillow says
        with pillow.opened(data, limits) as image:
            if image.mode not in ("L", "RGB"):
                return None
            turn = pillow.orientation(image)
    pixels = pixels_of(data, found.components)
    return None if pixels is None else pillow.turned(pixels, turn)


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], channels, axis=2) if channels > 1 else pixels[:, :, None]
    return pixels
