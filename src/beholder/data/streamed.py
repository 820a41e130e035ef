"""Pixels that find no room in the cache: they are decoded again whenever they are asked for, so a set may exceed the disk.

The cache keeps as many pictures as there is room for; of the others it remembers only that they can be read:

    sound/<policy>.npy     uint8 (N, 32), digests of pictures that were decoded and not kept
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from beholder.base import events, memo
from beholder.base.arrays import I64, U8, Bools, Values
from beholder.base.errors import PictureError
from beholder.base.locks import evict
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.shards import ROW, Keys, Shelf
from beholder.image import load
from beholder.machine.folders import room
from beholder.sources.ahead import expect
from beholder.sources.digest import same


@dataclass(frozen=True, eq=False)
class Streamed:
    """Stands among the shards of `Pixels` for pictures that are not kept. The place of one is its row in `pictures`.

    decode: gives the pixels of a row, uint8 (C, H, W); raises `PictureError` where it cannot be read any more
    """

    pictures: Pictures
    decode: Callable[[int], U8]
    path: Path = Path("no-file") / "streamed"

    def take(self, places: I64, again: Callable[[int], Values]) -> Values:
        """Return the pixels of the rows `places`, int64 (B,): uint8 (B, C, H, W); stores far away are asked for all at once."""
        rows = places.tolist()
        expect(self.pictures.store, [self.pictures.keys[row] for row in dict.fromkeys(rows)])
        return np.stack([self.decode(row) for row in rows])


def pixels_of(pictures: Pictures, row: int, policies: Iterable[PixelPolicy]) -> dict[PixelPolicy, U8]:
    """Return the pixels of a picture by each policy. Raises `PictureError`, changed where it is not what its digest says."""
    data = pictures.store.read(pictures.keys[row])
    assert pictures.digests is not None
    # Under a digest that is not its own, a picture would be served to every later run as another one.
    if not same(data, pictures.digests[row]):
        raise PictureError(f"{pictures.keys[row]} changed while it was read", code="changed", hint="run again")
    return {policy: load(data, policy) for policy in policies}


def streamed(pictures: Pictures, policy: PixelPolicy) -> Streamed:
    """Return the pixels of pictures with digests, decoded whenever they are asked for."""
    return Streamed(pictures, lambda row: pixels_of(pictures, row, [policy])[policy])


def allowed(top: Path, needed: int, *, using: Collection[Path] = ()) -> float:
    """Return how many bytes of pixels may be written below the folder `top`; other sets are deleted as far as `needed`."""
    held = _held(top)
    most = room(top, held)
    if needed > most - held:
        evict(top.glob("*/[!.]*"), max(0.0, most - needed), using=using)
        held = _held(top)
    return max(0.0, room(top, held) - held)


def share_of(top: Path, shelves: Collection[Shelf], count: int) -> float:
    """Return which share of `count` pictures there is room for on all of the shelves, 0 to 1."""
    needed = count * sum(math.prod(shelf.shape) + ROW for shelf in shelves)
    using = [path for shelf in shelves for path in shelf.paths]
    return min(1.0, allowed(top, needed, using=using) / needed) if needed else 1.0


def _held(top: Path) -> int:
    held = 0
    for file in top.glob("*/*/*"):
        with suppress(OSError):  # another process may have deleted it
            held += file.stat().st_size
    return held


def known_sound(top: Path, policy: str, keys: Keys) -> Bools:
    """Return which of `keys`, S32 (U,), were decoded before and not kept: bool (U,)."""
    table = memo.table(_path(top, policy))
    if table is None or table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != 32:
        return np.zeros(len(keys), bool)
    return np.asarray(np.isin(keys, np.ascontiguousarray(table).view("S32").reshape(-1)), bool)


def remember(top: Path, policy: str, keys: Keys) -> None:
    """Remember that `keys`, S32 (U,), can be decoded, beside those that are known."""
    if not len(keys):
        return
    path = _path(top, policy)
    before = memo.table(path)
    whole = keys.view(np.uint8).reshape(-1, 32)
    if before is not None and before.dtype == np.uint8 and before.shape[1:] == (32,):
        whole = np.unique(np.concatenate([before, whole]), axis=0)
    memo.keep_table(path, whole, what="which pictures can be decoded")


def _path(top: Path, policy: str) -> Path:
    return top.parent / "sound" / f"{policy}.npy"


def stream(shelf: Shelf, which: I64, rows: I64, pictures: Pictures, policy: PixelPolicy) -> I64:
    """Have the pixels of `rows`, int64 (M,), streamed where the shelf lacks them; return which rows these are.

    which: int64 (U,), the row of each of the shelf's keys
    """
    at = np.flatnonzero(np.isin(which, rows) & (shelf.shard < 0))
    if not len(at):
        return which[at]
    shelf.shard[at], shelf.place[at] = len(shelf.shards), which[at]
    shelf.shards.append(streamed(pictures, policy))
    each = math.prod(shelf.shape)
    text = f"{len(at):,} of {len(pictures):,} pictures find no room in the cache: they are decoded again whenever they are used"
    events.note(f"{text} ({len(at) * each:,} bytes are missing; BEHOLDER_ROOM or --cache gives more)", streamed=len(at))
    return which[at]
