"""Features of pictures, remembered: float16 shards in the cache folder, found by the digest of the picture.

    features/NAME/SHARD/features.npy   float16 (n, F)
    features/NAME/SHARD/digests.npy    uint8 (n, 36): see `beholder.data.shards`

NAME says of what net and pixels they are. A shard is whole or absent; deleting any loses nothing. What is damaged counts as
not remembered.
"""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.arrays import F16, U8
from beholder.base.errors import MachineError
from beholder.base.files import folder_atomic
from beholder.data.shards import keys_of, opened, saved, tidy
from beholder.machine.folders import cache_folder


def recalled(name: str, digests: U8, *, root: str | Path | None = None) -> F16:
    """Return what is remembered under `name` of pictures with these digests, uint8 (N, 32).

    float16 (N, F), rows of NaN for pictures that are not remembered; (N, 0) where none is.
    """
    keys, which = np.unique(keys_of(digests), return_inverse=True)
    found: F16 = np.empty((len(keys), 0), np.float16)
    for path in sorted((cache_folder(root) / "features" / name).glob("[!.]*")):
        shard = None
        with contextlib.suppress(MachineError):
            shard = opened(path, "features", np.float16, 2)
        if shard is None or (found.shape[1] and shard.rows.shape[1] != found.shape[1]):
            continue
        places, at = shard.among(keys)
        sound = ~np.isin(places, shard.damaged(places))
        if not sound.any():
            continue
        if not found.shape[1]:
            found = np.full((len(keys), shard.rows.shape[1]), np.nan, np.float16)
        found[at[sound]] = shard.rows[places[sound]]
        with contextlib.suppress(OSError):
            os.utime(path)
    return found[which.ravel()]


def remember(name: str, digests: U8, features: F16, *, root: str | Path | None = None, limit: int = 4 * 2**30) -> None:
    """Keep features, float16 (n, F), of pictures with these digests, uint8 (n, 32), under `name`.

    limit: bytes that the features of all names may take; the shards used least recently go first.
    A cache that cannot be written costs the next run the time again, and a warning.
    """
    top = cache_folder(root) / "features"
    try:
        with folder_atomic(top / name / uuid.uuid4().hex[:16], option="--cache") as folder:
            saved(folder, "features", features, digests)
    except MachineError as error:
        events.warn(f"features could not be remembered: {error.message}", hint=error.hint)
    tidy(top, limit)
