"""Ranks: the processes that train one net together.

The first rank leads: it decides, steps, validates, writes and speaks. The others hold the same net, take their share of every
batch, and give their gradients. What a person runs is therefore what one process does; only batches are computed by several.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beholder.base.arrays import I64
from beholder.base.errors import MachineError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

HANG = 30.0
"""Seconds after which a rank that does not answer in the middle of a step counts as lost."""

PATIENCE = 7 * 24 * 3600.0
"""Seconds that ranks wait for the first one between steps, while it audits, validates or writes."""


MEETING = 300.0
"""Seconds within which all ranks have to come."""

LEAVE = 0.0
"""The first number of the message after which the others end."""


class LostRankError(MachineError):
    """A rank does not answer: it was killed, hangs, or the network is gone."""

    def __init__(self, why: str) -> None:
        super().__init__(f"a process that trains along is lost: {why}", code="lost-rank", hint="run again with --resume")


@dataclass(frozen=True)
class Ranks:
    """One process among those that train together: number `rank`, from 0, of `world`."""

    rank: int = 0
    world: int = 1

    def within(self, count: int) -> tuple[int, int]:
        """Return where this rank's share of `count` rows begins and ends; those of all ranks, one after the other, are all."""
        return count * self.rank // self.world, count * (self.rank + 1) // self.world

    def shard(self, rows: I64) -> I64:
        """Return this rank's share of rows (N,)."""
        begin, end = self.within(len(rows))
        return rows[begin:end]


ALONE = Ranks()


class Group:
    """What the ranks of one job say to each other, over torch.distributed.

    Every method is called by all ranks alike. Raises `LostRankError` where one of them is gone.
    """

    def __init__(self, ranks: Ranks) -> None:
        self.ranks = ranks
        self.lost = False
        self._quick = _group(PATIENCE if ranks.rank else HANG)  # the others wait for the first, never it for them
        self._slow = _group(PATIENCE)

    def tell(self, values: Sequence[float]) -> list[float]:
        """Return the values that the first rank gives; the others wait for them as long as it takes, and give as many."""
        import torch
        import torch.distributed as dist

        header = torch.tensor(values, dtype=torch.float64)
        with self._telling():
            dist.broadcast(header, 0, group=self._quick)
        return list(header.tolist())

    def spread(self, values: Tensor) -> Tensor:
        """Return `values`, filled in place with those of the first rank."""
        import torch.distributed as dist

        with self._telling():
            dist.broadcast(values, 0, group=self._quick)
        return values

    def spread_bytes(self, data: bytes) -> bytes:
        """Return the bytes that the first rank gives."""
        import torch

        length = int(self.tell([len(data)])[0])
        buffer = torch.empty(length, dtype=torch.uint8)
        if self.ranks.rank == 0 and length:
            buffer = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        return bytes(self.spread(buffer).numpy().tobytes()) if length else b""

    def sum_to_first(self, values: Tensor) -> Tensor:
        """Return the sum of what the ranks gave, of one shape, in place at the first rank; of no meaning at the others."""
        import torch.distributed as dist

        with self._telling():
            dist.reduce(values, 0, group=self._quick)
        return values

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of what the ranks gave, of one shape, in place."""
        import torch.distributed as dist

        with self._telling():
            dist.all_reduce(values, group=self._quick)
        return values

    def gathered(self, text: str) -> list[str]:
        """Return what each rank gives, in their order; of up to 1,000 bytes."""
        import torch
        import torch.distributed as dist

        own = torch.zeros(1000, dtype=torch.uint8)
        data = text.encode()[:1000]
        own[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        rows = [torch.empty_like(own) for _ in range(self.ranks.world)]
        with self._telling():
            dist.all_gather(rows, own, group=self._slow)
        return [bytes(row.tolist()).rstrip(b"\0").decode() for row in rows]

    def dismiss(self) -> None:
        """Tell the others that there is no more work, where all are still there."""
        if not self.lost and self.ranks.rank == 0:
            with contextlib.suppress(LostRankError):
                self.tell([LEAVE] + 5 * [0.0])

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # gloo and NCCL have no type of their own for a peer that is gone
            self.lost = True
            raise LostRankError(str(error).splitlines()[0][:200]) from error


_joined: list[Group] = []


def group() -> Group | None:
    """Return the group that this process is one of; None where it works alone, as it does once one of the others is lost."""
    return _joined[-1] if _joined and not _joined[-1].lost else None


def asked() -> Ranks:
    """Return the rank that torchrun, or a launcher that sets the same variables, gave this process.

    Raises `UsageError` (bad-ranks) where RANK and WORLD_SIZE are no numbers that fit.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdecimal() and world.isdecimal() and int(rank) < int(world)):
        hint = "start it by torchrun, or by --launch; or unset both variables"
        raise UsageError(f"RANK is '{rank}' and WORLD_SIZE '{world}'", code="bad-ranks", hint=hint)
    return Ranks(int(rank), int(world))


def _group(seconds: float) -> Any:
    """Return a group of all ranks in which a call fails after so many seconds."""
    import torch.distributed as dist

    return dist.new_group(**_within(seconds))


def _within(seconds: float) -> dict[str, Any]:
    return {"timeout": datetime.timedelta(seconds=seconds)}


@contextlib.contextmanager
def joined(ranks: Ranks, *, store: Any = None) -> Iterator[Group]:
    """Join the other ranks for the block. store: where they meet; None: by MASTER_ADDR and MASTER_PORT.

    Raises `LostRankError` where they do not all come.
    """
    import torch
    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    try:
        dist.init_process_group(backend, rank=ranks.rank, world_size=ranks.world, **_meeting(ranks, store), **_within(MEETING))
        group = Group(ranks)
    except (RuntimeError, ValueError) as error:
        raise LostRankError(f"they did not meet ({str(error).splitlines()[0][:200]})") from error
    try:
        _joined.append(group)
        yield group
    finally:
        _joined.clear()
        group.dismiss()
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _meeting(ranks: Ranks, store: Any) -> dict[str, Any]:
    """Return where the ranks meet, as torch.distributed takes it."""
    import torch.distributed as dist

    if store is not None or "TORCHELASTIC_RUN_ID" in os.environ:
        return {"init_method": "env://"} if store is None else {"store": store}
    host, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), os.environ.get("MASTER_PORT", "")
    if not port.isdecimal():
        hint = "start it by torchrun, or by --launch; or unset RANK and WORLD_SIZE"
        raise UsageError(f"MASTER_PORT is '{port}'", code="bad-ranks", hint=hint)
    store = dist.TCPStore(host, int(port), ranks.world, ranks.rank == 0)  # type: ignore[attr-defined]
    return {"store": store}


def loopback() -> str:
    """Return what the interface of this machine to itself is called."""
    return "lo0" if sys.platform == "darwin" else "lo"
