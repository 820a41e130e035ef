"""Boxes cut out of pictures, as pictures of their own."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from beholder import image
from beholder.base.arrays import U8
from beholder.base.errors import PictureError
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import Store

_HELD = 4
"""Decoded pictures kept, for their boxes are usually read one after another."""


FAR = 2**31
"""A corner that is further off than this many pixels is no place in a picture."""


@dataclass(frozen=True, slots=True)
class Box:
    """What one box shows, and where in the upright picture, in pixels; right and bottom are the first that lie outside.

    crowd: whether it stands for several objects, or for one that is too hard to count
    """

    label: str
    left: float
    top: float
    right: float
    bottom: float
    crowd: bool = False

    @property
    def nowhere(self) -> bool:
        """Return True where a corner is no number, or lies further off than any picture is large."""
        return not all(-FAR <= corner <= FAR for corner in (self.left, self.top, self.right, self.bottom))

    @property
    def empty(self) -> bool:
        """Return True where it has no area, or no place."""
        return self.nowhere or self.right <= self.left or self.bottom <= self.top

    def rounded(self) -> tuple[int, int, int, int]:
        """Return the pixels that it touches: left, top, right, bottom."""
        return math.floor(self.left), math.floor(self.top), math.ceil(self.right), math.ceil(self.bottom)


def scale(drawn: tuple[int, int], actual: tuple[int, int]) -> tuple[float, float] | None:
    """Return by what a box drawn at one size (width, height) is scaled for another, across and down; None where it cannot be.

    It can where the picture was made larger or smaller as a whole: both factors are one, but for the rounding of the sides.
    """
    across, down = actual[0] / drawn[0], actual[1] / drawn[1]
    rounding = 1 / min(drawn[0], actual[0]) + 1 / min(drawn[1], actual[1])
    return (across, down) if abs(across / down - 1) <= rounding else None


class CropStore:
    """Boxes of another store's pictures; a key is the picture's, "#", and left,top,right,bottom."""

    def __init__(self, pictures: Store, sizes: dict[str, tuple[int, int]], *, limits: Limits = LIMITS) -> None:
        """sizes: (width, height) in which the boxes of a picture were drawn, for those where it is known."""
        self._pictures = pictures
        self._sizes = sizes
        self._limits = limits
        self._held: OrderedDict[str, U8] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Return the name of the pictures' store."""
        return self._pictures.name

    def read(self, key: str) -> U8:
        """Return the pixels of one box: uint8 (H, W), or (H, W, 3).

        Boxes drawn at another size of the whole picture are scaled. Raises `PictureError` (box-outside; other-size: the picture
        has not the shape at which they were drawn; unreadable, …).
        """
        picture, _, corners = key.rpartition("#")
        try:
            left, top, right, bottom = map(int, corners.split(","))
        except ValueError as error:
            raise PictureError(f"there is no {key} in {self.name}", code="unreadable", hint="check the source") from error
        pixels = self._decoded(picture)
        across, down = self._scale(picture, pixels)
        left, top, right, bottom = map(round, (left * across, top * down, right * across, bottom * down))
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        found = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if not found.size:
            height, width = pixels.shape[:2]
            text = f"the box {corners} lies outside {picture}, which is {width} × {height}"
            hint = "check the box"
            raise PictureError(text, code="box-outside", hint=hint)
        return np.ascontiguousarray(found)

    def stamp(self, key: str) -> str:
        """Return the stamp of the picture, and the box."""
        picture, _, corners = key.rpartition("#")
        stamp = self._pictures.stamp(picture)
        return f"{stamp}#{corners}" if stamp else ""

    def _decoded(self, key: str) -> U8:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        data = self._pictures.read(key)
        head = image.header(data, limits=self._limits)
        pixels = image.decode(data, channels=1 if head.channels == 1 else 3, limits=self._limits)
        with self._lock:  # boxes are drawn on the whole picture, which a very large one is not decoded as
            self._sizes.setdefault(key, (head.width, head.height))
        self._scale(key, pixels)
        pixels = pixels if pixels.ndim == 2 or pixels.shape[2] == 3 else pixels[:, :, 0]
        with self._lock:
            self._held[key] = pixels
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return pixels

    def _scale(self, key: str, pixels: U8) -> tuple[float, float]:
        """Return by what the boxes of a picture are scaled. Raises `PictureError` (other-size)."""
        height, width = pixels.shape[:2]
        drawn = self._sizes.get(key, (width, height))
        found = scale(drawn, (width, height))
        if found is None:
            text = f"{key} is {width} × {height} upright, its boxes were drawn at {drawn[0]} × {drawn[1]}"
            hint = "the picture was turned or cut after the boxes were drawn: draw them again, or give the original"
            raise PictureError(text, code="other-size", hint=hint)
        return found
