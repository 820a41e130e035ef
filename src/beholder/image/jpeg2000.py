"""JPEG 2000: by Pillow where that is right, else by OpenJPEG itself, the extra `jpeg2000`.

Pillow rounds colour of more than 8 bits up to 256, which is black in a byte: white becomes black. Grey is right, but for values
of few bits, which it moves up without filling: white of 4 bits becomes 240.
"""

from __future__ import annotations

import struct
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from beholder.base.arrays import U8, Values
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.image import pillow
from beholder.image.depth import alpha_of, ceiling, scaled
from beholder.image.integrity import check_jpeg2000, codestream
from beholder.image.kinds import Header
from beholder.image.refusal import no_decoder

_SIXTEEN = 16
_SRGB, _GREY = 16, 17


class _Form(NamedTuple):
    """The components of a codestream. bits: each one's; plain: unsigned, all of one depth and size."""

    bits: tuple[int, ...]
    plain: bool


def header(data: bytes, limits: Limits) -> Header:
    """Return size and kind of a picture without decoding its pixels."""
    return pillow.header(data, limits)


def pixels(data: bytes, channels: int, background: tuple[int, int, int], limits: Limits, bits: int = 0) -> U8:
    """Return a picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey.

    Raises `PictureError`: needs-extra, no-decoder.
    """
    form = _form(data)
    if _by_openjpeg(form):
        return _from_openjpeg(data, form, channels, background, limits, bits)
    if form is None or not form.plain or b"pclr" in data[:4096] or max(form.bits) in (8, _SIXTEEN):
        return pillow.pixels(data, channels, background, limits, bits)
    with pillow.opened(data, limits) as image:
        check_jpeg2000(data)
        image.load()
        filled = Image.fromarray(_filled(np.asarray(image), form.bits[0]))
        return pillow.turned(pillow.converted(filled, channels, background), pillow.orientation(image))


def top(data: bytes, limits: Limits) -> int:
    """Return the largest value of colour or grey of a picture of 16 bits; 0 where there are fewer, which is their range."""
    form = _form(data)
    if form is None or max(form.bits) != _SIXTEEN:
        return 0
    if _by_openjpeg(form):
        values = _values(data, form, limits)
        return int(values[:, :, : values.shape[2] - (values.shape[2] in (2, 4))].max())
    return pillow.top(data, limits)


def _form(data: bytes) -> _Form | None:
    """Return the components, None where they cannot be found. Source: ISO/IEC 15444-1, A.5.1."""
    at = codestream(data)
    if data[at : at + 4] != b"\xff\x4f\xff\x51" or len(data) < at + 42:
        return None
    (count,) = struct.unpack_from(">H", data, at + 40)
    said = [tuple(data[k : k + 3]) for k in range(at + 42, at + 42 + 3 * min(count, 16), 3)]
    if not said or len(said[-1]) < 3:
        return None
    bits = tuple((depth & 0x7F) + 1 for depth, _, _ in said)
    return _Form(bits, len(set(said)) == 1 and said[0][0] < 0x80)


def _by_openjpeg(form: _Form | None) -> bool:
    return form is not None and len(form.bits) > 1 and max(form.bits) > 8


def _filled(values: Values, bits: int) -> U8:
    """Return what Pillow made by moving values of `bits` up, to the top of 8 or 16, with white as white again."""
    room = 8 * values.dtype.itemsize
    if bits > room:
        return scaled(values)
    made: U8 = np.rint((values >> (room - bits)).astype(np.float32) * (255 / ceiling(bits))).astype(np.uint8)
    return made


def _from_openjpeg(
    data: bytes, form: _Form | None, channels: int, background: tuple[int, int, int], limits: Limits, bits: int
) -> U8:
    assert form is not None
    with pillow.opened(data, limits) as image:
        mode, turn = image.mode, pillow.orientation(image)
    if mode not in ("LA", "RGB", "RGBA"):
        raise no_decoder(f"a JPEG 2000 of {len(form.bits)} components of {max(form.bits)} bits")
    values = _values(data, form, limits)
    colours = 1 if mode == "LA" else 3
    depth = bits if form.bits[0] == _SIXTEEN else form.bits[0]
    made = scaled(values[:, :, :colours], depth)
    if len(mode) > colours:
        made = np.concatenate([made, alpha_of(values[:, :, colours : colours + 1], depth)], axis=2)
    return pillow.turned(pillow.converted(Image.fromarray(made), channels, background), turn)


def _values(data: bytes, form: _Form, limits: Limits) -> npt.NDArray[np.uint16]:
    """Return the components' values, (H, W, C), by OpenJPEG. Raises `PictureError`: needs-extra, no-decoder."""
    if not form.plain or max(form.bits) > _SIXTEEN:
        raise no_decoder("a JPEG 2000 whose components differ in depth or size, or have signs or more than 16 bits")
    if _colour_space(data) not in (0, _SRGB, _GREY):
        raise no_decoder("a JPEG 2000 of more than 8 bits in another colour space than sRGB")
    if find_spec("openjpeg") is None:
        text = "a JPEG 2000 of colour of more than 8 bits needs the library pylibjpeg-openjpeg"
        hint = "pip install 'beholder[jpeg2000]', or save the picture as PNG or TIFF of 16 bits"
        raise PictureError(text, code="needs-extra", hint=hint)
    from openjpeg.utils import decode

    pillow.opened(data, limits).close()
    check_jpeg2000(data)
    values: npt.NDArray[np.uint16] = decode(data)
    return values if values.ndim == 3 else values[:, :, None]


def _colour_space(data: bytes) -> int:
    """Return the enumerated colour space that a JP2 names; 0 where it names none. Source: ISO/IEC 15444-1, I.5.3.3."""
    at = data.find(b"colr", 0, codestream(data) or 0)
    return int.from_bytes(data[at + 7 : at + 11], "big") if at >= 0 and data[at + 4 : at + 5] == b"\x01" else 0
