"""HEIF pictures (.heic, .heif) by pillow-heif, the extra `heif`; libheif applies the rotation, mirror and crop they name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from beholder.base.arrays import U8
from beholder.base.limits import Limits
from beholder.image.depth import scaled
from beholder.image.kinds import Header
from beholder.image.pillow import converted
from beholder.image.refusal import check_bytes, check_pixels, no_decoder

if TYPE_CHECKING:
    from pillow_heif import HeifFile

_CODEC = ("unsupported", "no decoding plugin", "codec")


def header(data: bytes, limits: Limits) -> Header:
    """Return size and kind of the primary picture."""
    file = _opened(data, limits)
    return Header(file.size[1], file.size[0], 4 if "A" in file.mode.upper() else 1 if file.mode[0] in "LI" else 3, "HEIF")


def pixels(data: bytes, channels: int, background: tuple[int, int, int], limits: Limits, bits: int = 0) -> U8:
    """Return the primary picture upright, (H, W) or (H, W, 3); 10 and 12 bits are scaled as 16 are.

    Raises `PictureError` (no-decoder) for a HEIF whose pixels are coded by something else than HEVC.
    """
    del bits  # a HEIF says how many it has
    file = _opened(data, limits)
    try:
        values = np.asarray(file)
    except (ValueError, RuntimeError, NotImplementedError) as error:
        if any(word in str(error).lower() for word in _CODEC):
            raise no_decoder(str(error)) from error
        raise
    premultiplied = file.mode.startswith("RGBa")
    bytes_ = np.ascontiguousarray(scaled(values))
    image: Any = Image.fromarray(bytes_[:, :, 0] if bytes_.ndim == 3 and bytes_.shape[2] == 1 else bytes_)
    if premultiplied:
        image = Image.frombytes("RGBa", image.size, image.tobytes())
    return converted(image, channels, background)


def _opened(data: bytes, limits: Limits) -> HeifFile:
    import pillow_heif

    check_bytes(data, limits)
    pillow_heif.options.DECODE_THREADS = 1
    pillow_heif.options.THUMBNAILS = pillow_heif.options.DEPTH_IMAGES = pillow_heif.options.AUX_IMAGES = False
    file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
    check_pixels(file.size[1], file.size[0], limits)
    return file
