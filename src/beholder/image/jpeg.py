"""The fast path: a baseline JPEG by simplejpeg (libjpeg-turbo), with the same pixels as Pillow."""

from __future__ import annotations

import re
import struct
from typing import NamedTuple

from beholder.base.arrays import U8
from beholder.image.refusal import bad


class Frame(NamedTuple):
    """A JPEG's frame. height, width: as stored; plain: only tables, JFIF and comments stand beside it.

    several: its pixels come in several scans, as those of every progressive JPEG do.
    """

    height: int
    width: int
    components: int
    plain: bool
    several: bool


REDUCED_FROM, REDUCED_TO = 100_000_000, 50_000_000
"""Pixels above which a JPEG is scaled while it is decoded, and how many it may have then."""


def reduction(height: int, width: int) -> int:
    """Return by what both sides of a JPEG are divided while it is decoded: 1 for all but the very large; 2, 4 or 8.

    libjpeg then computes but a part of each block, so neither time nor memory for the whole picture is spent. It follows from
    the file alone, so every verb sees the same pixels.

    >>> reduction(9000, 11000), reduction(9000, 12000), reduction(16320, 12240)
    (1, 2, 2)
    """
    if height * width <= REDUCED_FROM:
        return 1
    return next((by for by in (2, 4) if -(-height // by) * -(-width // by) <= REDUCED_TO), 8)


def pixels_of(data: bytes, components: int) -> U8 | None:
    """Return the pixels of an ordinary JPEG as stored, (H, W) or (H, W, 3); None where simplejpeg refuses it.

    Raises `PictureError` (damaged) where the decoder met bits that mean nothing: what follows them is noise or grey, which
    Pillow passes on without a word.
    """
    from simplejpeg import decode_jpeg

    try:
        pixels: U8 = decode_jpeg(data, "RGB" if components == 3 else "GRAY")
    except ValueError as error:
        if _LOST.search(str(error)):
            raise bad("damaged", str(error)) from error
        return None
    return pixels if components == 3 else pixels[:, :, 0]


_LOST = re.compile(r"bad Huffman code|premature end of data segment|found marker 0x\w+ instead of RST")
"""Warnings of libjpeg after which pixels are wrong; others, of odd metadata or bytes too many, leave them as they were."""

_TABLES = frozenset({0xC4, 0xDB, 0xDD, 0xE0, 0xFE})
"""Segments of a JPEG that say nothing of how its pixels are meant: tables, restart interval, JFIF, comment."""

_SEGMENTS = 4096
"""Most segments before the first scan; a profile of 16 MiB has 256."""


def frame(data: bytes) -> Frame | None:
    """Return the frame of an ordinary JPEG, None for what is not ordinary.

    Ordinary is a baseline, extended or progressive JPEG of 8 bits in one or three components, its segments end to end.
    """
    found: tuple[int, int, int] | None = None
    plain, progressive, at = True, False, 2
    if not data.startswith(b"\xff\xd8"):
        return None
    for _ in range(_SEGMENTS):
        if at + 10 >= len(data):
            return None
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or length < 2:
            return None
        if kind == 0xDA:
            return Frame(*found, plain, progressive or data[at + 4] < found[2]) if found else None
        if kind in (0xC0, 0xC1, 0xC2):
            depth, height, width, components = struct.unpack_from(">BHHB", data, at + 4)
            if found or depth != 8 or components not in (1, 3):
                return None
            found, progressive = (height, width, components), kind == 0xC2
        elif kind not in _TABLES:
            if not 0xE1 <= kind <= 0xEF:
                return None
            plain = False
        at += 2 + length
    return None
