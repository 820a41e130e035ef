from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from beholder.base import events
from beholder.data.augment import preset
from beholder.data.loader import Batches
from beholder.learn.checkpoint import RunFolder, Saves
from beholder.learn.clock import Clock
from beholder.learn.monitors import Guard, NotFiniteError
from beholder.machine.ranks import ALONE, Ranks, here
from beholder.tasks.task import Turn


class Table:
    """What the ranks of a world of threads put down for each other."""

    def __init__(self, world: int) -> None:
        self.barrier = threading.Barrier(world, timeout=20)
        self.given: list[Any] = [None] * world


@dataclass(frozen=True)
class Threads(Ranks):
    """A world in one process: each rank is a thread."""

    table: Any = None

    def barrier(self) -> None:
        self.table.barrier.wait()

    def _all(self, value: Any) -> list[Any]:
        self.table.given[self.rank] = value
        self.barrier()
        given = list(self.table.given)
        self.barrier()
        return given

    def broadcast(self, value: Any) -> Any:
        return self._all(value)[0]

    def mean(self, value: Tensor) -> Tensor:
        return torch.stack(self._all(value)).mean(dim=0)


def together(work: Callable[[Ranks], Any], *, world: int = 2) -> list[Any]:
    """What each rank returns, or the error that it raised."""
    table, found = Table(world), [None] * world

    def run(ranks: Ranks) -> None:
        try:
            found[ranks.rank] = work(ranks)
        except Exception as error:  # noqa: BLE001
            found[ranks.rank] = error

    threads = [threading.Thread(target=run, args=(Threads(rank, world, table),)) for rank in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


class Pixels:
    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape = images, images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: np.ndarray) -> np.ndarray:
        return self.images[positions]


PIXELS = Pixels(np.random.default_rng(0).integers(0, 256, (50, 3, 12, 12), dtype=np.uint8))


def batches(ranks: Ranks, *, memory: int = 0, batch: int = 15) -> Batches:
    plan = preset("strong", size=12)
    how = {"batch": batch, "seed": 3, "device": "cpu", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    return Batches(PIXELS, torch.eye(50), plan=plan, memory=memory, ranks=ranks, **how)  # type: ignore[arg-type]


@pytest.mark.parametrize("world", [2, 3, 4])
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_the_batches_of_all_ranks_together_are_those_of_one_in_order(world: int, memory: int) -> None:
    apart = [batches(Ranks(rank, world), memory=memory) for rank in range(world)]
    for epoch, start in ((0, 0), (1, 2)):
        steps = [list(each.epoch(epoch, start=start)) for each in apart]
        whole = list(batches(ALONE, memory=memory).epoch(epoch, start=start))
        assert [len(each) for each in steps] == [len(whole)] * world
        for step, one in enumerate(whole):
            shares = [each[step] for each in steps]
            assert torch.equal(torch.cat([share.indices for share in shares]), one.indices)
            assert torch.equal(torch.cat([share.targets for share in shares]), one.targets)
            assert torch.allclose(torch.cat([share.images for share in shares]), one.images, atol=1e-6)


def test_shards_are_whole_in_order_and_even() -> None:
    for n in (0, 1, 7, 64):
        rows = np.arange(n)
        shares = [Ranks(rank, 5).shard(rows) for rank in range(5)]
        assert np.concatenate(shares).tolist() == rows.tolist()
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert sum(len(batches(Ranks(rank, 4)).example()) for rank in range(4)) == 15


def test_a_world_of_one_exchanges_nothing() -> None:
    value = torch.ones(3)
    assert here() == ALONE == Ranks(0, 1)
    assert ALONE.first
    assert ALONE.mean(value) is value
    assert ALONE.broadcast(value) is value


@pytest.mark.parametrize("eager", [True, False])
def test_where_one_loss_is_not_finite_all_ranks_stop(eager: bool) -> None:
    def watched(ranks: Ranks) -> None:
        guard = Guard(eager=eager, ranks=ranks)
        for step, loss in enumerate((1.0, float("nan") if ranks.rank else 1.0)):
            guard.watch(
                Turn("net", torch.tensor(loss), torch.tensor(1.0)), torch.tensor(1.0), step=step, indices=torch.arange(2)
            )
        guard.look()

    found = together(watched)
    assert [type(each) for each in found] == [NotFiniteError] * 2
    assert all("step 1" in str(each) for each in found)


def test_all_ranks_plan_by_the_clock_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(ranks: Ranks) -> list[int]:
        times = iter(np.arange(1000) * (1.0 + ranks.rank))  # the second rank's clock runs twice as fast
        clock = Clock(steps_per_epoch=50, epochs=4, seconds=120.0, now=lambda: ranks.broadcast(float(next(times))))
        totals = []
        for _ in range(20):
            clock.tick()
            totals.append(clock.total)
        return totals

    first, second = together(planned)
    assert first == second
    assert first[-1] < 200, "the budget cuts the plan"


def test_the_first_rank_alone_speaks_and_writes(tmp_path: Path) -> None:
    heard: list[str] = []
    folder = RunFolder(tmp_path / "m.run")
    folder.begin({"seed": 0}, resume=False)
    written: list[int] = []

    def worked(ranks: Ranks) -> None:
        with events.listen(lambda event: heard.append(event.message), alone=True), ranks.speaking():
            events.note(f"rank {ranks.rank}")
        saves = Saves(folder, ranks)
        saves.remember({"rank": ranks.rank}, {"weight": torch.full((2,), float(ranks.rank))})
        saves.keep()
        written.append(ranks.rank)

    assert together(worked) == [None, None]
    assert heard == ["rank 0"]
    state, tensors = folder.load()
    assert state["rank"] == 0
    assert tensors["weight"].tolist() == [0.0, 0.0]
    assert sorted(written) == [0, 1]
