"""Several stores under one roof: shards of a set, files of a table."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from beholder.base.errors import PictureError
from beholder.base.records import Store


class JoinedStore:
    """Stores by name; a key is the name of one, a slash, and its own key."""

    def __init__(self, name: str, stores: Mapping[str, Store]) -> None:
        self._name = name
        self._stores = dict(stores)

    @property
    def name(self) -> str:
        """Return what the whole is called."""
        return self._name

    def read(self, key: str) -> bytes | npt.NDArray[np.generic]:
        """Return what the store that the key names holds. Raises `PictureError` as that does."""
        found = self._found(key)
        if found is None:
            raise PictureError(f"there is no {key} in {self._name}", code="unreadable", hint="check the source")
        return found[0].read(found[1])

    def stamp(self, key: str) -> str:
        """Return the stamp of the store that the key names."""
        found = self._found(key)
        return found[0].stamp(found[1]) if found else ""

    def _found(self, key: str) -> tuple[Store, str] | None:
        at = key.find("/")
        while at >= 0:
            store = self._stores.get(key[:at])
            if store is not None:
                return store, key[at + 1 :]
            at = key.find("/", at + 1)
        return None
