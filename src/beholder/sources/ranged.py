"""A file far away as libraries read one: what they ask for is fetched, and nothing else."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any


class Ranged(io.RawIOBase):
    """A file of which any part can be had. tag: of just this content; part: (start, size) → bytes, all of them.

    Its text is its address. It has one position, so one thread at a time reads.
    """

    def __init__(self, address: str, size: int, tag: str, part: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self.address, self.size, self._tag, self._part, self._at = address, size, tag, part, 0

    def __str__(self) -> str:
        return self.address

    def version(self) -> str:
        """Return size and tag."""
        return f"{self.size}-{self._tag}"

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position, counted from the beginning, from here or from the end, and return it."""
        self._at = max(0, offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self.size}[whence])
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer from the position on, as far as there are bytes, and return how many. Raises what `part` raises."""
        size = max(0, min(len(buffer), self.size - self._at))
        buffer[:size] = self._part(self._at, size) if size else b""
        self._at += size
        return size
