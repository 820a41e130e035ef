"""The loop by itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.data.loader import Batches
from beholder.learn.alone import fit


class Rows:
    """Pictures uint8 (48, 1, 6, 6), dark of class 0 and bright of class 1."""

    shape = (1, 6, 6)

    def __init__(self) -> None:
        grey = 60 + 100 * (np.arange(48) % 2)[:, None, None, None]
        self.x = (grey + np.random.default_rng(0).integers(0, 30, (48, 1, 6, 6))).astype(np.uint8)

    def __len__(self) -> int:
        return 48

    def take(self, positions: Any) -> Any:
        return self.x[positions]


def batches() -> Batches:
    hot = torch.eye(2)[torch.arange(48) % 2]
    return Batches(Rows(), hot, batch=12, seed=0, device="cpu", mean=[0.5], std=[0.25])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Dropout(0.2), nn.Linear(36, 2))


def weights(**how: Any) -> tuple[torch.Tensor, Any]:
    learner = net()
    with events.listen(lambda event: None, alone=True):
        run = fit(learner, batches(), epochs=5, **how)
    return torch.cat([p.detach().flatten() for p in learner.parameters()]), run


def test_a_module_learns_and_is_given_back_in_evaluation_mode() -> None:
    learner = net()
    with events.listen(lambda event: None, alone=True):
        run = fit(learner, batches(), epochs=20, lr=0.01)
    assert (run.clock.step, run.net) == (80, learner)
    assert not learner.training
    images = (torch.from_numpy(Rows().x).float() / 255 - 0.5) / 0.25
    assert bool((learner(images).argmax(1) == torch.arange(48) % 2).all())


def test_the_seed_says_all_of_it() -> None:
    assert torch.equal(weights()[0], weights()[0])
    assert not torch.equal(weights()[0], weights(seed=1)[0]), "dropout draws other units"


def test_an_optimiser_of_torch_is_stepped_by_the_schedule() -> None:
    learner = net()
    mine = torch.optim.SGD(learner.parameters(), lr=0.1)
    with events.listen(lambda event: None, alone=True):
        fit(learner, batches(), epochs=2, optimiser=mine, schedule="constant")
        assert mine.param_groups[0]["lr"] == pytest.approx(0.1)
        fit(learner, batches(), epochs=2, optimiser=mine, schedule="cosine")
    assert mine.param_groups[0]["lr"] < 0.05


def test_a_moving_average_is_kept_beside() -> None:
    plain, run = weights(averaging=0.9)
    average = torch.cat([p.flatten() for p in run.lead.scored.parameters()])
    assert not torch.equal(average, plain)
    assert torch.equal(weights()[0], plain)


@pytest.mark.parametrize(
    ("field", "code"), [("optimiser", "unknown-optimiser"), ("schedule", "unknown-schedule"), ("task", "unknown-task")]
)
def test_names_that_are_not_there(field: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        weights(**{field: "nonesuch"})
    assert caught.value.code == code
