"""How fast a net learns: a step changes nothing, and the least of several is what counts. The clock is made up."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from beholder.learn import tempo
from beholder.machine.device import Precision

EXACT = Precision("fp32", torch.float32, "asked")


class Net(nn.Module):
    """Two classes of pictures with three channels. Counts how often it is called, and how."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(3, 2)
        self.seen: list[tuple[bool, bool, int]] = []

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        self.seen.append((self.training, images.is_contiguous(memory_format=torch.channels_last), len(images)))
        return self.last(images.mean(dim=(2, 3)))

    def __deepcopy__(self, memo: Any) -> Net:
        made = Net()
        made.last = copy.deepcopy(self.last)
        made.seen = self.seen
        return made


@pytest.fixture
def net() -> Net:
    return Net().eval()


IMAGES = torch.randn(5, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_step_trains_a_copy_and_changes_no_weight(net: Net) -> None:
    before = copy.deepcopy(net.state_dict())
    step = tempo.step_of(net, IMAGES, EXACT)
    step()
    step()
    assert net.seen == [(True, True, 5)] * 2
    torch.testing.assert_close(net.state_dict(), before, rtol=0, atol=0)
    assert all(p.grad is None for p in net.parameters())
    assert not net.training


@pytest.mark.parametrize(
    ("seconds", "each", "steps"),
    [
        ([0.25], 0.05, 1),  # it takes enough
        ([0.125, 0.03125], 0.03125 / 5, 2),
        ([0.03125, 0.0625, 0.125], 0.03125 / 5, 3),
    ],
)
def test_the_least_of_a_few_steps_counts_and_the_first_does_not(
    net: Net, seconds: list[float], each: float, steps: int
) -> None:
    def clock() -> Iterator[float]:
        now = 100.0
        for spent in seconds:
            yield now
            now += spent
            yield now

    times = clock()
    assert tempo.seconds_each(net, IMAGES, EXACT, now=lambda: next(times)) == pytest.approx(each)
    assert len(net.seen) == steps + 1


def test_threads_are_those_with_which_a_training_step_is_quickest(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def quickest(work: Any, *, most: int) -> int:
        work()
        asked.append(most)
        return 3

    monkeypatch.setattr(tempo, "quickest", quickest)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    assert tempo.threads(net, IMAGES, EXACT) == 3
    assert asked == [7]
    assert net.seen == [(True, True, 5)]
