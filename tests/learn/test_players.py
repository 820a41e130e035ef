"""Tasks with two players: each learns by its own turns alone, and has an average and a best of its own."""

from __future__ import annotations

import itertools
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base.errors import Interrupted, UsageError
from beholder.data.loader import Batches
from beholder.learn.checkpoint import RunFolder, Saves
from beholder.learn.clock import Clock
from beholder.learn.loop import Run, Settings
from beholder.learn.monitors import Average, Best, Player, Validation
from beholder.learn.optim import constant
from beholder.machine.device import precision
from beholder.machine.stop import Stop, stopping
from beholder.tasks.task import Turn

CPU = torch.device("cpu")


class Squares:
    """Pictures in memory, as `Batches` reads them."""

    def __init__(self) -> None:
        self.array = np.random.default_rng(0).integers(0, 255, (64, 1, 8, 8)).astype(np.uint8)
        self.shape = self.array.shape[1:]

    def __len__(self) -> int:
        return len(self.array)

    def take(self, positions: Any) -> Any:
        return self.array[positions]


class Pair(nn.Module):
    """A generator and a discriminator of 8 × 8 pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.g, self.d = nn.Linear(4, 64), nn.Linear(64, 1)

    def forward(self, z: Tensor) -> Tensor:
        return self.g(z)


def adversarial(net: Pair, images: Tensor, targets: Tensor, *, smoothing: float, weights: Tensor | None) -> Iterator[Turn]:
    """Non-saturating GAN (Goodfellow et al., 2014)."""
    real, z = images.flatten(1), torch.randn(len(images), 4)
    zero = torch.zeros(())
    yield Turn("d", F.softplus(-net.d(real)).mean() + F.softplus(net.d(net.g(z).detach())).mean(), zero)
    yield Turn("g", F.softplus(-net.d(net.g(z))).mean(), zero)


Watch = Callable[[Pair], object]


def run_of(stop: Stop, *, epochs: int = 2, folder: Path | None = None, scored: bool = True, watch: Watch | None = None) -> Run:
    torch.manual_seed(0)
    net = Pair()

    def turns(*given: Any, **options: Any) -> Iterator[Turn]:
        for turn in adversarial(*given, **options):
            yield turn
            if watch is not None:
                watch(net)

    def score(nets: Mapping[str, nn.Module], enough: Callable[[], bool]) -> dict[str, tuple[float, float]]:
        assert [type(part) for part in nets.values()] == [nn.Linear, nn.Linear]
        return {"g": (0.5, float(-nets["g"].weight.detach().norm())), "d": (0.25, float(nets["d"].weight.detach().norm()))}  # type: ignore[union-attr]

    def player(part: nn.Module, **more: Any) -> Player:
        return Player(part, [torch.optim.Adam(part.parameters(), lr=0.05)], **more)

    batches = Batches(Squares(), torch.zeros(64, 2), batch=16, seed=0, device=CPU, mean=(0.5,), std=(0.5,))  # type: ignore[arg-type]
    return Run(
        net=net,
        model=net,
        scaler=torch.amp.GradScaler("cpu", enabled=False),
        turns=turns,
        players={
            "g": player(net.g, average=Average(net.g, 0.9), best=Best() if scored else None),
            "d": player(net.d, best=Best() if scored else None),
        },
        batches=batches,
        validation=Validation(score, every=1, patience=0) if scored else None,
        clock=Clock(steps_per_epoch=len(batches), epochs=epochs, seconds=0, every=1, validation=0, after=0),
        settings=Settings(constant, precision(CPU, "fp32"), smoothing=0.0, weights=None, clip=1.0, seed=0),
        saves=Saves(RunFolder(folder) if folder else None),
        stop=stop,
    )


def test_a_turn_leaves_no_gradient_with_the_other_player() -> None:
    left: list[bool] = []
    with stopping() as stop:
        run_of(stop, watch=lambda net: left.append(any(p.grad is not None for p in net.parameters()))).go()
    assert len(left) == 16
    assert not any(left)


def test_both_learn_as_when_every_gradient_is_cleared_by_hand() -> None:
    with stopping() as stop:
        run = run_of(stop, epochs=1)
        run.go()
    torch.manual_seed(0)
    net = Pair()
    made = {"g": torch.optim.Adam(net.g.parameters(), lr=0.05), "d": torch.optim.Adam(net.d.parameters(), lr=0.05)}
    for step, batch in enumerate(run.batches.epoch(0)):
        torch.manual_seed(step)
        for turn in adversarial(net, batch.images, batch.targets, smoothing=0.0, weights=None):
            net.zero_grad()
            turn.loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(getattr(net, turn.who).parameters(), 1.0)
            made[turn.who].step()
    for ours, theirs in zip(run.net.parameters(), net.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_frozen_weight_of_a_player_stays() -> None:
    with stopping() as stop:
        run = run_of(stop, epochs=1)
        run.net.d.bias.requires_grad_(False)  # type: ignore[union-attr]
        before = {name: value.detach().clone() for name, value in run.net.named_parameters()}
        run.go()
    same = {name for name, value in run.net.named_parameters() if torch.equal(value, before[name])}
    assert same == {"d.bias"}


def test_a_turn_of_nobody_is_refused() -> None:
    with stopping() as stop:
        run = run_of(stop)
        run.players = {"g": run.players["g"]}
        with pytest.raises(UsageError, match="'d', who is not there"):
            run.go()


def test_each_has_its_own_best_and_average() -> None:
    with stopping() as stop:
        run = run_of(stop, epochs=3)
        run.go()
    best = {who: player.best for who, player in run.players.items()}
    assert best["g"] is not None
    assert best["d"] is not None
    assert best["g"].weights.keys() == {"weight", "bias"}
    assert best["g"].weights["weight"].shape == (64, 4)
    assert best["d"].weights["weight"].shape == (1, 64)
    assert best["g"].score == pytest.approx(-float(best["g"].weights["weight"].norm()))
    average = run.players["g"].average
    assert average is not None
    assert average.updates == 12
    assert run.players["d"].average is None
    row = run.at.history[-1]
    assert row["loss"] != row["d_loss"]
    assert row["valid_loss"] == 0.5, "of the first player"


def test_nothing_is_scored_where_nobody_asks() -> None:
    with stopping() as stop:
        run = run_of(stop, scored=False)
        run.go()
    assert run.clock.step == 8
    assert run.at.history == []
    assert not run.best.weights


def test_a_stopped_run_of_two_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    with stopping() as stop:
        whole = run_of(stop, epochs=2, folder=tmp_path / "whole.run")
        whole.go()
    folder = tmp_path / "m.run"
    runs: list[Run] = []

    def stopped() -> None:
        turns = itertools.count()
        with stopping() as stop, stop.held():
            watch = lambda net: next(turns) == 4 and stop.note(signal.SIGINT, None)  # noqa: E731
            runs.append(run_of(stop, epochs=2, folder=folder, watch=watch))
            runs[0].go()

    with pytest.raises(Interrupted):
        stopped()
    first = runs[0]
    assert 0 < first.clock.step < 8
    with stopping() as stop:
        second = run_of(stop, epochs=2, folder=folder)
        second.resume(RunFolder(folder))
        second.go()
    assert second.clock.step == 8
    for ours, theirs in zip(whole.net.parameters(), second.net.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    for who in ("g", "d"):
        ours, theirs = whole.players[who].best, second.players[who].best
        assert ours is not None
        assert theirs is not None
        assert (ours.score, ours.epoch) == (theirs.score, theirs.epoch)
