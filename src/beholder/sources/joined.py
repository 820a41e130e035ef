"""Several stores as one: shards of a set, files of a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from beholder.base.errors import PictureError
from beholder.base.records import Store
from beholder.sources.ahead import expect


@dataclass(frozen=True)
class JoinedStore:
    """Stores by name; a key is the name of one, a slash, and its own key. name: what the whole is called."""

    name: str
    stores: Mapping[str, Store]

    def read(self, key: str) -> bytes | npt.NDArray[np.generic]:
        """Return what the store that the key names holds. Raises `PictureError` as that does."""
        found = self.found(key)
        if found is None:
            raise PictureError(f"there is no {key} in {self.name}", code="unreadable", hint="check the source")
        return found[0].read(found[1])

    def stamp(self, key: str) -> str:
        """Return the stamp of the store that the key names."""
        found = self.found(key)
        return found[0].stamp(found[1]) if found else ""

    def expect(self, keys: Sequence[str]) -> None:
        """Tell each store which of its own keys will be read next."""
        asked: dict[int, tuple[Store, list[str]]] = {}
        for key in keys:
            if (found := self.found(key)) is not None:
                asked.setdefault(id(found[0]), (found[0], []))[1].append(found[1])
        for store, own in asked.values():
            expect(store, own)

    def found(self, key: str) -> tuple[Store, str] | None:
        """Return the store that a key names, and its own key; None where there is none."""
        at = key.find("/")
        while at >= 0:
            store = self.stores.get(key[:at])
            if store is not None:
                return store, key[at + 1 :]
            at = key.find("/", at + 1)
        return None
