"""The reference path: the pixels of a file as Pillow decodes them, by the rules of `image`."""

from __future__ import annotations

import io
import math
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms, UnidentifiedImageError

from beholder.base.arrays import U8, Bools, Values
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.image.depth import alpha_of, scaled
from beholder.image.integrity import check_jpeg2000, check_png
from beholder.image.jpeg import reduction
from beholder.image.kinds import Header, kind
from beholder.image.refusal import check_bytes, check_pixels, hush, not_a_picture

Colour = tuple[int, int, int]

_ORIENTED = ("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif")
_ORIENTATION = 0x0112
_BITS_PER_SAMPLE = 258

_WHOLE = {"PNG": check_png, "JPEG2000": check_jpeg2000}

WHOLE = 8
"""How many times the pixels that a picture may have a JPEG may have that is scaled while it is decoded."""

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


def pixels(data: bytes, channels: int, background: Colour, limits: Limits, bits: int = 0) -> U8:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey.

    bits: as `depth.scaled` takes it
    """
    with opened(data, limits) as image:
        if image.format in _WHOLE:
            _WHOLE[image.format](data)
        if _deep_colour(data, image):
            return turned(_from_deep_colour(data, image, channels, background, limits, bits), orientation(image))
        bits = _SPREAD if _spread(image) else bits
        by = reduction(image.height, image.width) if kind(data) == "JPEG" else 1
        if by > 1:
            image.draft(image.mode, (image.width // by, image.height // by))
        image.load()
        check_pixels(image.height, image.width, limits)  # a GIF's first frame may be larger than its screen
        if image.format == "PNG" and image.mode == "L" and data[24] < 8 and isinstance(image.info.get("transparency"), int):
            image.info["transparency"] *= 255 // (2 ** data[24] - 1)  # Pillow makes bytes of the pixels, and leaves this
        # Pillow turns a TIFF upright as it loads it, and only that.
        return turned(converted(image, channels, background, bits), 1 if image.format == "TIFF" else orientation(image))


def top(data: bytes, limits: Limits) -> int:
    """Return the largest value of colour or grey where a picture holds whole numbers of more than 8 bits; else 0."""
    with opened(data, limits) as image:
        if _deep_colour(data, image):
            return int(_sixteen(data, image, limits)[:, :, : _colours(data, image)].max())
        if image.mode != "I" and not image.mode.startswith("I;"):
            return 0
        if _spread(image):
            return 0
        image.load()
        return 0 if _declared(image) else max(int(_stored(image).max()), 0)


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
    by = reduction(image.height, image.width) if name == "JPEG" else 1
    check_pixels(-(-image.height // by), -(-image.width // by), limits)
    if by > 1:  # what is left out is read all the same
        check_pixels(image.height, image.width, replace(limits, pixels=WHOLE * limits.pixels))
    return image


def converted(image: Image.Image, channels: int, background: Colour, bits: int = 0) -> U8:
    """Return a loaded picture as stored, (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or it is grey."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return _scaled(image, channels, background, bits)
    step = max(1, _BAND // max(1, image.width))
    if image.height <= step:
        return np.asarray(_plain(image, channels, background))
    out: U8 | None = None
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


def _scaled(image: Image.Image, channels: int, background: Colour, bits: int) -> U8:
    """Return deep pixels as bytes, (H, W); (H, W, 3) where a transparent value meets a coloured background."""
    values = _stored(image)
    made = scaled(values, _declared(image) or bits)
    clear = image.info.get("transparency")
    return on_background(made, values == clear, channels, background) if isinstance(clear, int) else made


def on_background(made: U8, clear: Bools, channels: int, background: Colour) -> U8:
    """Return bytes (H, W) or (H, W, 3) with the background where `clear`; grey ones as (H, W, 3) where that has a colour."""
    if made.ndim == 2 and channels > 1 and len(set(background)) > 1:
        made = np.repeat(made[:, :, None], 3, axis=2)
    made = np.array(made)
    made[clear] = np.asarray(Image.new("RGB", (1, 1), background).convert("L"))[0, 0] if made.ndim == 2 else background
    return made


def _stored(image: Image.Image) -> Values:
    """Return the values of a loaded picture of more than 8 bits in the type that the file has them in."""
    values: Values = np.asarray(image)
    if image.mode.startswith("I;") or (image.mode == "I" and image.format == "PPM"):
        return values.astype(np.uint16)
    return values.astype(np.int16) if max(_bits_per_sample(image)) == 16 and image.mode == "I" else values


def _declared(image: Image.Image) -> int:
    """Return the bits of a TIFF that says it has 9 to 15; else 0."""
    bits = max(_bits_per_sample(image))
    return bits if 8 < bits < 16 else 0


def _bits_per_sample(image: Image.Image) -> tuple[int, ...]:
    return tuple(getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE, (0,)))


_COLOURS = {2: 3, 4: 1, 6: 3}
"""Colour types of PNG of which Pillow keeps the upper byte where they have 16 bits: channels of colour or grey."""


def _deep_colour(data: bytes, image: Image.Image) -> bool:
    """Return True for a PNG or PPM of 16-bit colour, of which Pillow makes bytes."""
    if image.format == "PPM":
        return data[:2] == b"P6" and _tile(image).args[-1] == _FULL
    return image.format == "PNG" and data[24] == 16 and data[25] in _COLOURS


def _tile(image: Image.Image) -> Any:
    """Return where and how a PPM's values are stored, as Pillow found it."""
    return image.tile[0]  # type: ignore[attr-defined]


_SPREAD = 16
"""Bits of the values that Pillow makes of a PPM that says its range."""


def _spread(image: Image.Image) -> bool:
    """Return True for a picture not yet loaded whose values Pillow spreads over 16 bits: a PPM of 256 to 65,534."""
    said = _tile(image).args[-1] if image.format == "PPM" and image.mode == "I" else 0
    return isinstance(said, int) and 0 < said < _FULL


_FULL = 65535
"""Largest value of a PPM that does not say its range; of others Pillow scales the values by what they say."""


def _colours(data: bytes, image: Image.Image) -> int:
    return 3 if image.format == "PPM" else _COLOURS[data[25]]


def _sixteen(data: bytes, image: Image.Image, limits: Limits) -> npt.NDArray[np.uint16]:
    """Return the values of a PNG or PPM of 16-bit colour, or grey with transparency: (H, W, 2 to 4).

    Pillow gives a byte of each value at a time: the upper ones, and the lower ones where it is told of the other byte order.
    Two channels it can be told to be four. A PPM holds plain values.
    """
    if image.format == "PPM":
        shape = (image.height, image.width, 3)
        return np.frombuffer(data, ">u2", math.prod(shape), _tile(image).offset).reshape(shape).astype(np.uint16)
    planes: list[U8] = []
    for order in "B" if data[25] == 4 else "BL":
        with opened(data, limits) as part:
            if data[25] == 4:
                part._mode = "RGBA"
            raw = part.mode if data[25] == 4 else f"{part.mode};16{order}"
            part.tile = [tile._replace(args=raw) for tile in part.tile]  # type: ignore[attr-defined]
            part.load()
            planes.append(np.asarray(part))
    if data[25] == 4:
        planes = [planes[0][:, :, 0::2], planes[0][:, :, 1::2]]
    return planes[0].astype(np.uint16) << np.uint16(8) | planes[1].astype(np.uint16)


def _from_deep_colour(data: bytes, image: Image.Image, channels: int, background: Colour, limits: Limits, bits: int) -> U8:
    """Return the pixels of 16-bit colour as stored, (H, W) or (H, W, 3)."""
    values = _sixteen(data, image, limits)
    colours, clear = _colours(data, image), image.info.get("transparency")
    made = scaled(values[:, :, :colours], bits)
    if values.shape[2] > colours:
        made = np.concatenate([made, alpha_of(values[:, :, colours:], bits)], axis=2)
    made = converted(Image.fromarray(made), channels, background)
    if isinstance(clear, tuple):
        made = on_background(made, (values == np.array(clear, np.uint16)).all(axis=2), channels, background)
    return made


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


def turned(pixels: U8, orientation: int) -> U8:
    """Return stored pixels (H, W) or (H, W, 3) upright. Source: EXIF 2.32, table 6; any other number means upright already."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels[::-1] if orientation in (3, 4, 7, 8) else pixels


def array(image: Image.Image) -> Values:
    """Return a picture that Pillow holds as an upright array, which `image.load` takes to the pixels of its file."""
    image.load()
    turn = 1 if image.format == "TIFF" else orientation(image)
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        image = (image.convert(f"{image.mode[:-1].upper()}A") if image.mode.endswith("a") else image).convert("RGBA")
    elif image.mode == "1":
        image = image.convert("L")
    elif image.mode == "LAB":
        image = _from_lab(image)
    elif image.mode not in ("L", "RGB", "I", "F") and not image.mode.startswith("I;"):
        image = image.convert("RGB")
    values: Values = np.asarray(image)
    if image.mode.startswith("I"):
        values = values.astype(np.uint16) if values.min() >= 0 and values.max() <= 65535 else scaled(values)
    return turned(values, turn)
