"""A batch in pieces gives the gradients of the whole one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import beholder
from beholder.base.errors import UsageError
from beholder.data.loader import Batches
from beholder.learn import loop
from beholder.learn.forward import forward, pieces
from beholder.machine.device import Precision
from beholder.machine.ranks import Ranks
from beholder.tasks.single import SINGLE
from beholder.tasks.task import Turn

FP32 = Precision("fp32", torch.float32, "")


def batches(batch: int, world: int = 1) -> Batches:
    class Pixels:
        shape = (3, 4, 4)

        def __len__(self) -> int:
            return batch

        def take(self, positions: Any) -> Any:
            return np.zeros((len(positions), 3, 4, 4), dtype=np.uint8)

    how: dict[str, Any] = {"batch": batch, "seed": 0, "device": "cpu", "mean": (0.5,) * 3, "std": (0.2,) * 3}
    return Batches(Pixels(), torch.zeros(batch, 2), ranks=Ranks(0, world), **how)


def gradients(micro: int, *, share: float = 1.0) -> tuple[float, float, torch.Tensor, list[int]]:
    torch.manual_seed(0)
    net, sizes = nn.Sequential(nn.Flatten(), nn.Linear(48, 2)), []
    net.register_forward_hook(lambda module, given, out: sizes.append(len(out)))
    images, targets = torch.randn(11, 3, 4, 4), torch.eye(2)[torch.arange(11) % 2]
    turns = pieces(SINGLE.turns, batches(11), micro)(net, images, targets, smoothing=0.1, weights=None)
    seen = list(forward(turns, torch.device("cpu"), FP32, share=share))
    assert len(seen) == 1, "one step a batch"
    seen[0].loss.backward()
    slope = net[1].weight.grad
    assert slope is not None
    return float(seen[0].loss.detach()), float(seen[0].right), slope, sizes


@pytest.mark.parametrize("share", [1.0, 0.4])
@pytest.mark.parametrize(("micro", "sizes"), [(4, [4, 4, 3]), (5, [4, 4, 3]), (11, [11]), (1, [2, 2, 2, 2, 2, 1])])
def test_pieces_give_the_loss_and_the_gradients_of_the_batch(micro: int, sizes: list[int], share: float) -> None:
    whole, split = gradients(0, share=share), gradients(micro, share=share)
    assert split[:2] == pytest.approx(whole[:2], rel=1e-6)
    assert torch.allclose(split[2], whole[2], rtol=1e-5, atol=1e-7)
    assert split[3] == sizes


def test_every_rank_takes_as_many_pieces() -> None:
    """Shares of 11 pictures among 4 ranks are of 2 and of 3."""
    for n in (2, 3):
        images, targets = torch.zeros(n, 3, 4, 4), torch.eye(2)[torch.arange(n) % 2]
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 2))
        turns = pieces(SINGLE.turns, batches(11, world=4), 2)(net, images, targets, smoothing=0.0, weights=None)
        assert sum(1 for _ in turns) == 2


def test_a_task_that_steps_twice_a_batch_is_refused() -> None:
    def twice(net: Any, images: Any, targets: Any, **how: Any) -> Iterator[Turn]:
        for who in ("a", "b"):
            yield Turn(who, torch.zeros((), requires_grad=True), torch.zeros(()))

    with pytest.raises(UsageError) as error:
        list(forward(pieces(twice, batches(8), 4)(None, torch.zeros(8, 1), torch.zeros(8, 1)), torch.device("cpu"), FP32))
    assert error.value.code == "one-turn"


def test_training_in_pieces_is_training_on_whole_batches(leaves: Any) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    how: dict[str, Any] = {"net": "mlp", "batch": 12, "epochs": 3, "seed": 3, "precision": "fp32"}
    whole, split = (beholder.train(parts, **how, micro=micro).history for micro in (0, 5))
    assert [row["loss"] for row in split] == pytest.approx([row["loss"] for row in whole], rel=1e-4)
    with pytest.raises(UsageError) as error:
        beholder.train(parts, **how, micro=5, subset="prune:0.5")
    assert error.value.code == "one-piece"


def test_what_is_compiled_has_the_shapes_that_the_run_then_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shape that comes up later would be compiled within the minutes of training."""
    compiled: list[tuple[int, int]] = []
    used: list[tuple[int, int]] = []

    class Wrapped(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, images: Tensor) -> Tensor:
            (used if steps else compiled).append((len(images), images.shape[-1]))
            found: Tensor = self.inner(images)
            return found

    steps: list[int] = []
    seeds = loop.seed
    monkeypatch.setattr(torch, "compile", lambda net, dynamic: Wrapped(net))
    monkeypatch.setattr(loop, "seed", lambda on, value: (steps.append(value), seeds(on, value))[1])
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8), np.arange(60) % 3
    parts = beholder.split(beholder.scan(pictures), seed=0, near=False)
    beholder.train(parts, net="fastnet", width=0.1, epochs=5, batch=8, micro=3, grow=0.6, compile="yes", precision="fp32")
    assert len(steps) >= 10
    assert set(used) == set(compiled)
    assert {count for count, _ in used} == {2, 3}
    assert {side for _, side in used} == {20, 24, 28, 32}
