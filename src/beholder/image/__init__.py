"""The only place that opens, orients, converts and resizes a picture: training and serving see the same pixels.

The rules. EXIF orientation is applied, in every format that can carry it. Of an animation the first frame counts.
Palettes, CMYK, YCbCr, LAB and HSV become RGB; transparent pixels are composed on the background; grey is ITU-R 601 luma.
Depth is scaled, never clipped: 16 bits by 1/257, so 65535 becomes 255, or by the range that the set uses (`PixelPolicy.bits`);
wider whole numbers likewise if they lie in 0..65535, as bytes if in 0..255, else from their least to their largest value;
floats in 0..1 by 255, others from least to largest; NaN and infinity are refused. White-is-zero is inverted, a signed byte
counts from -128.
Resizing is bilinear with antialiasing (the filter's support grows with the reduction). Truncated files are refused.

The reference is Pillow. Two things are done by others, faster: an ordinary JPEG is decoded by simplejpeg (libjpeg-turbo), to
the same pixels, and colour is resized by torch, to pixels that differ from Pillow's by two levels of 255 at most (one for each
of the two passes that round) and by 0.02 on average. Which road a file takes depends on nothing but the file, and what
simplejpeg refuses, be it a mere warning, Pillow judges, except a warning that pixels are wrong. A JPEG of more than 100 million
pixels is scaled while it is decoded; no other picture is, for that would be another filter, and other pixels. HEIF, DICOM and
deep colour of JPEG 2000 are read by extras (`heif.py`, `dicom.py`, `jpeg2000.py`), and what Pillow gets wrong of deep TIFF is
read by `tiff.py`.

What could harm the run is decoded in a child process (`sandbox.py`), to the same pixels: all but plain JPEG, PNG, GIF, BMP
and PPM of sensible size (`kinds.ordinary`). There a crash, more than `Limits.memory` or more than `Limits.seconds` costs one
picture and a reason code: crashed, out-of-memory, too-slow.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from beholder.base.arrays import U8, Values
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import PixelPolicy
from beholder.image import pillow, sandbox
from beholder.image.depth import grid, of_array
from beholder.image.depth import scaled as scaled
from beholder.image.fit import fitted
from beholder.image.jpeg import frame, pixels_of
from beholder.image.kinds import Header, kind, ordinary
from beholder.image.refusal import check_bytes, check_pixels, not_a_picture, refusing

__all__ = ["Header", "array_of", "decode", "header", "load", "scaled", "top"]

Colour = tuple[int, int, int]


def header(data: bytes | Values, *, limits: Limits = LIMITS) -> Header:
    """Return size and kind of a picture, encoded or an array, without decoding its pixels. Raises `PictureError`."""
    with refusing():
        if not isinstance(data, bytes):
            array = grid(data)
            return Header(array.shape[0], array.shape[1], 1 if array.ndim == 2 else array.shape[2], "array")
        name = _known(data, limits)
        return pillow.header(data, limits) if ordinary(data, name) else sandbox.header(data, limits)


def top(data: bytes | Values, *, limits: Limits = LIMITS) -> int:
    """Return the largest value where a picture holds whole numbers of more than 8 bits and does not say how many; else 0.

    data: as `load` takes it. Raises `PictureError`.
    """
    with refusing():
        if not isinstance(data, bytes):
            return int(data.max()) if data.dtype == np.uint16 and data.size else 0
        name = _known(data, limits)
        if name not in ("PNG", "TIFF", "PPM", "JPEG2000") or (name == "PNG" and data[24:25] != b"\x10"):
            return 0
        return pillow.top(data, limits) if ordinary(data, name) else sandbox.top(data, limits)


def array_of(picture: Image.Image, *, limits: Limits = LIMITS) -> Values:
    """Return what Pillow has opened as an upright array that `load` and `decode` take. Raises `PictureError`."""
    with refusing():
        check_pixels(picture.height, picture.width, limits)
        return pillow.array(picture)


def decode(
    data: bytes | Values, *, channels: int, background: Colour = (255, 255, 255), limits: Limits = LIMITS, bits: int = 0
) -> U8:
    """Return a picture upright in its own size: uint8 (H, W, channels), channels 1 or 3.

    data: an encoded file, or an array as `load` takes it; bits: as `PixelPolicy.bits`. Raises `PictureError`.
    """
    with refusing():
        pixels = _upright(data, channels, background, limits, bits)
    return _with_channels(pixels, channels)


def load(data: bytes | Values, policy: PixelPolicy, *, limits: Limits = LIMITS) -> U8:
    """Return a picture as a net is given it: uint8 (policy.channels, policy.height, policy.width), which may be written to.

    data: an encoded file; or uint8 or uint16 or float in 0..1, (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4.
    Raises `PictureError` with a reason code: empty, not-a-picture, truncated, damaged, too-many-pixels, too-many-bytes,
    not-finite, out-of-range, bad-array, needs-extra, no-decoder, no-pixels, crashed, out-of-memory, too-slow.
    """
    with refusing():
        pixels = fitted(_upright(data, policy.channels, policy.background, limits, policy.bits), policy)
    return np.require(_with_channels(pixels, policy.channels).transpose(2, 0, 1), requirements=["C", "W"])


def _upright(data: bytes | Values, channels: int, background: Colour, limits: Limits, bits: int = 0) -> U8:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey."""
    if not isinstance(data, bytes):
        return pillow.converted(Image.fromarray(of_array(data, limits, bits)), channels, background)
    name = _known(data, limits)
    if not ordinary(data, name):
        return sandbox.decode(data, channels, background, limits, bits)
    if name != "JPEG":
        return pillow.pixels(data, channels, background, limits, bits)
    try:
        pixels = _jpeg(data, limits)
    except ImportError:  # there is no simplejpeg for this platform
        return pillow.pixels(data, channels, background, limits)
    if pixels is None:
        return sandbox.decode(data, channels, background, limits)
    return np.asarray(Image.fromarray(pixels).convert("L")) if channels == 1 and pixels.ndim == 3 else pixels


def _known(data: bytes, limits: Limits) -> str:
    """Return the format of a file that may be opened here. Raises `PictureError`."""
    check_bytes(data, limits)
    name = kind(data)
    if not name:
        raise not_a_picture()
    sandbox.needs(name)
    return name


def _jpeg(data: bytes, limits: Limits) -> U8 | None:
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


def _with_channels(pixels: U8, channels: int) -> U8:
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], channels, axis=2) if channels > 1 else pixels[:, :, None]
    return pixels
