"""Decoded pixels as ranks have them: the first one says where they lie in the cache, or sends them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beholder.base.arrays import I64, U8
from beholder.base.errors import UsageError
from beholder.data.cache import Pixels
from beholder.data.shards import Shard, mapped
from beholder.machine.ranks import Group

PIECE = 64 << 20
"""Bytes of pixels that are sent at once to a rank that cannot read them from the cache."""


def where(pixels: Pixels) -> dict[str, Any]:
    """Return what the others are told of pixels, as JSON values."""
    return {"shape": pixels.shape, "n": len(pixels), "shards": [str(shard.path) for shard in pixels.shards]}


def places(pixels: Pixels) -> list[Tensor]:
    """Return shard and place of each picture, int64 (2, N), and its digest, uint8 (N, 32)."""
    return [torch.from_numpy(np.stack([pixels.shard, pixels.place])), torch.from_numpy(np.ascontiguousarray(pixels.digests))]


def pieces(n: int, shape: Sequence[int]) -> list[I64]:
    """Return the rows of n pictures in pieces of `PIECE` bytes, int64 each."""
    step = max(1, PIECE // max(1, int(np.prod(shape))))
    return [np.arange(k, min(k + step, n)) for k in range(0, n, step)]


def mapped_of(said: Mapping[str, Any] | None) -> list[Shard | None]:
    """Return the shards of which the first rank says where they lie, None each that this one cannot read."""
    return [] if said is None else [mapped(Path(path), tuple(said["shape"])) for path in said["shards"]]


def here(shards: Sequence[Shard | None]) -> list[Shard]:
    """Return those that this rank can read."""
    return [shard for shard in shards if shard is not None]


def given(among: Group, n: int) -> tuple[I64, U8]:
    """Return what `places` gives the others."""
    where = among.spread(torch.empty((2, n), dtype=torch.int64)).numpy()
    return where, among.spread(torch.empty((n, 32), dtype=torch.uint8)).numpy()


def held(shards: Sequence[Shard], where: I64, digests: U8, said: Mapping[str, Any]) -> Pixels:
    """Return the pixels as they lie in the cache that this rank shares with the first."""

    def again(row: int) -> U8:
        raise UsageError(f"the pixels of row {row} are damaged", code="damaged", hint="run again: the first process mends them")

    rows = np.arange(len(digests))
    shape = tuple(said["shape"])
    return Pixels(rows, shape, (), 0, tuple(shards), shard=where[0], place=where[1], digests=digests, again=again)


class Sent:
    """Pixels that the first rank sent, in memory: this one does not share its cache."""

    def __init__(self, among: Group, n: int, shape: Sequence[int]) -> None:
        channels, height, width = shape
        self.shape = (channels, height, width)
        self._values = torch.empty((n, *self.shape), dtype=torch.uint8)
        for rows in pieces(n, self.shape):
            among.spread(self._values[rows[0] : rows[-1] + 1])

    def __len__(self) -> int:
        return len(self._values)

    def take(self, positions: I64) -> U8:
        """Return uint8 (B, C, H, W)."""
        return self._values[torch.from_numpy(np.asarray(positions))].numpy()
