"""Ranks: the processes that train one net together. Here there is one, for which all of this does nothing.

What depends on how many there are asks a `Ranks`: which pictures of a batch are its own, what time it is, whether a loss was
finite anywhere, who speaks, who writes. A world of several overrides the three exchanges; nothing outside this file changes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor

from beholder.base import events
from beholder.base.arrays import I64

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together: number `rank`, from 0, of `world`."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Return whether it is the one that speaks and writes."""
        return self.rank == 0

    def shard(self, rows: I64) -> I64:
        """Return this rank's share of rows (N,); those of all ranks, one after the other, are `rows`."""
        return rows[len(rows) * self.rank // self.world : len(rows) * (self.rank + 1) // self.world]

    def barrier(self) -> None:
        """Wait until every rank is here."""

    def broadcast(self, value: T) -> T:
        """Return what the first rank gave."""
        return value

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of what the ranks gave, of one shape; not finite where one of them is not."""
        return value

    def now(self) -> float:
        """Return seconds of the first rank's clock, so that all plan alike."""
        return self.broadcast(time.monotonic())

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """Let only the first rank be heard inside the block."""
        if self.first:
            yield
        else:
            with events.listen(alone=True):
                yield


ALONE = Ranks()


def here() -> Ranks:
    """Return the ranks that this process is one of."""
    return ALONE
