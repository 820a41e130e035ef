from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from beholder.learn.watch import Average, Best, NotFiniteError, check_finite, row


def test_the_average_follows_the_formula_and_copies_counters() -> None:
    net = nn.BatchNorm1d(2)
    average = Average(net, 0.5)
    expected = net.weight.detach().clone()
    for k in range(1, 6):
        with torch.no_grad():
            net.weight.fill_(float(k))
        net.num_batches_tracked.fill_(k)
        average.update(net)
        decay = min(0.5, (1 + k) / (10 + k))
        expected = decay * expected + (1 - decay) * k
    assert torch.allclose(average.net.weight, expected)
    assert int(average.net.num_batches_tracked) == 5
    assert not any(p.requires_grad for p in average.net.parameters())


def test_the_best_is_the_higher_score_then_the_lower_loss_and_a_copy() -> None:
    net, best = nn.Linear(1, 1, bias=False), Best()
    nn.init.constant_(net.weight, 1.0)
    assert best.offer(net, score=0.5, loss=1.0, epoch=0)
    nn.init.constant_(net.weight, 2.0)
    assert not best.offer(net, score=0.4, loss=0.1, epoch=1)
    assert not best.offer(net, score=math.nan, loss=0.0, epoch=2)
    assert Best().offer(net, score=math.nan, loss=0.5, epoch=0)
    assert not Best().offer(net, score=math.nan, loss=math.nan, epoch=0)
    assert float(best.weights["weight"]) == 1.0
    assert best.offer(net, score=0.5, loss=0.9, epoch=3)
    assert (float(best.weights["weight"]), best.epoch) == (2.0, 3)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops(value: float) -> None:
    with pytest.raises(NotFiniteError, match="step 7") as caught:
        check_finite(torch.tensor(value), 7)
    assert caught.value.hint
    check_finite(torch.tensor(1e30), 7)


def test_rows_are_short_and_fit_for_json() -> None:
    found = row(loss=0.123456789, epoch=3, score=math.nan, valid_loss=math.inf)
    assert found == {"loss": 0.123457, "epoch": 3, "score": None, "valid_loss": None}
