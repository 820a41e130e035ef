"""Damage that Pillow does not detect: wrong checksums of PNG chunks, missing tiles of JPEG 2000."""

from __future__ import annotations

import struct
import zlib

from beholder.image.refusal import bad

_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"tRNS"})


def check_png(data: bytes) -> None:
    """Refuse a PNG in which a chunk that makes pixels has a wrong checksum (damaged).

    Pillow compares no checksum once it has its last row: of the bits of a smooth picture one in fifty turns over unnoticed.
    """
    at, view = 8, memoryview(data)
    while at + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 8 + length
        if end + 4 > len(data) or kind == b"IEND":
            return  # what is missing, Pillow misses if it needs it
        if kind in _CRITICAL and zlib.crc32(view[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise bad("damaged", f"the checksum of its {kind.decode()} is wrong")
        at = end + 4


def check_jpeg2000(data: bytes) -> None:
    """Refuse a JPEG 2000 of which a tile, or a part of one, is missing (truncated). Source: ISO/IEC 15444-1, annex A.

    OpenJPEG fills a tile that it never met with black. A file that cannot be followed is left to it.
    """
    at = codestream(data)
    if data[at : at + 4] != b"\xff\x4f\xff\x51" or len(data) < at + 42:
        return
    right, bottom, left, top, wide, high, x, y = struct.unpack_from(">8I", data, at + 8)
    del left, top
    if not wide or not high:
        return
    tiles = -(-max(right - x, 0) // wide) * -(-max(bottom - y, 0) // high)
    seen, expected = _tile_parts(data, at + 2)
    if len(seen) < tiles or any(seen[tile] < parts for tile, parts in expected.items()):
        raise bad("truncated", f"it holds {len(seen)} of its {tiles} tiles, or not all of their parts")


def codestream(data: bytes) -> int:
    """Return where the codestream of a JP2 file begins; 0 for a bare one."""
    at = 0
    for _ in range(1000):
        if at + 16 > len(data) or data[at : at + 2] == b"\xff\x4f":
            break
        length, kind, long = struct.unpack_from(">I4sQ", data, at)
        if kind == b"jp2c":
            return at + (16 if length == 1 else 8)
        at += long if length == 1 else length or len(data)
    return 0


def _tile_parts(data: bytes, at: int) -> tuple[dict[int, int], dict[int, int]]:
    """Return how many parts of each tile there are, and how many it should have where that is said."""
    seen: dict[int, int] = {}
    expected: dict[int, int] = {}
    while at + 12 <= len(data):
        mark, length = struct.unpack_from(">HH", data, at)
        if mark != 0xFF90:  # of the main header
            if mark == 0xFFD9 or mark <= 0xFF00 or length < 2:
                break
            at += 2 + length
            continue
        tile, size, _, parts = struct.unpack_from(">HIBB", data, at + 4)
        seen[tile] = seen.get(tile, 0) + 1
        if parts:
            expected[tile] = parts
        if size < 14:  # up to the end
            break
        at += size
    return seen, expected
