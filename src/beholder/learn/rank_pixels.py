"""Pixels of a rank that follows, where the cache has no room for all: it reads and decodes its own share from the source.

The first rank tells the name of the source and the keys; each rank scans the source itself, and every picture that it reads is
compared with the digest that the first one knows. Ranks that share the cache take from it what is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import I64, U8
from beholder.base.errors import BeholderError, PictureError
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import Pixels
from beholder.data.shards import Rows, Shard
from beholder.data.streamed import Streamed, streamed
from beholder.learn.prepare import Prepared
from beholder.sources import scan


def told(prepared: Prepared) -> dict[str, Any] | None:
    """Return what the others need to read the training pictures themselves; None where the cache holds all pixels."""
    pictures, pixels = prepared.train.pictures, prepared.train.pixels
    if not partly(pixels):
        return None
    return {"source": pictures.store.name, "keys": list(pictures.keys), "policy": prepared.policy.json()}


def partly(pixels: Pixels) -> bool:
    """Return whether the cache holds only a part of the pixels, or none."""
    return any(isinstance(shard, Streamed) for shard in pixels.shards)


def found(said: Mapping[str, Any] | None) -> tuple[Pictures | None, str]:
    """Return the pictures of which `told` tells, and why they cannot be had here, "" where they can.

    They are fetched as the first rank does: a person allowed it there.
    """
    if said is None:
        return None, ""
    try:
        with events.listen(alone=True):
            whole = scan(said["source"], labels=None, allow_download=True)
    except BeholderError as error:
        return None, error.message
    row_of = {key: row for row, key in enumerate(whole.keys)}
    rows = [row_of.get(key, -1) for key in said["keys"]]
    if -1 in rows:
        return None, f"there is no {said['keys'][rows.index(-1)]} in {said['source']}"
    return whole.take(np.array(rows, np.int64)), ""


def own(pictures: Pictures, shards: Sequence[Shard | None], where: I64, digests: U8, said: Mapping[str, Any]) -> Pixels:
    """Return the pixels, from the shards that this rank can map and else decoded by itself.

    where: int64 (2, N), shard and place of each at the first rank; digests: uint8 (N, 32); said: what `told` tells
    """
    pictures = replace(pictures, digests=digests)
    policy = PixelPolicy(**{**said["policy"], "background": tuple(said["policy"]["background"])})
    alone = streamed(pictures, policy)
    gone = np.array([shard is None for shard in shards])[where[0]]
    shard = np.where(gone, len(shards), where[0])
    place = np.where(gone, np.arange(len(pictures)), where[1])
    rows: list[Rows] = [*(alone if shard is None else shard for shard in shards), alone]

    def again(row: int) -> U8:
        raise PictureError(f"the cached pixels of {pictures.keys[row]} are damaged", code="cache-damaged", hint="run again")

    shape = (policy.channels, policy.height, policy.width)
    return Pixels(np.arange(len(pictures)), shape, (), 0, tuple(rows), shard=shard, place=place, digests=digests, again=again)
