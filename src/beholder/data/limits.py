"""How much a source may ask of the machine before it is refused."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what is read; what exceeds one is refused with a clear error, never read in part.

    pixels:  of one picture, height × width; checked before decoding (Pillow itself refuses more than 178,956,970)
    bytes:   of one picture's file
    memory:  bytes that decoding one picture may take, where it is decoded apart, in a process of its own (on Linux)
    seconds: that decoding one picture may take there
    members: files in one archive or folder
    total:   bytes of an archive once unpacked
    ratio:   unpacked over packed bytes of an archive that unpacks to more than 256 MiB
    download: bytes of a source that is fetched from the network
    """

    pixels: int = 100_000_000
    bytes: int = 256 << 20
    memory: int = 1 << 30
    seconds: float = 10.0
    members: int = 2_000_000
    total: int = 128 << 30
    ratio: float = 200.0
    download: int = 32 << 30


LIMITS = Limits()
"""The defaults."""

RATIO_FLOOR = 256 << 20
"""An archive that unpacks to no more bytes than this does no harm, whatever its ratio."""
