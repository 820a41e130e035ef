"""Files kept in memory for a moment, so that a second reader need not open them again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from beholder.base.records import Store
from beholder.sources.ahead import expect

ROOM = 256 << 20
"""Bytes that are kept at most: what is more is opened again."""


class Held:
    """A store beside which some of its files are kept in memory, as far as `room` bytes go, until `clear`."""

    def __init__(self, store: Store, *, room: int = ROOM) -> None:
        self.name, self.stamp = store.name, store.stamp
        self._store, self._room = store, room
        self._kept: dict[str, bytes | npt.NDArray[np.generic]] = {}

    def read(self, key: str) -> bytes | npt.NDArray[np.generic]:
        """Return what is kept of a picture, else what the store has. Raises `PictureError`."""
        kept = self._kept.get(key)
        return self._store.read(key) if kept is None else kept

    def expect(self, keys: Sequence[str]) -> None:
        """Tell the store what will be read next of what is not kept."""
        expect(self._store, [key for key in keys if key not in self._kept])

    def keep(self, key: str, data: bytes | npt.NDArray[np.generic]) -> None:
        """Keep a picture as it was read, if there is room."""
        size = len(data) if isinstance(data, bytes) else data.nbytes
        if size <= self._room:
            self._room -= size
            self._kept[key] = data

    def clear(self) -> None:
        """Forget what is kept."""
        self._kept = {}
