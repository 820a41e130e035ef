"""Which pictures an epoch takes: shares, factors and the batches that follow from them, against hand computation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beholder.data.loader import Batches
from beholder.data.subset import Subset
from beholder.machine.draws import permutation


class Fake:
    shape = (1, 2, 2)

    def __init__(self, number: int) -> None:
        self.pixels = np.arange(number * 4, dtype=np.uint8).reshape(number, 1, 2, 2)

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, positions: np.ndarray) -> np.ndarray:
        return self.pixels[positions]


def batches(n: int, asked: str, *, batch: int = 4, seed: int = 3) -> Batches:
    subset = Subset(asked, n, batch=batch, seed=seed)
    return Batches(Fake(n), torch.eye(n), batch=batch, seed=seed, device="cpu", mean=(0.5,), std=(0.2,), subset=subset)


def indices(made: Batches, epoch: int, start: int = 0) -> list[int]:
    return [int(k) for batch in made.epoch(epoch, start) for k in batch.indices]


def pruned(n: int = 1000, share: float = 0.4, *, seed: int = 1) -> Subset:
    subset = Subset(f"prune:{share}", n, batch=4, seed=seed)
    subset.hear(torch.linspace(0, 2, n))
    subset.settle(torch.arange(n))
    return subset


@pytest.mark.parametrize(("n", "asked", "count"), [(40, "random:0.5", 20), (41, "random:.3", 12), (40, "random:0.01", 4)])
def test_a_random_share_is_new_in_each_epoch_and_follows_from_the_seed(n: int, asked: str, count: int) -> None:
    made = batches(n, asked)
    assert made.subset is not None
    assert (made.subset.most, len(made), made.steps) == (count, count // 4, count // 4)
    first, second = indices(made, 0), indices(made, 1)
    assert first == permutation(3, 0, n)[: count // 4 * 4].tolist()
    assert len(set(first)) == len(first)
    assert set(first) != set(second)
    assert indices(batches(n, asked), 0) == first
    assert indices(made, 0, start=1) == first[4:]
    assert set(indices(batches(n, asked, seed=4), 0)) != set(first)


def test_over_epochs_a_random_share_takes_every_picture_alike() -> None:
    subset = Subset("random:0.5", 100, batch=4, seed=0)
    taken = np.bincount(np.concatenate([subset.taken(permutation(0, epoch, 100)) for epoch in range(400)]), minlength=100)
    assert abs(taken - 200).max() < 5 * 10


def test_only_pictures_below_the_mean_are_left_out_and_the_rest_of_them_counts_more() -> None:
    subset = pruned()
    subset.begin(2, whole=False)
    low = torch.linspace(0, 2, 1000) < 1.0
    assert set(subset.factors[~low].tolist()) == {1.0}
    assert sorted(set(subset.factors[low].tolist())) == pytest.approx([0.0, 1 / 0.6])
    assert abs(int((subset.factors == 0).sum()) - 200) < 50
    assert subset.count == int((subset.factors > 0).sum())
    order = permutation(0, 2, 1000)
    taken = subset.taken(order)
    assert taken.tolist() == [k for k in order.tolist() if subset.factors[k] > 0]


def test_on_average_every_picture_counts_once() -> None:
    subset = pruned(200)
    total = torch.zeros(200)
    for epoch in range(1, 601):
        subset.begin(epoch, whole=False)
        total += subset.factors / 600
    assert abs(total - 1).max() < 0.17, "5 standard errors of a factor that is 1 / 0.6 with probability 0.6"
    assert abs(float(total.mean()) - 1) < 0.01


def test_what_has_no_loss_yet_stays_and_the_first_epoch_and_the_last_ones_are_whole() -> None:
    fresh = Subset("prune:0.5", 30, batch=4, seed=1)
    fresh.begin(0, whole=False)
    assert fresh.count == 30
    fresh.hear(torch.tensor([0.0, 0.1, 5.0]))
    fresh.settle(torch.tensor([4, 7, 9]))
    out = set()
    for epoch in range(1, 20):
        fresh.begin(epoch, whole=False)
        out |= set(torch.nonzero(fresh.factors == 0).flatten().tolist())
    assert out == {4, 7}
    subset = pruned()
    subset.begin(5, whole=True)
    assert subset.factors.eq(1).all()
    tiny = pruned(5, 0.9)
    for epoch in range(1, 30):
        tiny.begin(epoch, whole=False)
        assert tiny.count >= 4, "an epoch has a batch at least"


def test_batches_of_a_pruned_epoch_carry_what_each_picture_counts() -> None:
    made = batches(40, "prune:0.5")
    subset = made.subset
    assert subset is not None
    assert (len(made), made.steps) == (10, 10)
    subset.hear(torch.linspace(1, 0, 40))
    subset.settle(torch.arange(40))
    subset.begin(1, whole=False)
    assert made.steps == subset.count // 4 < len(made)
    for batch in made.epoch(1):
        assert batch.targets.shape == (4, 41)
        assert torch.equal(batch.targets[:, -1], subset.factors[batch.indices])
        assert torch.equal(batch.targets[:, :-1].argmax(1), batch.indices)
        assert batch.targets[:, -1].min() >= 1
    whole = indices(made, 1)
    assert indices(made, 1, start=2) == whole[8:]


def test_a_checkpoint_holds_the_losses_and_the_present_choice() -> None:
    subset, other = pruned(50), Subset("prune:0.4", 50, batch=4, seed=1)
    subset.begin(3, whole=False)
    other.set({name: value.clone() for name, value in subset.state().items()})
    assert torch.equal(other.factors, subset.factors)
    for each in (subset, other):
        each.hear(torch.tensor([9.0]))
        each.settle(torch.tensor([0]))
        each.begin(4, whole=False)
    assert torch.equal(other.factors, subset.factors)
    assert Subset("random:0.5", 50, batch=4, seed=1).state() == {}
