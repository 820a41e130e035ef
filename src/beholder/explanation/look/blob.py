"""Arrays that a page carries: one piece of bytes, deflated and in base64, from which a browser takes typed arrays."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy as np

from beholder.base.arrays import Values

TYPES = {"float32": "f32", "int8": "i8", "uint8": "u8"}
"""What the page calls the types of NumPy that it knows."""


class Blob:
    """Arrays one after the other, each from a multiple of four bytes on, little-endian.

    >>> Blob().add(np.zeros((2, 3), np.float32))
    {'at': 0, 'shape': [2, 3], 'type': 'f32'}
    """

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self.size = 0

    def add(self, array: Values) -> dict[str, Any]:
        """Take an array of float32, int8 or uint8, of any shape (…); return where it lies: {"at", "shape", "type"}."""
        raw = np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes()
        found = {"at": self.size, "shape": list(array.shape), "type": TYPES[array.dtype.name]}
        self._parts.append(raw + b"\0" * (-len(raw) % 4))
        self.size += len(self._parts[-1])
        return found

    def copy(self) -> Blob:
        """Return one with the same arrays, to which others can be added."""
        twin = Blob()
        twin._parts, twin.size = list(self._parts), self.size
        return twin

    def text(self) -> str:
        """Return all of it as base64 of a zlib stream."""
        return base64.b64encode(zlib.compress(b"".join(self._parts), 6)).decode()
