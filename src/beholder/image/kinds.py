"""The formats that are opened, known by their first bytes, and where each is decoded: here, or apart in a child process."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass

from beholder.image.jpeg import frame

_MAGIC: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (re.compile(rb"\xff\xd8\xff"), "JPEG"),
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "PNG"),
    (re.compile(rb"GIF8[79]a"), "GIF"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "WEBP"),
    (re.compile(rb"II[*+]\0|MM\0[*+]"), "TIFF"),
    (re.compile(rb"BM"), "BMP"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "AVIF"),
    (re.compile(rb"....ftyp(he[iv][cmsx]|mi[fs]1|msf1)", re.DOTALL), "HEIF"),
    (re.compile(rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51"), "JPEG2000"),
    (re.compile(rb"P[1-6fy]\s|P[fF]\s"), "PPM"),
    (re.compile(rb".{128}DICM", re.DOTALL), "DICOM"),
)


@dataclass(frozen=True)
class Header:
    """What the first bytes of a file say. height, width: upright; channels: 1 grey, 3 colour, 4 with transparency."""

    height: int
    width: int
    channels: int
    format: str


def kind(data: bytes) -> str:
    """Return the format's name as Pillow spells it, HEIF or DICOM; "" for a file that begins as none does."""
    name = next((name for magic, name in _MAGIC if magic.match(data)), "")
    if name == "HEIF" and _brands(data) & {b"avif", b"avis"}:  # a general first brand, AVIF among the compatible ones
        return "AVIF"
    return name


def _brands(data: bytes) -> set[bytes]:
    """Return the brands that a file of ISO boxes names in its first box, at most 64."""
    size = min(int.from_bytes(data[:4], "big"), 16 + 64 * 4)
    return {data[k : k + 4] for k in (8, *range(16, size, 4))}


_HERE_PIXELS, _HERE_BYTES, _HERE_JPEG_BYTES, _HERE_SCANS = 32_000_000, 8 << 20, 64 << 20, 32
"""What is decoded in this process takes at most about 300 MB, and a second: larger pictures are decoded apart.

Bytes are bounded because a file may hold millions of empty blocks, scans because each visits all pixels of a progressive JPEG.
"""


def ordinary(data: bytes, name: str) -> bool:
    """Return True for a file of format `name` that is decoded in this process.

    These are JPEG, PNG, GIF, BMP and PPM of sensible size in their usual forms: their decoders are small or the most tested
    there are, and tests/fuzz finds nothing in them. All else (TIFF, WebP, AVIF, HEIF, JPEG 2000, DICOM, odd JPEGs) goes apart.
    """
    if name == "JPEG":
        found = frame(data) if len(data) <= _HERE_JPEG_BYTES else None
        if found is None or found.height * found.width > _HERE_PIXELS:
            return False
        return not found.several or data.count(b"\xff\xda") <= _HERE_SCANS
    if len(data) > _HERE_BYTES or len(data) < 54:
        return False
    height, width = _size(data, name)
    deep = name == "PNG" and data[24] == 16
    return 0 < height * width <= _HERE_PIXELS // (4 if deep else 1)


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Return height and width as the first bytes of a plain file say; (0, 0) where it is none."""
    if name == "PNG" and data[12:16] == b"IHDR":
        width, height = struct.unpack_from(">II", data, 16)
        return height, width
    if name == "GIF":
        width, height = struct.unpack_from("<HH", data, 6)
        return height, width
    if name == "BMP" and data[14:18] in (b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0") and data[30] in (0, 3):
        width, height = struct.unpack_from("<ii", data, 18)
        return abs(height), width
    found = re.match(rb"P[456fF]\s(\d{1,9})\s(\d{1,9})\s", data) if name == "PPM" else None
    return (int(found[2]), int(found[1])) if found else (0, 0)
