from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from beholder.learn.monitors import Average, Best, Guard, NotFiniteError, Player, Tally, copied, gradient_norm, row
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


def player(*, average: bool = True, best: bool = True) -> Player:
    net = nn.Linear(1, 1)
    return Player(net, [], Average(net, 0.9) if average else None, Best() if best else None)


def test_a_player_goes_on_from_what_it_told() -> None:
    one, other = player(), player()
    one.tally.add(torch.tensor(3.0), torch.tensor(0.5))
    assert one.state() == {"tally": (3.0, 0.5, 1), "updates": 0, "best": None}, "nothing was validated"
    assert one.average is not None
    assert one.best is not None
    one.average.update(one.module)
    one.best.offer(one.module, score=0.75, loss=0.25, epoch=4)
    told = one.state()
    assert told == {"tally": (3.0, 0.5, 1), "updates": 1, "best": {"score": 0.75, "loss": 0.25, "epoch": 4}}
    other.set(told, best=True)
    assert other.tally.state() == (3.0, 0.5, 1)
    assert other.average is not None
    assert other.best is not None
    assert other.average.updates == 1
    assert (other.best.score, other.best.loss, other.best.epoch) == (0.75, 0.25, 4)
    without = player()
    without.set(told, best=False)
    assert without.best is not None
    assert without.best.epoch == -1


def test_a_player_without_an_average_or_a_best_has_none_to_tell_of() -> None:
    plain = player(average=False, best=False)
    assert plain.scored is plain.module
    assert plain.state() == {"tally": (0.0, 0.0, 0), "updates": 0, "best": None}
    plain.set({"tally": (1.0, 0.5, 2), "updates": 7, "best": {"score": 1.0, "loss": 0.0, "epoch": 3}}, best=True)
    assert plain.tally.means() == (0.5, 0.25)
    averaged = player()
    assert averaged.average is not None
    assert averaged.scored is averaged.average.net


def test_a_copy_does_not_change_with_the_net() -> None:
    net = nn.BatchNorm1d(2)
    kept = copied(net)
    with torch.no_grad():
        net.weight.fill_(7.0)
        net.num_batches_tracked.fill_(3)
    assert kept.keys() == net.state_dict().keys()
    assert kept["weight"].tolist() == [1.0, 1.0]
    assert int(kept["num_batches_tracked"]) == 0
    assert not kept["weight"].requires_grad


def test_a_best_that_is_as_good_stays() -> None:
    best, net = Best(), nn.Linear(1, 1)
    assert best.offer(net, score=0.5, loss=1.0, epoch=0)
    assert not best.offer(net, score=0.5, loss=1.0, epoch=1)
    assert not best.offer(net, score=0.5, loss=1.5, epoch=2)
    assert (best.epoch, best.loss) == (0, 1.0)
    assert best.offer(net, score=0.75, loss=9.0, epoch=3), "the score comes first"


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ((), "it broke"),
        (("a",), "it broke (pictures a)"),
        (("a", "b", "c"), "it broke (pictures a, b, c)"),
        (("a", "b", "c", "d", "e"), "it broke (pictures a, b, c and 2 more)"),
    ],
)
def test_the_pictures_of_a_bad_batch_are_named(keys: tuple[str, ...], says: str) -> None:
    error = NotFiniteError("it broke", keys=keys)
    assert (error.message, error.keys, error.code) == (says, keys, "not-finite")
    assert "train.lr" in error.hint


def test_norms_that_nobody_asked_for_are_not_looked_at() -> None:
    for eager in (True, False):
        guard = Guard(KEYS, eager=eager)
        guard.watch(turn(1.0), None, step=0, indices=BATCH)
        guard.watch(turn(2.0), torch.tensor(3.0), step=1, indices=BATCH)
        guard.look()
    guard.watch(turn(1.0), torch.tensor(math.inf), step=2, indices=BATCH)
    guard.watch(turn(math.nan), None, step=3, indices=BATCH)
    with pytest.raises(NotFiniteError, match="at step 2"):
        guard.look()


def test_optimisers_that_cannot_be_told_are_left_alone() -> None:
    net = nn.Linear(1, 1)
    fused, plain = (torch.optim.AdamW(net.parameters(), fused=fused) for fused in (True, False))
    guard = Guard(eager=False)
    guard.shield([fused])
    assert not hasattr(fused, "found_inf"), "nothing was watched yet"
    guard.watch(turn(1.0), None, step=0, indices=BATCH)
    guard.shield([fused, plain])
    assert float(fused.found_inf) == 0.0
    assert not hasattr(plain, "found_inf")
    guard.watch(turn(math.nan), None, step=1, indices=BATCH)
    guard.shield([fused])
    assert float(fused.found_inf) == 1.0
