"""Validation by several ranks: their answers, put together, are those of one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beholder.learn.answers import Later, answered
from beholder.machine.device import precision
from beholder.machine.ranks import Ranks
from beholder.runtime.inference import Held, Normal

CPU = torch.device("cpu")


@pytest.mark.parametrize(("n", "batch", "world"), [(10, 3, 1), (10, 3, 2), (10, 2, 4), (9, 2, 4), (1, 2, 3)])
def test_shares_of_all_ranks_are_the_answers_of_one(n: int, batch: int, world: int) -> None:
    """Each picture is answered by one rank; where there are fewer pictures than ranks, some answer none."""
    images = np.random.default_rng(0).integers(0, 256, (n, 1, 4, 4), np.uint8)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 3)).eval()
    later = Later(Held(images), 3, Normal((0.5,), (0.25,), CPU))
    fp32 = precision(CPU, "fp32")
    (whole,) = answered(net, later, fp32, batch=n)
    shares = [list(answered(net, later, fp32, batch=batch, ranks=Ranks(rank, world))) for rank in range(world)]
    assert {tuple(len(part) for part in each) for each in shares} == {
        tuple(min(batch * world, n - k) for k in range(0, n, batch * world))
    }
    torch.testing.assert_close(sum(torch.cat(each) for each in shares), whole)
    assert not whole.requires_grad
