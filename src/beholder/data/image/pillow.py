"""The reference: what Pillow makes of a file, by the rules of `data.image`."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from beholder.base.errors import PictureError
from beholder.data.image.depth import in_bytes, scaled
from beholder.data.image.kinds import Header, kind
from beholder.data.image.refusal import check_bytes, check_pixels, hush, not_a_picture
from beholder.data.image.whole import check_jpeg2000, check_png
from beholder.data.limits import Limits

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258

_WHOLE = {"PNG": check_png, "JPEG2000": check_jpeg2000}

_BAND = 4_000_000
"""Pixels that are converted at a time, so that a large picture is in memory twice at most."""


def header(data: bytes, limits: Limits) -> Header:
    """Return size and kind of a picture without decoding its pixels."""
    with opened(data, limits) as image:
        width, height = image.size
        # TIFF reports its size upright; the others as stored.
        if image.format != "TIFF" and orientation(image) in (5, 6, 7, 8):
            height, width = width, height
        return Header(height, width, _channels(image), image.format or "")


def pixels(data: bytes, channels: int, background: Colour, limits: Limits) -> Pixels:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey."""
    with opened(data, limits) as image:
        if image.format in _WHOLE:
            _WHOLE[image.format](data)
        image.load()
        check_pixels(image.height, image.width, limits)  # a GIF's first frame may be larger than its screen
        # Pillow turns a TIFF upright as it loads it, and only that.
        return turned(converted(image, channels, background), 1 if image.format == "TIFF" else orientation(image))


def opened(data: bytes, limits: Limits) -> Image.Image:
    """Open one of the allowed formats; size limits are checked here, before any pixel is decoded."""
    check_bytes(data, limits)
    name = kind(data)
    if not name:
        raise not_a_picture()
    hush()
    try:
        image = Image.open(io.BytesIO(data), formats=(name,))
    except UnidentifiedImageError as error:
        if name in ("BMP", "PPM"):  # two letters are weak evidence
            raise not_a_picture() from error
        raise PictureError(f"the file begins as {name} but is damaged", code="damaged", hint="fetch it again") from error
    check_pixels(image.height, image.width, limits)
    return image


def converted(image: Image.Image, channels: int, background: Colour) -> Pixels:
    """Return a loaded picture as stored, (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or it is grey."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _scaled(image, channels, background)
    step = max(1, _BAND // max(1, image.width))
    if image.height <= step:
        return np.asarray(_plain(image, channels, background))
    out: Pixels | None = None
    for top in range(0, image.height, step):
        band = image.crop((0, top, image.width, min(top + step, image.height)))
        piece = np.asarray(_plain(band, channels, background))
        out = np.empty((image.height, *piece.shape[1:]), np.uint8) if out is None else out
        out[top : top + step] = piece
    assert out is not None
    return out


def _plain(image: Image.Image, channels: int, background: Colour) -> Image.Image:
    """Return a picture of 8 bits as L or RGB."""
    mode = image.mode
    if mode in ("L", "RGB") and "transparency" not in image.info:
        return image.convert("L") if channels == 1 and mode == "RGB" else image
    if mode in ("La", "RGBa"):
        image = image.convert(mode[:-1].upper() + "A")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        under = Image.new("RGBA", image.size, (*background, 255))
        image = Image.alpha_composite(under, image.convert("RGBA"))
        grey = mode in ("LA", "La", "L", "1") and len(set(background)) == 1
        return image.convert("L" if channels == 1 or grey else "RGB")
    if mode == "LAB":
        image = _from_lab(image)
    return image.convert("L" if channels == 1 or mode == "1" else "RGB")


def _from_lab(image: Image.Image) -> Image.Image:
    lab, srgb = ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB")
    converted = ImageCms.profileToProfile(image, lab, srgb, outputMode="RGB")
    assert converted is not None
    return converted


def _scaled(image: Image.Image, channels: int, background: Colour) -> Pixels:
    """Return deep pixels as bytes, (H, W); (H, W, 3) where a transparent value meets a coloured background."""
    values: npt.NDArray[Any] = np.asarray(image)
    made = _deep(values, image)
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return made
    if channels == 1 or len(set(background)) == 1:
        made[values == clear] = np.asarray(Image.new("RGB", (1, 1), background).convert("L"))[0, 0]
        return made
    made = np.repeat(made[:, :, None], 3, axis=2)
    made[values == clear] = background
    return made


def _deep(values: npt.NDArray[Any], image: Image.Image) -> Pixels:
    """Return the values of a picture of more than 8 bits as bytes."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (16,)))
    if 8 < bits < 16:  # a TIFF of 10, 12 or 14 bits
        return in_bytes(values, lambda block: np.asarray(block / (2**bits - 1)))
    return scaled(values.astype(np.uint16) if image.mode.startswith("I;") else values)


def _channels(image: Image.Image) -> int:
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return 4
    return 1 if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;") else 3


def orientation(image: Image.Image) -> int:
    """Return the EXIF orientation that a picture names, in EXIF or XMP; 1 where it names none."""
    if not any(key in image.info for key in _ORIENTED):
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return stored pixels (H, W) or (H, W, 3) upright. Source: EXIF 2.32, table 6; any other number means upright already."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels
