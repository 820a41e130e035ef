"""The only place that opens, orients, converts and resizes a picture: training and serving see the same pixels.

The rules. EXIF orientation is applied, in every format that can carry it. Of an animation the first frame counts.
Palettes, CMYK, YCbCr, LAB and HSV become RGB; transparent pixels are composed on the background; grey is ITU-R 601 luma.
Depth is scaled, never clipped: 16 bits by 1/257, so 65535 becomes 255; wider whole numbers likewise if they lie in 0..65535,
else from their least to their largest value; floats in 0..1 by 255, others from least to largest; NaN and infinity are refused.
Resizing is bilinear with antialiasing (the filter's support grows with the reduction). Truncated files are refused.

The reference is Pillow. Two things are done by others, faster: an ordinary JPEG is decoded by simplejpeg (libjpeg-turbo), to
the same pixels, and colour is resized by torch, to pixels that differ from Pillow's by two levels of 255 at most (one for each
of the two passes that round) and by 0.02 on average. Which road a file takes depends on nothing but the file, and what
simplejpeg refuses, be it a mere warning, Pillow judges. No picture is decoded at reduced size (libjpeg's scaling): that would
be another filter, and other pixels.
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
        pixels = _upright(data, channels, background, limits)
    return _with_channels(pixels, channels)


def load(data: bytes | npt.NDArray[Any], policy: PixelPolicy, *, limits: Limits = LIMITS) -> Pixels:
    """Return a picture as a net is given it: uint8 (policy.channels, policy.height, policy.width).

    data: an encoded file; or uint8 or uint16 or float in 0..1, (H, W), (H, W, C) or (C, H, W) with C of 1, 3 or 4.
    Raises `PictureError` with a reason code: empty, not-a-picture, truncated, damaged, too-many-pixels, too-many-bytes, …
    """
    with _refusing():
        pixels = _fitted(_upright(data, policy.channels, policy.background, limits), policy)
    return np.ascontiguousarray(_with_channels(pixels, policy.channels).transpose(2, 0, 1))


def _fitted(pixels: Pixels, policy: PixelPolicy) -> Pixels:
    """Return pixels (H, W) or (H, W, 3) in the policy's size, unchanged if they have it already."""
    (height, width), size = pixels.shape[:2], (policy.height, policy.width)
    if policy.fit == "squash" or (height, width) == size:
        return _resized(pixels, *size)
    if policy.fit == "crop":
        scale = min(width / size[1], height / size[0])
        left, top = (width - size[1] * scale) / 2, (height - size[0] * scale) / 2
        # Rounding must not push the box over the edge, which Pillow refuses.
        box = (max(left, 0.0), max(top, 0.0), min(left + size[1] * scale, width), min(top + size[0] * scale, height))
        return np.asarray(Image.fromarray(pixels).resize((policy.width, policy.height), Image.Resampling.BILINEAR, box=box))
    scale = min(size[1] / width, size[0] / height)
    tall, wide = min(max(round(height * scale), 1), size[0]), min(max(round(width * scale), 1), size[1])
    top, left = (size[0] - tall) // 2, (size[1] - wide) // 2
    ground = Image.new("RGB", (policy.width, policy.height), policy.background)
    canvas = np.array(ground.convert("L") if pixels.ndim == 2 else ground)
    canvas[top : top + tall, left : left + wide] = _resized(pixels, tall, wide)
    return canvas


def _resized(pixels: Pixels, height: int, width: int) -> Pixels:
    """Return pixels (H, W) or (H, W, 3) in another size, antialiased bilinear.

    Of colour, torch's kernel for bytes makes six times as many as Pillow's; of grey, Pillow makes more.
    """
    if pixels.shape[:2] == (height, width):
        return pixels
    if pixels.ndim == 2:
        return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))
    import torch

    planes = torch.from_numpy(np.require(pixels, requirements=["C", "W"])).permute(2, 0, 1)[None]
    made = torch.nn.functional.interpolate(planes, (height, width), mode="bilinear", antialias=True)
    return made[0].permute(1, 2, 0).numpy()


def _upright(data: bytes | npt.NDArray[Any], channels: int, background: Colour, limits: Limits) -> Pixels:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey."""
    pixels = _jpeg(data, limits) if isinstance(data, bytes) else None
    if pixels is None:
        return np.asarray(_picture(data, channels, background, limits))
    return np.asarray(Image.fromarray(pixels).convert("L")) if channels == 1 and pixels.ndim == 3 else pixels


def _jpeg(data: bytes, limits: Limits) -> Pixels | None:
    """Return the pixels of an ordinary JPEG, upright, (H, W) or (H, W, 3); None where Pillow has to do or refuse it."""
    frame = _frame(data) if len(data) <= limits.bytes else None
    if frame is None:
        return None
    height, width, components, plain = frame
    _check_pixels(height, width, limits)
    turn = 1
    if not plain:  # EXIF, XMP, colour profiles: what they mean, Pillow says
        with _opened(data, limits) as image:
            if image.mode not in ("L", "RGB"):
                return None
            turn = _orientation(image)
    try:
        from simplejpeg import decode_jpeg
    except ImportError:  # there is no wheel for this platform
        return None
    try:
        pixels = decode_jpeg(data, "RGB" if components == 3 else "GRAY")
    except ValueError:
        return None
    return _turned(pixels if components == 3 else pixels[:, :, 0], turn)


_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xFE})
"""Segments of a JPEG that say nothing of how its pixels are meant: tables, restart interval, JFIF, comment."""


def _frame(data: bytes) -> tuple[int, int, int, bool] | None:
    """Return height and width as stored, components, and whether only `_TABLES` are there; None for what is not ordinary.

    Ordinary is a baseline, extended or progressive JPEG of 8 bits in one or three components, its segments end to end.
    """
    found: tuple[int, int, int] | None = None
    plain, at = True, 2
    if not data.startswith(b"\xff\xd8"):
        return None
    while at + 10 < len(data):
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or length < 2:
            return None
        if kind == 0xDA:
            return (*found, plain) if found else None
        if kind in (0xC0, 0xC1, 0xC2):
            depth, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            if found or depth != 8 or components not in (1, 3):
                return None
            found = (height, width, components)
        elif kind not in _TABLES:
            if not 0xE1 <= kind <= 0xEF:
                return None
            plain = False
        at += 2 + length
    return None


def _turned(pixels: Pixels, orientation: int) -> Pixels:
    """Return stored pixels (H, W) or (H, W, 3) upright. Source: EXIF 2.32, table 6; any other number means upright already."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


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
