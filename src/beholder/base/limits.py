"""Limits on what a source may require of the machine before it is refused."""

from __future__ import annotations

from dataclasses import dataclass

from beholder.base.fields import DataRecipe


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds on what is read; what exceeds one is refused with a clear error, never read in part.

    pixels:  of one picture, height × width, as decoded; checked before decoding
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
"""The defaults of this process; `allow` raises them."""

MILLIONS = LIMITS.pixels // 1_000_000
"""Millions of pixels of one picture, unless more are allowed."""


def allow_as(recipe: DataRecipe) -> None:
    """Let one picture have as many pixels as a recipe says, where it says other than the default."""
    if recipe.pixels != MILLIONS:
        allow(recipe.pixels)


def allow(millions: int) -> None:
    """Let one picture have so many million pixels wherever this process says no other limits: data.pixels, BEHOLDER_PIXELS.

    Memory and time for decoding one grow with it, from what 100 million take.
    """
    more = max(millions / MILLIONS, 1.0)
    fields = {"pixels": millions * 1_000_000, "memory": int(Limits.memory * more), "seconds": Limits.seconds * more}
    for name, value in fields.items():
        object.__setattr__(LIMITS, name, value)  # every default argument is this one value


RATIO_FLOOR = 256 << 20
"""An archive that unpacks to no more bytes than this does no harm, whatever its ratio."""
