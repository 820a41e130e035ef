from __future__ import annotations

import pytest
import torch
from torch import nn

from beholder.base.spans import Ledger
from beholder.learn.profile import renewed, step_flop, summary, text


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def ledger() -> Ledger:
    time = Time()
    ledger = Ledger(now=time)
    for name, seconds in (("forward", 1.0), ("backward", 2.5), ("optimiser", 0.4), ("augment", 0.1), ("evaluate", 3.0)):
        ledger.enter(name)
        time.now += seconds
        ledger.leave()
    time.now += 1.0
    return ledger


def test_flop_of_a_step_are_those_of_the_formula() -> None:
    """A convolution: 2·9·3·8 a place forward, as much for its weights backward; pictures need no gradient. A matrix: thrice."""
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.Flatten(), nn.Linear(8 * 36, 5))
    convolution, matrix = 2 * 9 * 3 * 8 * 36, 2 * 8 * 36 * 5
    assert step_flop(net, (3, 6, 6)) == 2 * convolution + 3 * matrix


def test_groups_and_frozen_layers_are_counted_as_what_they_are() -> None:
    net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Flatten())
    one = 2 * 9 * 8 * 36
    assert step_flop(net, (8, 6, 6)) == 2 * one + 3 * one
    net[0].requires_grad_(False)
    assert step_flop(net, (8, 6, 6)) == one + 2 * one
    upwards = nn.Sequential(nn.Conv2d(8, 8, 1), nn.ConvTranspose2d(8, 8, 3, groups=4), nn.Flatten())
    assert step_flop(upwards, (8, 6, 6)) == 2 * 2 * 8 * 8 * 36 + 3 * 2 * 8 * 36 * 2 * 9


def test_counting_leaves_the_net_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Flatten()).eval()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert step_flop(net, (3, 6, 6))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert not net.training
    assert all(p.grad is None and p.device.type == "cpu" for p in net.parameters())


def test_a_net_that_needs_values_has_no_count() -> None:
    class Choosy(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if float(x.mean()) > 0 else -x

    assert step_flop(Choosy(), (3, 6, 6)) is None


def test_speed_is_of_the_training_alone(ledger: Ledger) -> None:
    found = summary(ledger, pictures=400, flop=10**9, peak=2e11, precision="bf16")
    assert found["wall"] == pytest.approx(8.0)
    assert sum(found["seconds"].values()) == pytest.approx(found["wall"])
    assert found["pictures_per_second"] == pytest.approx(100)
    assert found["tflops"] == pytest.approx(0.1)
    assert found["share_of_peak"] == pytest.approx(0.5)
    assert "0.50 of the 0.200" in text(found)
    assert "evaluate       3.00 s  37.5%" in text(found)


def test_without_a_count_or_training_there_is_still_a_table(ledger: Ledger) -> None:
    assert "tflops" not in summary(ledger, pictures=400, flop=0, peak=2e11, precision="bf16")
    assert summary(ledger, pictures=0, flop=1, peak=1.0, precision="bf16").keys() == {"wall", "seconds"}


def test_a_summary_is_brought_up_to_now(ledger: Ledger) -> None:
    found = summary(ledger, pictures=400, flop=10**9, peak=2e11, precision="bf16")
    ledger._now.now += 2.0  # type: ignore[attr-defined]
    later = renewed(found, ledger)
    assert (later["wall"], later["tflops"]) == (pytest.approx(10.0), found["tflops"])
    assert later["seconds"]["other"] == pytest.approx(3.0)
