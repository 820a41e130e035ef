from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from beholder.base.errors import UsageError
from beholder.data.augment import Augment, preset
from beholder.data.loader import Batches
from beholder.machine.ranks import ALONE, Ranks, asked, group


class Pixels:
    def __init__(self, images: np.ndarray) -> None:
        self.images, self.shape = images, images.shape[1:]

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: np.ndarray) -> np.ndarray:
        return self.images[positions]


PIXELS = Pixels(np.random.default_rng(0).integers(0, 256, (50, 3, 12, 12), dtype=np.uint8))
STRONG = preset("strong", size=12)


def batches(ranks: Ranks, *, memory: int = 0, batch: int = 15, plan: Augment = STRONG) -> Batches:
    how = {"batch": batch, "seed": 3, "device": "cpu", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    return Batches(PIXELS, torch.eye(50), plan=plan, memory=memory, ranks=ranks, **how)  # type: ignore[arg-type]


PLANS = {
    "strong": STRONG,
    "mixup": dataclasses.replace(STRONG, mixup=0.4),
    "cutmix": Augment(cutmix=1.0),
    "both": Augment(mixup=0.4, cutmix=1.0),
}


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("world", [2, 3, 4, 15])
@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_the_batches_of_all_ranks_together_are_those_of_one_in_order(world: int, memory: int, plan: str) -> None:
    apart = [batches(Ranks(rank, world), memory=memory, plan=PLANS[plan]) for rank in range(world)]
    for epoch, start in ((0, 0), (1, 2)):
        steps = [list(each.epoch(epoch, start=start)) for each in apart]
        whole = list(batches(ALONE, memory=memory, plan=PLANS[plan]).epoch(epoch, start=start))
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


def test_a_process_that_nobody_started_with_others_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert asked() == ALONE == Ranks(0, 1)
    assert group() is None


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("-1", "2"), ("a", "2"), ("0", "two")])
def test_a_rank_that_is_none_is_refused(rank: str, world: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(UsageError, match="WORLD_SIZE") as error:
        asked()
    assert error.value.code == "bad-ranks"
