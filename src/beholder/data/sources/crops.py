"""Boxes cut out of pictures, as pictures of their own."""

from __future__ import annotations

import math
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beholder.base.errors import PictureError
from beholder.base.records import Store
from beholder.data import image
from beholder.data.limits import LIMITS, Limits

_HELD = 4
"""Decoded pictures kept, for their boxes are usually read one after another."""

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Box:
    """What one box shows, and where in the upright picture, in pixels; right and bottom are the first that lie outside."""

    label: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def empty(self) -> bool:
        """Return True where it has no area, or no place."""
        corners = (self.left, self.top, self.right, self.bottom)
        return not all(map(math.isfinite, corners)) or self.right <= self.left or self.bottom <= self.top

    def rounded(self) -> tuple[int, int, int, int]:
        """Return the pixels that it touches: left, top, right, bottom."""
        return math.floor(self.left), math.floor(self.top), math.ceil(self.right), math.ceil(self.bottom)


class CropStore:
    """Boxes of another store's pictures; a key is the picture's, "#", and left,top,right,bottom."""

    def __init__(self, pictures: Store, sizes: dict[str, tuple[int, int]], *, limits: Limits = LIMITS) -> None:
        """sizes: (width, height) in which the boxes of a picture were drawn, for those where it is known."""
        self._pictures = pictures
        self._sizes = sizes
        self._limits = limits
        self._held: OrderedDict[str, Pixels] = OrderedDict()
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Return the name of the pictures' store."""
        return self._pictures.name

    def read(self, key: str) -> Pixels:
        """Return the pixels of one box: uint8 (H, W), or (H, W, 3).

        Raises `PictureError` (box-outside; other-size: not that in which the boxes were drawn; unreadable, …).
        """
        picture, _, corners = key.rpartition("#")
        try:
            left, top, right, bottom = map(int, corners.split(","))
        except ValueError as error:
            raise PictureError(f"there is no {key} in {self.name}", code="unreadable", hint="check the source") from error
        pixels = self._decoded(picture)
        found = pixels[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if not found.size:
            height, width = pixels.shape[:2]
            raise PictureError(
                f"the box {corners} lies outside {picture}, which is {width} × {height}",
                code="box-outside",
                hint="check the box",
            )
        return np.ascontiguousarray(found)

    def stamp(self, key: str) -> str:
        """Return the stamp of the picture, and the box."""
        picture, _, corners = key.rpartition("#")
        stamp = self._pictures.stamp(picture)
        return f"{stamp}#{corners}" if stamp else ""

    def _decoded(self, key: str) -> Pixels:
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key]
        data = self._pictures.read(key)
        head = image.header(data, limits=self._limits) if isinstance(data, bytes) else image.header_of_array(data)
        pixels = image.decode(data, channels=1 if head.channels == 1 else 3, limits=self._limits)
        height, width = pixels.shape[:2]
        if self._sizes.get(key, (width, height)) != (width, height):
            drawn = self._sizes[key]
            raise PictureError(
                f"{key} is {width} × {height} upright, its boxes were drawn at {drawn[0]} × {drawn[1]}",
                code="other-size",
                hint="the picture was turned or resized after the boxes were drawn: draw them again, or give the original",
            )
        pixels = pixels if pixels.ndim == 2 or pixels.shape[2] == 3 else pixels[:, :, 0]
        with self._lock:
            self._held[key] = pixels
            while len(self._held) > _HELD:
                self._held.popitem(last=False)
        return pixels
