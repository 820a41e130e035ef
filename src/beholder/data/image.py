"""The only place that opens, orients, converts and resizes a picture: training and serving see the same pixels.

The rules. EXIF orientation is applied, in every format that can carry it. Of an animation the first frame counts.
Palettes, CMYK, YCbCr, LAB and HSV become RGB; transparent pixels are composed on the background; grey is ITU-R 601 luma.
Depth is scaled, never clipped: 16 bits by 1/257, so 65535 becomes 255; wider whole numbers likewise if they lie in 0..65535,
else from their least to their largest value; floats in 0..1 by 255, others from least to largest; NaN and infinity are refused.
Resizing is bilinear with antialiasing (the filter's support grows with the reduction). Truncated files are refused.
"""

from __future__ import annotations

import io
import re
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, ImageOps, UnidentifiedImageError

from beholder.base.errors import PictureError
from beholder.base.records import PixelPolicy
from beholder.data.limits import LIMITS, Limits

Pixels = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"....ftyp(avi[fs]|mi[fs]1|msf1)", re.DOTALL), "AVIF"),
    (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), "JPEG2000"),
    (re.compile(rb"P[1-6fy]\s|P[fF]\s"), "PPM"),
)
"""The formats that are opened, known by their first bytes; Pillow's other decoders are never reached."""

_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say. height, width: upright; channels: 1 grey, 3 colour, 4 with transparency."""

    height: int
    width: int
    channels: int
    format: str


def header(data: bytes, *, limits: Limits = LIMITS) -> Header:
    """Return size and kind of a picture without decoding its pixels. Raises `PictureError`."""
    with _refusing(), _opened(data, limits) as image:
        width, height = image.size
        # TIFF reports its size upright; the others as stored.
        if image.format != "TIFF" and _orientation(image) in (5, 6, 7, 8):
            height, width = width, height
        return Header(height, width, _channels(image), image.format or "")


def header_of_array(array: npt.NDArray[Any]) -> Header:
    """Return size and kind of a picture that is an array. Raises `PictureError` (bad-array)."""
    with _refusing():
        array = _grid(array)
        return Header(array.shape[0], array.shape[1], 1 if array.ndim == 2 else array.shape[2], "array")


def decode(
    data: bytes | npt.NDArray[Any], *, channels: int, background: Colour = (255, 255, 255), limits: Limits = LIMITS
) -> Pixels:
    """Return a picture upright in its own size: uint8 (H, W, channels), channels 1 or 3.

    data: an encoded file, or an array as `load` takes it. Raises `PictureError`.
    """
    with _refusing():
        pixels = np.asarray(_picture(data, channels, background, limits))
    return _with_channels(pixels, channels)


def load(data: bytes | npt.NDArray[Any], policy: PixelPolicy, *, limits: Limits = LIMITS) -> Pixels:
    """Return a picture as a net is given it: uint8 (policy.channels, policy.height, policy.width).

    data: an encoded file; or uint8 or uint16 or float in 0..1, (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4.
    Raises `PictureError` with a reason code: empty, not-a-picture, truncated, damaged, too-many-pixels, too-many-bytes, …
    """
    with _refusing():
        image = _picture(data, policy.channels, policy.background, limits)
        pixels = np.asarray(resize(image, policy))
    return np.ascontiguousarray(_with_channels(pixels, policy.channels).transpose(2, 0, 1))


def resize(image: Image.Image, policy: PixelPolicy) -> Image.Image:
    """Return an L or RGB picture in the policy's size, antialiased bilinear; unchanged if it has that size already."""
    size = (policy.width, policy.height)
    width, height = image.size
    if image.size == size:
        return image
    if policy.fit == "squash":
        return image.resize(size, Image.Resampling.BILINEAR)
    if policy.fit == "crop":
        scale = min(width / size[0], height / size[1])
        left, top = (width - size[0] * scale) / 2, (height - size[1] * scale) / 2
        # Rounding must not push the box over the edge, which Pillow refuses.
        box = (max(left, 0.0), max(top, 0.0), min(left + size[0] * scale, width), min(top + size[1] * scale, height))
        return image.resize(size, Image.Resampling.BILINEAR, box=box)
    scale = min(size[0] / width, size[1] / height)
    inner = (min(max(round(width * scale), 1), size[0]), min(max(round(height * scale), 1), size[1]))
    canvas = Image.new("RGB", size, policy.background)
    canvas = canvas if image.mode == "RGB" else canvas.convert(image.mode)
    canvas.paste(image.resize(inner, Image.Resampling.BILINEAR), ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2))
    return canvas


def _picture(data: bytes | npt.NDArray[Any], channels: int, background: Colour, limits: Limits) -> Image.Image:
    """Return an upright L or RGB picture; L only where `channels` is 1 or the picture is grey."""
    if not isinstance(data, bytes):
        return _converted(_from_array(data, limits), channels, background)
    with _opened(data, limits) as image:
        image.load()
        # Pillow turns a TIFF upright as it loads it, and only that.
        if image.format != "TIFF" and any(key in image.info for key in _ORIENTED):
            image = ImageOps.exif_transpose(image)
        return _converted(image, channels, background)


def _converted(image: Image.Image, channels: int, background: Colour) -> Image.Image:
    mode = image.mode
    if mode in ("L", "RGB") and "transparency" not in image.info:
        return image.convert("L") if channels == 1 and mode == "RGB" else image
    if mode in ("I", "F") or mode.startswith("I;"):
        return Image.fromarray(_scaled(image))
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


def _scaled(image: Image.Image) -> Pixels:
    """Return deep pixels as bytes, (H, W)."""
    values = np.asarray(image)
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(_BITS_PER_SAMPLE, (16,)))
    if 8 < bits < 16:  # a TIFF of 10, 12 or 14 bits
        return _bytes(np.asarray(values / (2**bits - 1)))
    return scaled(values.astype(np.uint16) if image.mode.startswith("I;") else values)


def scaled(values: npt.NDArray[Any]) -> Pixels:
    """Return values of any numeric type as bytes of the same shape, by the rules at the top of this file."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == bool:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise PictureError("the picture holds NaN or infinite values", code="not-finite", hint="leave it out, or mend it")
    low, high = values.min(), values.max()
    if values.dtype.kind in "iu" and low >= 0 and high <= 65535:
        return _bytes(values.astype(np.float32) / 65535)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return _bytes(values)
    span = float(high) - float(low)
    return _bytes((values.astype(np.float64) - float(low)) / (span or 1.0))


def _bytes(values: npt.NDArray[Any]) -> Pixels:
    return np.asarray(np.rint(values * 255), np.uint8)


def _from_array(array: npt.NDArray[Any], limits: Limits) -> Image.Image:
    array = _grid(array)
    _check_pixels(array.shape[0], array.shape[1], limits)
    return Image.fromarray(np.ascontiguousarray(scaled(array)))


def _grid(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
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


def _with_channels(pixels: Pixels, channels: int) -> Pixels:
    if pixels.ndim == 2:
        return np.repeat(pixels[:, :, None], channels, axis=2) if channels > 1 else pixels[:, :, None]
    return pixels


def _channels(image: Image.Image) -> int:
    if "transparency" in image.info or image.mode in ("LA", "La", "PA", "RGBA", "RGBa"):
        return 4
    return 1 if image.mode in ("1", "L", "I", "F") or image.mode.startswith("I;") else 3


def _orientation(image: Image.Image) -> int:
    if not any(key in image.info for key in _ORIENTED):
        return 1
    value = image.getexif().get(_ORIENTATION, 1)
    return value if isinstance(value, int) else 1


def _opened(data: bytes, limits: Limits) -> Image.Image:
    """Open one of the allowed formats; size limits are checked here, before any pixel is decoded."""
    if not data:
        raise PictureError("the file is empty", code="empty", hint="fetch it again, or leave it out")
    if len(data) > limits.bytes:
        raise PictureError(
            f"the file has {len(data):,} bytes, more than the limit of {limits.bytes:,}",
            code="too-many-bytes",
            hint="make the picture smaller, or raise Limits.bytes",
        )
    name = next((name for magic, name in _MAGIC if magic.match(data)), None)
    if name is None:
        raise _not_a_picture()
    _hush()
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "MPO") if name == "JPEG" else (name,))
    except UnidentifiedImageError as error:
        if name in ("BMP", "PPM", "AVIF"):  # two letters are weak evidence, and HEIC begins like AVIF
            raise _not_a_picture() from error
        raise PictureError(f"the file begins as {name} but is damaged", code="damaged", hint="fetch it again") from error
    _check_pixels(image.height, image.width, limits)
    return image


def _not_a_picture() -> PictureError:
    return PictureError(
        "the file is not a picture of a known format",
        code="not-a-picture",
        hint="known: JPEG, PNG, WebP, GIF, BMP, TIFF, PPM, AVIF, JPEG 2000",
    )


def _check_pixels(height: int, width: int, limits: Limits) -> None:
    if height * width > limits.pixels:
        raise PictureError(
            f"the picture has {width:,} × {height:,} pixels, more than the limit of {limits.pixels:,}",
            code="too-many-pixels",
            hint="make it smaller, or raise Limits.pixels",
        )
    if height * width == 0:
        raise PictureError(f"the picture has {width} × {height} pixels", code="damaged", hint="fetch it again")


_TRUNCATED = re.compile(r"truncat|unexpected end|not enough|broken data stream|too short|end of file|incomplete", re.IGNORECASE)

_TOO_LARGE = (Image.DecompressionBombError, MemoryError, OverflowError)


@contextmanager
def _refusing() -> Iterator[None]:
    """Turn whatever Pillow raises at a bad file into a `PictureError` with a reason code."""
    try:
        yield
    except PictureError:
        raise
    except _TOO_LARGE as error:
        raise PictureError(f"the picture is too large: {error}", code="too-many-pixels", hint="make it smaller") from error
    except Exception as error:  # Pillow's decoders raise nearly every class there is
        ends = isinstance(error, (EOFError, struct.error)) or _TRUNCATED.search(str(error))
        code = "truncated" if ends else "damaged"
        raise PictureError(
            f"the picture is {code}: {error or type(error).__name__}", code=code, hint="fetch it again, or leave it out"
        ) from error


def _hush() -> None:
    """Keep Pillow's own warnings (odd metadata) off the user's terminal: what matters here is raised."""
    if not any(rule[0] == "ignore" and rule[3] == _PILLOW for rule in warnings.filters):
        warnings.filterwarnings("ignore", module=_PILLOW.pattern)


_PILLOW = re.compile(r"PIL\.")
