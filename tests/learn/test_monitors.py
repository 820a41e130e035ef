from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from beholder.learn.monitors import Average, Best, Guard, NotFiniteError, Tally, gradient_norm, row
from beholder.tasks.task import Turn


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


def turn(loss: float) -> Turn:
    return Turn("net", torch.tensor(loss), torch.tensor(0.5))


BATCH = torch.tensor([2, 0])
KEYS = ["a.png", "b.png", "c.png", "d.png"]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_reported_at_once_with_its_step_and_pictures(value: float) -> None:
    guard = Guard(KEYS)
    guard.watch(turn(1e30), torch.tensor(1e30), step=6, indices=BATCH)
    with pytest.raises(NotFiniteError, match=r"loss became .* at step 7 \(pictures c\.png, a\.png\)") as caught:
        guard.watch(turn(value), torch.tensor(1.0), step=7, indices=BATCH)
    assert caught.value.keys == ("c.png", "a.png")
    assert caught.value.hint
    with pytest.raises(NotFiniteError, match="gradients became"):
        guard.watch(turn(1.0), torch.tensor(value), step=8, indices=BATCH)


def test_where_the_host_does_not_wait_the_first_bad_step_is_found_later_and_fused_optimisers_stand_still() -> None:
    net = nn.Linear(2, 1, bias=False)
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.1, fused=True)
    guard = Guard(KEYS, eager=False)
    weights = []
    for step, loss in enumerate([1.0, math.nan, 2.0, math.inf]):
        net.weight.grad = torch.full((1, 2), loss)
        guard.watch(turn(loss), gradient_norm(net, 0.0), step=step, indices=BATCH + (step == 1))
        guard.shield([optimiser])
        optimiser.step()
        weights.append(net.weight.detach().clone())
    said = f"torch {torch.__version__} (written for 2.15): fused optimisers do not heed `found_inf` any more"
    assert all(torch.equal(value, weights[0]) for value in weights[1:]), said
    with pytest.raises(NotFiniteError, match="at step 1") as caught:
        guard.look()
    assert caught.value.keys == ("d.png", "b.png")
    guard.forget()
    guard.look()


def test_weights_that_are_not_finite_are_never_kept_but_masks_may_be() -> None:
    guard = Guard()
    sound = {"w": torch.ones(2), "mask": torch.tensor([0.0, -math.inf])}
    guard.check(sound, step=0)
    guard.check(sound, step=1)
    with pytest.raises(NotFiniteError, match="w is not finite after step 2"):
        guard.check({**sound, "w": torch.tensor([1.0, math.nan])}, step=2)


def test_the_norm_of_the_gradients_is_that_of_all_of_them_and_clipping_scales_to_it() -> None:
    net = nn.Linear(2, 2)
    net.weight.grad, net.bias.grad = torch.full((2, 2), 3.0), torch.full((2,), 4.0)
    expected = math.sqrt(4 * 9 + 2 * 16)
    assert float(gradient_norm(net, 0.0)) == pytest.approx(expected)
    assert float(gradient_norm(net, 1.0)) == pytest.approx(expected)
    assert float(gradient_norm(net, 0.0)) == pytest.approx(1.0, abs=1e-4)


def test_sums_go_on_exactly_where_they_stopped() -> None:
    values = torch.rand(20, 2, generator=torch.Generator().manual_seed(0))
    whole, first, second = Tally(), Tally(), Tally()
    for loss, right in values:
        whole.add(loss, right)
    for loss, right in values[:13]:
        first.add(loss, right)
    second.set(*first.state())
    for loss, right in values[13:]:
        second.add(loss, right)
    assert second.state() == whole.state()
    assert whole.means() == pytest.approx(values.mean(0).tolist(), abs=1e-6)
    assert Tally().means() == (0.0, 0.0)


def test_rows_are_short_and_fit_for_json() -> None:
    found = row(loss=0.123456789, epoch=3, score=math.nan, valid_loss=math.inf)
    assert found == {"loss": 0.123457, "epoch": 3, "score": None, "valid_loss": None}
