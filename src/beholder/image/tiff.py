"""TIFF: the deep forms that Pillow refuses or gets wrong are read here, all others by Pillow.

Read here are whole numbers and floats of more than 8 bits, and signed bytes: white-is-zero, colour, several planes,
transparency, CMYK, either byte order; strips or tiles; plain, or by Deflate, LZW, PackBits, LZMA or Zstandard, with any
predictor. Pillow gives colour of 16 bits only its upper bytes, and those of planes as noise; it does not invert deep
white-is-zero, and takes uint32 and int8 for what they are not. Source: TIFF 6.0 (1992), and its supplements.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from beholder.base.arrays import U8, Values
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.image import pillow
from beholder.image.depth import alpha_of, scaled
from beholder.image.kinds import Header
from beholder.image.refusal import bad, check_bytes, check_pixels, no_decoder

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB, _CMYK = 0, 1, 2, 5
_COLOURS = {_WHITE_IS_ZERO: 1, _BLACK_IS_ZERO: 1, _RGB: 3, _CMYK: 4}
_KINDS = {1: "u", 2: "i", 3: "f"}
_PLAIN, _DEFLATE, _BY_LIBTIFF = 1, (8, 32946), (5, 32773, 34925, 50000)
_UNREADABLE = (KeyError, TypeError, ValueError, IndexError, OverflowError, OSError, SyntaxError, struct.error)


@dataclass(frozen=True)
class _Form:
    """How a TIFF's first picture is stored.

    samples: a pixel; colours: of them colour or grey; alpha: 0 none, 1 premultiplied, 2 not; kind: u, i or f
    rows, columns: of a strip or tile; starts, sizes: of their bytes, plane by plane where `planes`
    """

    height: int
    width: int
    samples: int
    colours: int
    alpha: int
    bits: int
    kind: str
    order: str
    photometric: int
    orientation: int
    compression: int
    predictor: int
    planes: bool
    tiled: bool
    rows: int
    columns: int
    starts: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Return the type of a value as stored; of packed bits, the type that holds them."""
        return np.dtype(f"{self.order}{self.kind}{-(-self.bits // 8)}")

    @property
    def says_its_range(self) -> bool:
        """Return True for values of 9 to 15 bits: no set has to be asked what they use."""
        return 8 < self.bits < 16

    def by_pillow(self) -> bool:
        """Return True for what Pillow reads right: grey that counts from black, in its own types."""
        swapped = self.order == ">" and self.compression != _PLAIN
        known = (self.kind, self.bits) in {("u", 12), ("u", 16)} or (
            (self.kind, self.bits) in {("i", 16), ("i", 32), ("f", 32)} and not swapped
        )
        return known and self.samples == 1 and self.photometric == _BLACK_IS_ZERO


def header(data: bytes, limits: Limits) -> Header:
    """Return size and kind of a picture without decoding its pixels."""
    form = _checked(data, limits)
    if form is None:
        with _telling(data):
            return pillow.header(data, limits)
    height, width = (form.width, form.height) if form.orientation in (5, 6, 7, 8) else (form.height, form.width)
    return Header(height, width, 4 if form.alpha else 1 if form.colours == 1 else 3, "TIFF")


def pixels(data: bytes, channels: int, background: tuple[int, int, int], limits: Limits, bits: int = 0) -> U8:
    """Return an upright picture (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey.

    Raises `PictureError` (no-decoder) for a form that neither Pillow nor this file can show.
    """
    form = _checked(data, limits)
    if form is None:
        with _telling(data):
            return pillow.pixels(data, channels, background, limits, bits)
    values = _values(data, form)
    colours = values[:, :, : form.colours]
    made = scaled(colours, form.bits if form.says_its_range else bits)
    made = 255 - made if form.photometric == _WHITE_IS_ZERO else made
    mode = {1: "L", 3: "RGB", 4: "CMYK"}[form.colours]
    if form.alpha:
        alpha = alpha_of(values[:, :, form.colours :], form.bits if form.says_its_range else bits)
        made, mode = np.concatenate([made, alpha], axis=2), mode + ("a" if form.alpha == 1 else "A")
    size = (form.width, form.height)
    image = Image.frombytes(mode, size, np.ascontiguousarray(made).tobytes())
    return pillow.turned(pillow.converted(image, channels, background), form.orientation)


def top(data: bytes, limits: Limits) -> int:
    """Return the largest value of colour or grey where a picture holds whole numbers of more than 8 bits; else 0."""
    form = _checked(data, limits)
    if form is None:
        with _telling(data):
            return pillow.top(data, limits)
    if form.kind == "f" or form.bits == 8 or form.says_its_range:
        return 0
    return int(_values(data, form)[:, :, : form.colours].max())


def _checked(data: bytes, limits: Limits) -> _Form | None:
    """Return the form of a TIFF that is read here, None for one that is Pillow's; its size is within limits."""
    check_bytes(data, limits)
    try:
        form = _form(data)
    except _UNREADABLE:  # let Pillow say what is wrong
        return None
    if form is None or form.by_pillow():
        return None
    check_pixels(form.height, form.width, limits)
    return form


@contextmanager
def _telling(data: bytes) -> Iterator[None]:
    """Say of a form that Pillow does not know that it is none that is read, where the tags can be read at all."""
    try:
        yield
    except PictureError as error:
        if isinstance(error.__cause__, UnidentifiedImageError):
            _refuse(_tags(data))
        raise


def _refuse(tags: Any) -> None:
    try:
        bits, photometric = tags.get(258, (1,)), tags.get(262, 0)
        said = f"{tags.get(277, len(bits))} channels of {'/'.join(map(str, sorted(set(bits))))} bits, photometric {photometric}"
        complete = bool(tags[256] and tags[257] and (273 in tags or 324 in tags))
    except _UNREADABLE:
        return
    if complete:
        raise no_decoder(f"a TIFF of {said}, format {tags.get(339, (1,))[0]}, compression {tags.get(259, 1)}")


def _tags(data: bytes) -> Any:
    """Return the tags of the first picture."""
    file = io.BytesIO(data)
    head = file.read(16 if data[2:3] == b"\x2b" or data[3:4] == b"\x2b" else 8)
    tags = TiffImagePlugin.ImageFileDirectory_v2(head)
    file.seek(tags.next)
    tags.load(file)
    return tags


def _form(data: bytes) -> _Form | None:
    """Return how the first picture is stored, None where it is no deep picture of a form that is known here."""
    tags = _tags(data)
    samples = tags.get(277, 1)
    bits, kinds = set(tags.get(258, (1,))), set(tags.get(339, (1,)))
    # A file that does not say is read as libtiff does: one channel is brightness, three and more are colours.
    photometric, compression = tags.get(262, _RGB if samples >= 3 else _BLACK_IS_ZERO), tags.get(259, _PLAIN)
    colours, kind = _COLOURS.get(photometric, 0), _KINDS.get(min(kinds), "")
    extra = tags.get(338, ())
    if len(bits) != 1 or len(kinds) != 1 or not kind or not colours or tags.get(266, 1) != 1:
        return None
    depth = bits.pop()
    deep = depth in ((16, 32, 64) if kind == "f" else (16, 32, 64) if kind == "u" else (8, 16, 32, 64))
    packed = kind == "u" and 8 < depth < 16 and tags.get(317, 1) == 1
    if not (deep or packed) or compression not in (_PLAIN, *_DEFLATE, *_BY_LIBTIFF):
        return None
    alpha = _alpha_of(photometric, samples - colours, extra)
    if alpha is None:
        return None
    tiled = 324 in tags
    height, width, planes = tags[257], tags[256], tags.get(284, 1) == 2 and samples > 1
    rows, columns = (tags[323], tags[322]) if tiled else (min(tags.get(278, height), height), width)
    starts = tags[324 if tiled else 273]
    sizes = tags.get(325 if tiled else 279, ())
    if min(height, width, rows, columns, samples) <= 0 or (not sizes and compression != _PLAIN):
        return None
    return _Form(
        height, width, samples, colours, alpha, depth, kind, "<" if data[:1] == b"I" else ">", photometric,
        tags.get(274, 1), compression, tags.get(317, 1), planes, tiled, rows, columns, tuple(starts), tuple(sizes),
    )  # fmt: skip


def _alpha_of(photometric: int, beyond: int, extra: tuple[int, ...]) -> int | None:
    """Return what the first sample beyond colour is: 0 nothing, 1 or 2 transparency; None where it cannot be known."""
    if beyond <= 0:
        return 0 if beyond == 0 else None
    if photometric == _RGB:  # the fourth sample of a file that does not say is transparency, as in every other program
        return (extra[0] if extra and extra[0] in (0, 1, 2) else 2) if beyond <= 3 else None
    if photometric == _CMYK or beyond > 1 or not extra or extra[0] not in (0, 1, 2):
        return None
    return int(extra[0])


def _values(data: bytes, form: _Form) -> Values:
    """Return the stored values of colour and transparency, (H, W, C), in the machine's byte order.

    Raises `PictureError` (truncated, damaged).
    """
    kept = form.colours + (form.alpha > 0)
    down, across = -(-form.height // form.rows), -(-form.width // form.columns)
    blocks = down * across * (kept if form.planes else 1)
    if len(form.starts) < blocks:
        raise bad("truncated", f"it names {len(form.starts)} of {blocks} strips or tiles")
    out = np.empty((form.height, form.width, kept), form.dtype.newbyteorder("="))
    for k in range(blocks):
        plane, place = divmod(k, down * across)
        top, left = place // across * form.rows, place % across * form.columns
        rows = form.rows if form.tiled else min(form.rows, form.height - top)
        block = _block(data, form, k, rows, 1 if form.planes else form.samples)
        channels = slice(plane, plane + 1) if form.planes else slice(None)
        out[top : top + rows, left : left + form.columns, channels] = block[: form.height - top, : form.width - left, :kept]
    return out


def _block(data: bytes, form: _Form, k: int, rows: int, depth: int) -> Values:
    """Return the values of one strip or tile, (rows, columns, depth)."""
    line = -(-form.columns * depth * form.bits // 8)
    start = form.starts[k]
    stored = data[start : start + form.sizes[k]] if k < len(form.sizes) and form.compression != _PLAIN else data[start:]
    stored = stored[: rows * line] if form.compression == _PLAIN else stored
    raw = _inflated(stored, form.compression, rows, line)
    if len(raw) < rows * line:
        raise bad("truncated", f"strip or tile {k} holds {len(raw):,} of {rows * line:,} bytes")
    lines = np.frombuffer(raw, np.uint8, rows * line).reshape(rows, line)
    shape = (rows, form.columns, depth)
    if form.bits % 8:
        return _unpacked(lines, form.columns * depth, form.bits).reshape(shape)
    if form.predictor == 3:
        return _from_bytes_apart(lines, depth, form.dtype).reshape(shape)
    values = lines.view(form.dtype).reshape(shape)
    if form.predictor != 2:
        return values
    whole = np.dtype(f"u{form.dtype.itemsize}")
    steps = values.astype(form.dtype.newbyteorder("=")).view(whole)
    return np.cumsum(steps, axis=1, dtype=whole).view(form.dtype.newbyteorder("="))


def _inflated(stored: bytes, compression: int, rows: int, line: int) -> bytes:
    """Return the bytes of a strip or tile; what libtiff must unpack, Pillow is given as a grey picture of 8 bits."""
    if compression == _PLAIN:
        return stored
    if compression in _DEFLATE:
        return zlib.decompressobj().decompress(stored, rows * line)
    tags = [
        (256, line),
        (257, rows),
        (258, 8),
        (259, compression),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, rows),
        (279, len(stored)),
    ]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = 8 + len(stored) + len(stored) % 2
    file = (
        b"II*\0" + struct.pack("<I", start) + stored.ljust(start - 8, b"\0") + struct.pack("<H", len(tags)) + body + b"\0\0\0\0"
    )
    with Image.open(io.BytesIO(file), formats=("TIFF",)) as image:
        image.load()
        return image.tobytes()


def _unpacked(lines: U8, count: int, bits: int) -> Values:
    """Return (rows, count) of uint16 from lines in which each value takes `bits` bits, the highest first."""
    ones = np.unpackbits(lines, axis=1)[:, : count * bits].reshape(len(lines), count, bits)
    return ones.astype(np.uint16) @ (1 << np.arange(bits, dtype=np.uint16)[::-1])


def _from_bytes_apart(lines: U8, depth: int, dtype: np.dtype[Any]) -> Values:
    """Return floats of predictor 3: bytes as differences, the highest bytes of a row first. Source: TIFF Technical Note 3."""
    rows, line = lines.shape
    summed = np.cumsum(lines.reshape(rows, line // depth, depth), axis=1, dtype=np.uint8)
    apart = summed.reshape(rows, dtype.itemsize, line // dtype.itemsize)
    return np.ascontiguousarray(apart.transpose(0, 2, 1)).view(dtype.newbyteorder(">"))
