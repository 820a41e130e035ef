"""The one training loop. Everything that happens in a step can be read here, top to bottom."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.spans import span
from beholder.data.loader import Batches
from beholder.learn.checkpoint import Optimisers, RunFolder, pack, unpack
from beholder.learn.clock import Clock
from beholder.learn.optim import Schedule
from beholder.learn.tasks import Task, Turn
from beholder.learn.watch import Average, Best, check_finite, row
from beholder.machine.device import Precision, seed
from beholder.machine.stop import Stop

Validate = Callable[[nn.Module], tuple[float, float]]
"""Returns (loss, score) of a net on the validation part; a higher score is better."""


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know of a recipe.

    patience: epochs without a better validation score before stopping, 0 = never; every: epochs between two validations;
    clip: largest norm of the gradient, 0 = off
    """

    schedule: Schedule
    precision: Precision
    smoothing: float
    weights: Tensor | None
    clip: float
    patience: int
    every: int
    seed: int


@dataclass
class Progress:
    """Where a run is: everything but tensors that a checkpoint holds."""

    epoch: int = 0
    start: int = 0
    stale: int = 0
    told: float = 0.0
    checkpointed: float = field(default_factory=time.monotonic)
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Run:
    """One run of the loop: nets, task, data, plan, and where it is kept.

    model:  what the forward pass calls: `net` itself, or what torch.compile made of it
    scaler: keeps the gradients of fp16 from vanishing; in other precisions it does nothing
    """

    net: nn.Module
    model: nn.Module
    scaler: torch.amp.GradScaler
    task: Task
    optimisers: Optimisers
    batches: Batches
    validate: Validate
    clock: Clock
    settings: Settings
    average: Average | None
    folder: RunFolder | None
    stop: Stop
    best: Best = field(default_factory=Best)
    at: Progress = field(default_factory=Progress)

    def go(self) -> Best:
        """Train until the plan is done, nothing improves any more, or somebody asks to stop; return the best weights."""
        rates = {id(o): [group["lr"] for group in o.param_groups] for group in self.optimisers.values() for o in group}
        while not (self.clock.over or self.stop or self._gave_up()):
            loss, right, n = torch.zeros((), device=self.batches.device), torch.zeros((), device=self.batches.device), 0
            for batch in self.batches.epoch(self.at.epoch, start=self.at.start):
                seed(batch.images.device, (self.settings.seed << 32) + self.clock.step)
                self._set_rates(rates)
                for turn in self._turns(batch.images, batch.targets):
                    check_finite(turn.loss, self.clock.step)
                    with span("backward"):
                        self.scaler.scale(turn.loss).backward()  # type: ignore[no-untyped-call]
                    with span("optimiser"):
                        self._step(turn.who)
                    loss, right, n = loss + turn.loss.detach(), right + turn.right, n + 1
                if self.average is not None:
                    with span("optimiser"):
                        self.average.update(self.net)
                self.clock.tick()
                self.at.start += 1
                self._tell(len(batch.indices), loss, right, n)
                if self.clock.over or self.stop:
                    break
            self._close_epoch(float(loss) / max(1, n), float(right) / max(1, n))
        return self.best

    def _turns(self, images: Tensor, targets: Tensor) -> Iterator[Turn]:
        self.net.train()
        images = images.contiguous(memory_format=torch.channels_last)
        precision = self.settings.precision
        turns = self.task(self.model, images, targets, smoothing=self.settings.smoothing, weights=self.settings.weights)
        while True:  # only the forward pass runs under autocast: not the backward pass, not the optimiser
            with span("forward"), torch.autocast(images.device.type, dtype=precision.dtype, enabled=precision.mixed):
                turn = next(turns, None)
            if turn is None:
                return
            yield turn

    def _step(self, who: str) -> None:
        if self.settings.clip > 0:
            for optimiser in self.optimisers[who]:
                self.scaler.unscale_(optimiser)
            torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.settings.clip)
        for optimiser in self.optimisers[who]:
            self.scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
        self.scaler.update()

    def _set_rates(self, rates: dict[int, list[float]]) -> None:
        factor = self.settings.schedule(self.clock.done)
        for group in self.optimisers.values():
            for optimiser in group:
                for params, rate in zip(optimiser.param_groups, rates[id(optimiser)], strict=True):
                    params["lr"] = rate * factor

    def _tell(self, size: int, loss: Tensor, right: Tensor, n: int) -> None:
        """Say where the epoch is. `loss`, `right`: sums over `n` turns; reading them makes a device wait, so not often."""
        now = time.monotonic()
        if loss.device.type != "cpu" and now - self.at.told < 0.5:
            return
        self.at.told = now
        speed = self.clock.step * size / max(1e-9, self.clock.spent)
        events.progress(
            "training",
            self.clock.step,
            self.clock.total,
            epoch=self.at.epoch + 1,
            loss=f"{float(loss) / n:.3f}",
            accuracy=f"{float(right) / n:.3f}",
            rate=f"{speed:.0f}/s",
            left=f"{self.clock.left:.0f} s",
        )

    def _close_epoch(self, loss: float, right: float) -> None:
        whole, over = self.at.start >= len(self.batches), self.clock.over
        due = over or (whole and (self.at.epoch + 1) % self.settings.every == 0)
        if due:
            self._validate(loss, right)
        if whole:
            self.at.epoch, self.at.start = self.at.epoch + 1, 0
        if self.folder is not None and (self.stop or time.monotonic() - self.at.checkpointed > 20):
            self._checkpoint(self.folder)
        if self.stop and not due:  # after the checkpoint, so that a resumed run does not know of it
            self._validate(loss, right)

    def _validate(self, loss: float, right: float) -> None:
        began = time.monotonic()
        net = self.average.net if self.average is not None else self.net
        with span("evaluate"), self.clock.pause(validating=True):
            valid_loss, score = self.validate(net)
        self.at.stale = 0 if score > self.best.score else self.at.stale + self.settings.every
        better = self.best.offer(net, score=score, loss=valid_loss, epoch=self.at.epoch)
        self.at.history.append(
            row(
                epoch=self.at.epoch + 1,
                step=self.clock.step,
                seconds=self.clock.spent,
                loss=loss,
                accuracy=right,
                valid_loss=valid_loss,
                valid_score=score,
                lr=float(next(iter(self.optimisers.values()))[0].param_groups[0]["lr"]),
                validation_seconds=time.monotonic() - began,
            )
        )
        events.note(
            f"epoch {self.at.epoch + 1}: loss {loss:.3f}, validation loss {valid_loss:.3f}, "
            f"validation score {score:.4f}{' (best so far)' if better else ''}"
        )

    def _gave_up(self) -> bool:
        gave_up = 0 < self.settings.patience <= self.at.stale
        if gave_up:
            events.note(f"stopped early: {self.at.stale} epochs without a better score")
        return gave_up

    def _checkpoint(self, folder: RunFolder) -> None:
        best = {"score": self.best.score, "loss": self.best.loss, "epoch": self.best.epoch}
        state = {
            "epoch": self.at.epoch,
            "start": self.at.start,
            "stale": self.at.stale,
            "clock": self.clock.state(),
            "scaler": self.scaler.state_dict(),
            "updates": self.average.updates if self.average is not None else 0,
            "best": best if self.best.weights else None,
            "history": self.at.history,
        }
        with span("save"), self.clock.pause():
            folder.save(state, pack(self.net, self.optimisers, self.average, self.best))
        self.at.checkpointed = time.monotonic()

    def resume(self, folder: RunFolder) -> None:
        """Go back to the checkpoint in `folder`; `go` then continues from there."""
        state, tensors = folder.load()
        unpack(tensors, self.net, self.optimisers, self.average, self.best)
        if state["best"]:
            self.best.score, self.best.loss, self.best.epoch = (state["best"][name] for name in ("score", "loss", "epoch"))
        if self.average is not None:
            self.average.updates = state["updates"]
        self.at.epoch, self.at.start, self.at.stale = state["epoch"], state["start"], state["stale"]
        self.at.history = state["history"]
        self.clock.resume(**state["clock"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])
        events.note(f"resumed at step {self.clock.step} of {self.clock.total} (epoch {state['epoch'] + 1})")
