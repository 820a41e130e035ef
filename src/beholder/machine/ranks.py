"""Ranks: the processes that train one net together.

The first rank leads: it decides, steps, validates, writes and speaks. The others hold the same net, take their share of every
batch, and give their gradients. What a person runs is therefore what one process does; only batches are computed by several.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from beholder.base import events
from beholder.base.arrays import I64
from beholder.base.errors import MachineError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

HANG = 30.0
"""Seconds after which a rank that does not answer in the middle of a step counts as lost."""

PATIENCE = 7 * 24 * 3600.0
"""Seconds that ranks wait for the first one between steps, while it audits, validates or writes."""

MEETING = 300.0
"""Seconds within which all ranks have to come, and to answer whether they can train a net."""

GATHERING = 10.0
"""Seconds that the first rank waits for those who are left, once one of them is lost."""

FEW, SHORT = 4, 8192
"""Up to so many ranks give each other up to so many values without an all-reduce."""

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
    store: where they meet; at: how often they have met before
    """

    def __init__(self, ranks: Ranks, store: Any, *, at: int = 0) -> None:
        self.ranks, self.store, self.at = ranks, store, at
        self.lost = False
        hang = _agreed(store, f"{at}/hang", str(HANG) if ranks.rank == 0 else None)
        self._steps = _group(float(hang))
        self._calls = _group(PATIENCE if ranks.rank else float(hang))  # the others wait for the first, never it for them

    def tell(self, values: Sequence[float]) -> list[float]:
        """Return the values that the first rank gives; the others wait for them as long as it takes, and give as many.

        Each waits for the first one alone, so that one that hangs keeps nobody from hearing.
        """
        import torch
        import torch.distributed as dist

        header = torch.tensor(values, dtype=torch.float64)
        with self._telling():
            if self.ranks.rank:
                dist.recv(header, 0, group=self._calls)
            else:
                for rank in range(1, self.ranks.world):
                    dist.send(header, rank, group=self._calls)
        return list(header.tolist())

    def spread(self, values: Tensor) -> Tensor:
        """Return `values`, filled in place with those of the first rank."""
        import torch.distributed as dist

        with self._telling():
            dist.broadcast(values, 0, group=self._steps)
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
            dist.reduce(values, 0, group=self._steps)
        return values

    def total(self, values: Tensor) -> Tensor:
        """Return the sum of what the ranks gave, of one shape, in place.

        Few values of few ranks on CPUs go from each to each: two ways at once, where gloo's all-reduce takes several in turn.
        """
        import torch
        import torch.distributed as dist

        with self._telling():
            if values.is_cpu and self.ranks.world <= FEW and values.numel() <= SHORT:
                values.copy_(torch.stack(self._exchanged(values)).sum(0))
            else:
                dist.all_reduce(values, group=self._steps)
        return values

    def _exchanged(self, values: Tensor) -> list[Tensor]:
        """Return what each rank gave, in their order."""
        import torch
        import torch.distributed as dist

        others = [rank for rank in range(self.ranks.world) if rank != self.ranks.rank]
        found = [values if rank == self.ranks.rank else torch.empty_like(values) for rank in range(self.ranks.world)]
        coming = [dist.irecv(found[rank], rank, group=self._steps) for rank in others]
        for work in [*(dist.isend(values, rank, group=self._steps) for rank in others), *coming]:
            work.wait()  # type: ignore[union-attr]
        return found

    def gathered(self, text: str) -> list[str]:
        """Return what each rank gives, in their order, of up to 1,000 bytes, at the first one; nothing at the others."""
        import torch
        import torch.distributed as dist

        row = torch.zeros(1000, dtype=torch.uint8)
        data = text.encode()[:1000]
        row[: len(data)] = torch.tensor(list(data), dtype=torch.uint8)
        with self._telling():
            if self.ranks.rank:
                dist.send(row, 0, group=self._calls)
                return []
            rows = [row, *(torch.empty_like(row) for _ in range(1, self.ranks.world))]
            for rank in range(1, self.ranks.world):
                told = dist.irecv(rows[rank], rank, group=self._calls)
                told.wait(datetime.timedelta(seconds=MEETING))  # type: ignore[union-attr]
        return [bytes(row.tolist()).rstrip(b"\0").decode(errors="replace") for row in rows]

    def dismiss(self) -> None:
        """Tell the others that there is no more work: those who wait for a message, and those who wait to meet again."""
        if self.ranks.rank == 0:
            with contextlib.suppress(RuntimeError):
                self.store.set(f"{self.at + 1}/world", "0")
            if not self.lost:
                with contextlib.suppress(LostRankError):
                    self.tell([LEAVE] + 5 * [0.0])

    def leave(self) -> None:
        """End the connections, by which those who wait for this rank notice it: they last while anything refers to them."""
        self._steps = self._calls = None
        _leave()

    @contextlib.contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # gloo and NCCL have no type of their own for a peer that is gone
            self.lost = True
            traceback.clear_frames(error.__traceback__)  # they refer to the group, whose connections would stay open
            raise LostRankError(str(error).splitlines()[0][:200]) from error


_joined: list[Group] = []


def group() -> Group | None:
    """Return the group that this process is one of, of those who are left; None where it works alone."""
    if _joined and _joined[-1].lost:
        regrouped()
    return _joined[-1] if _joined else None


def regrouped() -> Group | None:
    """Have those who are left of a group, one of which is lost, meet again; None where this process goes on alone.

    The first rank stays the first, and waits `GATHERING` seconds for the others. One that comes later has no part any more.
    """
    before = _joined.pop()
    before.leave()
    _meet(before.ranks, before.store, before.at + 1, others=before.ranks.world - 2, seconds=GATHERING)
    return _joined[-1] if _joined else None


def _meet(ranks: Ranks, store: Any, at: int, *, others: int, seconds: float, gone: Callable[[], int] = lambda: 0) -> None:
    """Meet the others, and again where one of them is lost meanwhile; no group is joined by one that is then alone.

    others: how many are waited for, so many seconds at most; gone: how many of them are known never to come
    """
    while True:
        try:
            ranks = _gathered(ranks, store, at, others=others, seconds=seconds, gone=gone)
            if ranks.world > 1:
                _joined.append(_met(ranks, store, at))
            return
        except LostRankError:
            _leave()
            at, others, seconds = at + 1, ranks.world - 2, GATHERING


def _gathered(ranks: Ranks, store: Any, at: int, *, others: int, seconds: float, gone: Callable[[], int]) -> Ranks:
    """Return the rank that this process has from now on; `ALONE` where it is the only one, or came too late."""
    try:
        if ranks.rank:
            place = store.add(f"{at}/came", 1)
            store.wait([f"{at}/world"], datetime.timedelta(seconds=2 * MEETING))
            world = int(store.get(f"{at}/world"))
            return Ranks(place, world) if place < world else ALONE
        until = time.monotonic() + seconds
        while store.add(f"{at}/came", 0) < others - gone() and time.monotonic() < until:
            time.sleep(0.02)
        world = 1 + store.add(f"{at}/came", 0)
        store.set(f"{at}/world", str(world))
        return Ranks(0, world)
    except RuntimeError:  # the first one is gone, and with it the store
        return ALONE


def _agreed(store: Any, key: str, value: str | None) -> str:
    """Return what the first rank sets; value: None at the others."""
    try:
        if value is not None:
            store.set(key, value)
        return str(store.get(key).decode())
    except RuntimeError as error:
        raise LostRankError(f"nothing is heard of the first one ({str(error).splitlines()[0][:200]})") from error


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
def joined(ranks: Ranks, *, store: Any = None, gone: Callable[[], int] = lambda: 0) -> Iterator[Group | None]:
    """Join the other ranks for the block; None where nobody else came.

    store: where they meet; None: by MASTER_ADDR and MASTER_PORT; gone: how many of them have ended
    Raises `LostRankError` where there is no such place.
    """
    store = _store(ranks) if store is None else store
    try:
        _meet(ranks, store, 0, others=ranks.world - 1, seconds=MEETING, gone=gone)
        here = _joined[-1].ranks.world if _joined else 1
        if ranks.rank == 0 and here < ranks.world:
            events.warn("rank-lost", what=f"processes that did not come: {ranks.world - here}", step=0, left=here)
        yield _joined[-1] if _joined else None
    finally:
        for last in _joined:
            last.dismiss()
        _joined.clear()
        _leave()


def _met(ranks: Ranks, store: Any, at: int) -> Group:
    """Return the group of all ranks of a meeting, who are there. Raises `LostRankError` where one is not any more."""
    import torch
    import torch.distributed as dist

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    within = _within(HANG if at else MEETING)
    apart = dist.PrefixStore(f"meeting/{at}", store)  # type: ignore[attr-defined]
    try:
        dist.init_process_group(backend, rank=ranks.rank, world_size=ranks.world, store=apart, **within)
        return Group(ranks, store, at=at)
    except (RuntimeError, ValueError) as error:
        raise LostRankError(f"they did not meet ({str(error).splitlines()[0][:200]})") from error


def _leave() -> None:
    """End the connections to the other ranks, which notice it."""
    import torch.distributed as dist

    if dist.is_initialized():
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


def _store(ranks: Ranks) -> Any:
    """Return where the ranks meet that were started by torchrun, or by a launcher that sets the same variables."""
    from torch.distributed.rendezvous import rendezvous

    if not os.environ.get("MASTER_PORT", "").isdecimal():
        hint = "start it by torchrun, or by --launch; or unset RANK and WORLD_SIZE"
        raise UsageError(f"MASTER_PORT is '{os.environ.get('MASTER_PORT', '')}'", code="bad-ranks", hint=hint)
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    try:
        store, *_ = next(rendezvous("env://", ranks.rank, ranks.world, **_within(MEETING)))
    except RuntimeError as error:
        raise LostRankError(f"they did not meet ({str(error).splitlines()[0][:200]})") from error
    return store


def loopback() -> str:
    """Return what the interface of this machine to itself is called."""
    return "lo0" if sys.platform == "darwin" else "lo"
