"""The order of pictures that lie in tars on object storage: a few tars at a time, so that each can be fetched whole, once.

Of a set of more than `WINDOW` tars an epoch takes the tars in random order, `WINDOW` at a time, and mixes their pictures. The
order is a pure function of (seed, epoch, index) and of the tar that a picture lies in: neither the cache, nor the number of
processes, nor a resumed run changes it. A set of fewer tars, or of other files, is mixed as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from beholder.base.arrays import I64
from beholder.base.records import Pictures
from beholder.data.cache import Pixels
from beholder.data.streamed import Streamed
from beholder.machine.draws import Draws, permutation
from beholder.sources.buckets import tars_of

WINDOW = 16
"""Tars whose pictures are mixed."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Pictures by the tar that they lie in.

    units:  int64 (N,), of each picture the number of its tar, 0 … K − 1
    fetch:  is told the number of a tar when its first picture is about to be read
    """

    units: I64
    fetch: Callable[[int], object] = lambda unit: None
    window: int = WINDOW
    """How many tars are mixed."""
    _begun: list[int] = field(default_factory=list)

    def order(self, seed: int, epoch: int) -> I64:
        """Return the order of the pictures in an epoch: int64 (N,), each once."""
        order = permutation(seed, epoch, len(self.units))
        tars = int(self.units.max(initial=0)) + 1
        if tars <= self.window:
            return order
        turn = np.empty(tars, np.int64)
        turn[Draws(seed, epoch, list(range(tars)), name="tars").order()] = np.arange(tars) // self.window
        return order[np.argsort(turn[self.units[order]], kind="stable")]

    def soon(self, positions: I64) -> None:
        """Have the tars fetched that are not begun yet, of pictures that are about to be read: int64 (B,)."""
        for unit in np.unique(self.units[positions]).tolist():
            if unit not in self._begun:
                self._begun.append(unit)
                del self._begun[: -2 * self.window]
                self.fetch(unit)


def windows_of(pictures: Pictures, pixels: Pixels) -> Windows | None:
    """Return the order of pictures in tars on object storage, which these are the pixels of; None for all other pictures."""
    found = tars_of(pictures)
    if found is None:
        return None
    units, tars = found
    if not any(isinstance(shard, Streamed) for shard in pixels.shards):
        return Windows(units)
    beside = min(2 * WINDOW, len(tars))
    return Windows(units, lambda unit: tars[unit].bring(beside=beside))
