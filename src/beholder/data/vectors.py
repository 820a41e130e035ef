"""Features of pictures, remembered: float16 shards in the cache folder, found by the digest of the picture.

    features/NAME/SHARD/features.npy   float16 (n, F)
    features/NAME/SHARD/digests.npy    uint8 (n, 32)

NAME says of what net and pixels they are. A shard is whole or absent; deleting any loses nothing.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import uuid
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import MachineError
from beholder.base.files import cache_folder, folder_atomic

F16 = npt.NDArray[np.float16]
U8 = npt.NDArray[np.uint8]


def recalled(name: str, digests: U8, *, root: str | Path | None = None) -> F16:
    """Return what is remembered under `name` of pictures with these digests, uint8 (N, 32).

    float16 (N, F), rows of NaN for pictures that are not remembered; (N, 0) where none is.
    """
    keys = _keys(digests)
    order = np.argsort(keys, kind="stable")
    found: F16 = np.empty((len(keys), 0), np.float16)
    for path in sorted((cache_folder(root) / "features" / name).glob("[!.]*")):
        shard = _loaded(path)
        if shard is None or (found.shape[1] and shard[0].shape[1] != found.shape[1]):
            continue
        theirs = _keys(shard[1])
        low, high = (np.searchsorted(keys[order], theirs, side=side) for side in ("left", "right"))
        hits = np.flatnonzero(high > low)
        if not len(hits):
            continue
        if not found.shape[1]:
            found = np.full((len(keys), shard[0].shape[1]), np.nan, np.float16)
        counts = high[hits] - low[hits]
        rows = np.concatenate([order[a:b] for a, b in zip(low[hits], high[hits], strict=True)])
        found[rows] = shard[0][np.repeat(hits, counts)]
        with contextlib.suppress(OSError):
            os.utime(path)
    return found


def remember(name: str, digests: U8, features: F16, *, root: str | Path | None = None, limit: int = 4 * 2**30) -> None:
    """Keep features, float16 (n, F), of pictures with these digests, uint8 (n, 32), under `name`.

    limit: bytes that the features of all names may take; the shards used least recently go first.
    A cache that cannot be written costs the next run the time again, and a warning.
    """
    top = cache_folder(root) / "features"
    try:
        with folder_atomic(top / name / uuid.uuid4().hex[:16]) as folder:
            np.save(folder / "features.npy", features, allow_pickle=False)
            np.save(folder / "digests.npy", digests, allow_pickle=False)
    except MachineError as error:
        events.warn(f"features could not be remembered: {error.message}", hint=error.hint)
    _tidy(top, limit)


def _loaded(path: Path) -> tuple[F16, U8] | None:
    """Return the features and digests of a shard, None if it is damaged or gone."""
    try:
        features = np.load(path / "features.npy", mmap_mode="r", allow_pickle=False)
        digests = np.load(path / "digests.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    sound = features.dtype == np.float16 and features.ndim == 2 and digests.dtype == np.uint8
    return (np.asarray(features), digests) if sound and digests.shape == (len(features), 32) else None


def _tidy(top: Path, limit: int) -> None:
    shards = []
    for path in top.glob("*/[!.]*"):
        with contextlib.suppress(OSError):
            shards.append((path.stat().st_mtime, sum(file.stat().st_size for file in path.iterdir()), path))
    total = sum(size for _, size, _ in shards)
    for _, size, path in sorted(shards):
        if total > limit:
            shutil.rmtree(path, ignore_errors=True)
            total -= size


def _keys(digests: U8) -> npt.NDArray[np.bytes_]:
    """Return digests, uint8 (N, 32), as N values that can be sorted and compared: S32 (N,)."""
    return np.ascontiguousarray(digests).view("S32").reshape(len(digests))
