from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.nets.synced import Synced


class Together:
    """Sums over ranks that are threads of this process."""

    def __init__(self, world: int) -> None:
        self.barrier, self.given = threading.Barrier(world, timeout=20), [torch.empty(0)] * world

    def of(self, rank: int) -> Callable[[Tensor], Tensor]:
        def total(values: Tensor) -> Tensor:
            self.given[rank] = values
            self.barrier.wait()
            found = torch.stack(self.given).sum(0)
            self.barrier.wait()
            return found

        return total


def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 5), nn.BatchNorm1d(5, affine=False)
    ).double()


def slopes(made: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in made.parameters() if p.grad is not None]


@pytest.mark.parametrize("cut", [[6, 10], [1, 5, 16]])
def test_norms_of_shares_are_the_norm_of_the_whole(cut: list[int]) -> None:
    """Outputs, gradients of weights and input, and running moments equal those of torch's batch norm on all pictures."""
    images = torch.randn(16, 3, 8, 8, dtype=torch.float64) * 3 + 40  # far from 0: moments must not cancel
    targets = torch.randn(16, 5, dtype=torch.float64)
    whole, given = net(), images.clone().requires_grad_(True)
    out = whole(given)
    (out - targets).square().mean().backward()

    ends = [0, *cut] if cut[-1] == 16 else [0, *cut, 16]
    shares = [slice(a, b) for a, b in itertools.pairwise(ends)]
    together, found, nets = Together(len(shares)), [None] * len(shares), [net() for _ in shares]

    def work(rank: int, rows: slice) -> None:
        own, x = nets[rank], images[rows].clone().requires_grad_(True)
        with Synced(together.of(rank)):
            y = own(x)
        ((y - targets[rows]).square().mean() * (len(x) / 16)).backward()
        found[rank] = (y.detach(), x.grad, slopes(own), own)  # type: ignore[call-overload]

    threads = [threading.Thread(target=work, args=(rank, rows)) for rank, rows in enumerate(shares)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    done: list[Any] = list(found)
    assert torch.allclose(torch.cat([row[0] for row in done]), out, rtol=0, atol=1e-10)
    assert torch.allclose(torch.cat([row[1] for row in done]), given.grad, rtol=0, atol=1e-12)  # type: ignore[arg-type]
    for k, slope in enumerate(slopes(whole)):
        assert torch.allclose(sum(row[2][k] for row in done), slope, rtol=1e-9, atol=1e-12)
    for row in done:
        for ours, theirs in zip(row[3].buffers(), whole.buffers(), strict=True):
            assert torch.allclose(ours, theirs, rtol=1e-9)


def test_norms_in_evaluation_mode_are_left_alone() -> None:
    def never(_: Tensor) -> Tensor:
        raise AssertionError

    made = net().eval()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64)
    with Synced(never):
        found = made(images)
    assert torch.equal(found, made(images))


def test_half_precision_is_computed_in_float32() -> None:
    images = torch.randn(4, 3, 5, 5).bfloat16()
    with Synced(lambda values: values):
        found = F.batch_norm(images, None, None, training=True)
    assert found.dtype is torch.bfloat16
    assert torch.allclose(found.float(), F.batch_norm(images.float(), None, None, training=True), atol=0.02)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kind", "near"), [(torch.float32, 1e-5), (torch.bfloat16, 0.02)])
def test_gradients_under_autocast_and_of_either_layout_are_those_of_torch(
    layout: torch.memory_format, kind: torch.dtype, near: float
) -> None:
    """One rank with all pictures: torch's own batch norm is the oracle."""
    images = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 + 3
    targets = torch.randn(8, 5, generator=torch.Generator().manual_seed(1))
    found = []
    for context in (nullcontext(), Synced(lambda values: values)):
        made, x = net().float().to(memory_format=layout), images.to(memory_format=layout).requires_grad_(True)  # type: ignore[call-overload]
        with context, torch.autocast("cpu", kind, enabled=kind is not torch.float32):
            loss = (made(x).float() - targets).square().mean()
        loss.backward()
        found.append([loss.detach(), x.grad, *slopes(made)])
    largest = max(float(value.abs().max()) for value in found[0])  # those of biases before a norm are 0 but for rounding
    for ours, theirs in zip(found[1], found[0], strict=True):
        assert float((ours - theirs).abs().max()) <= near * max(float(theirs.abs().max()), 0.1 * largest)
