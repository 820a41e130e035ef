"""The one training loop. Everything that happens in a step can be read here, top to bottom."""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.spans import span
from beholder.data.loader import Batch, Batches
from beholder.learn.checkpoint import Due, Optimisers, RunFolder, State, copied, pack, unpack
from beholder.learn.clock import Clock
from beholder.learn.grow import resized, size_at
from beholder.learn.optim import Schedule
from beholder.learn.tasks import Task, Turn
from beholder.learn.watch import Average, Best, Guard, NotFiniteError, Tally, gradient_norm, row
from beholder.machine.device import Precision, seed
from beholder.machine.stop import Stop

Validate = Callable[[nn.Module, Callable[[], bool]], tuple[float, float] | None]
"""Returns (loss, score) of a net on the validation part, the higher the better; None once the second argument says enough."""

WRITE_EVERY = 20.0
"""Seconds between two checkpoints on disk; more where writing one is slow (`Due`)."""

REMEMBER_EVERY = 1.0
"""Seconds between two copies in memory, to which a loss that is not finite leads back."""


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know of a recipe.

    patience: epochs without a better validation score before stopping, 0 = never; every: epochs between two validations;
    clip: largest norm of the gradient, 0 = off; grow: the side at which pictures begin, as a share of the full one;
    frozen: modules that stay in evaluation mode
    """

    schedule: Schedule
    precision: Precision
    smoothing: float
    weights: Tensor | None
    clip: float
    patience: int
    every: int
    seed: int
    grow: float = 1.0
    frozen: Sequence[nn.Module] = ()


@dataclass
class Progress:
    """Where a run is.

    start: steps taken of this epoch; stale: epochs without a better score; lr: rate of the last step;
    slowed: factor on every rate, below 1 after going back
    """

    epoch: int = 0
    start: int = 0
    stale: int = 0
    lr: float = 0.0
    slowed: float = 1.0
    history: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class Run:
    """One run of the loop: nets, task, data, plan, and where it is kept.

    model:  what the forward pass calls: `net` itself, or what torch.compile made of it
    scaler: keeps the gradients of fp16 from vanishing; in other precisions it does nothing
    seen:   pixels of the pictures trained on since this process began, as large as they were then
    good:   the last state known to be sound; told: when the loop last looked how far it is, and figures: what it saw
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
    guard: Guard = field(default_factory=Guard)
    at: Progress = field(default_factory=Progress)
    tally: Tally = field(default_factory=Tally)
    good: tuple[State, dict[str, Tensor]] | None = None
    seen: int = 0
    told: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)
    written: Due = field(default_factory=lambda: Due(WRITE_EVERY))
    remembered: Due = field(default_factory=lambda: Due(REMEMBER_EVERY))

    def go(self) -> Best:
        """Train until the plan is done, nothing improves any more, or somebody asks to stop; return the best weights.

        Raises `NotFiniteError` when a loss or gradient is not finite, and again after going back to the last good state.
        """
        rates = {id(o): [group["lr"] for group in o.param_groups] for o in self._each_optimiser()}
        self._remember()
        while not self.stop and (self.at.start or not (self.clock.over or self._gave_up())):
            try:
                self._epoch(rates)
                self._close_epoch()
            except NotFiniteError as error:
                self._go_back(error)
        return self.best

    def _epoch(self, rates: dict[int, list[float]]) -> None:
        """Take the steps that are left of the epoch; none where the plan was done and only its validation is missing."""
        self.net.train()
        for module in self.settings.frozen:
            module.eval()
        for batch in () if self.clock.over else self.batches.epoch(self.at.epoch, start=self.at.start):
            self._set_rates(rates)
            self._learn(batch)
            self.clock.tick()
            self.at.start += 1
            self._tell(len(batch.indices))
            if self.clock.over or self.stop:
                break
            self._keep()

    def _learn(self, batch: Batch) -> None:
        seed(batch.images.device, (self.settings.seed << 32) + self.clock.step)
        for turn in self._turns(batch.images, batch.targets):
            with span("backward"):
                self.scaler.scale(turn.loss).backward()  # type: ignore[no-untyped-call]
            with span("optimiser"):
                self._step(turn, batch.indices)
            self.tally.add(turn.loss, turn.right)
        if self.average is not None:
            with span("optimiser"):
                self.average.update(self.net)

    def _turns(self, images: Tensor, targets: Tensor) -> Iterator[Turn]:
        height, width = images.shape[-2:]
        images = resized(images, size_at((height, width), self.settings.grow, self.clock.done))
        self.seen += images[:, 0].numel()
        images = images.contiguous(memory_format=torch.channels_last)
        precision = self.settings.precision
        turns = self.task(self.model, images, targets, smoothing=self.settings.smoothing, weights=self.settings.weights)
        while True:  # only the forward pass runs under autocast: not the backward pass, not the optimiser
            with span("forward"), torch.autocast(images.device.type, dtype=precision.dtype, enabled=precision.mixed):
                turn = next(turns, None)
            if turn is None:
                return
            yield turn

    def _step(self, turn: Turn, indices: Tensor) -> None:
        optimisers = self.optimisers[turn.who]
        if self.settings.clip > 0:
            for optimiser in optimisers:
                self.scaler.unscale_(optimiser)
        norm = gradient_norm(self.net, self.settings.clip)
        # Infinite gradients of fp16 are the scaler's: it leaves the step out and scales less.
        self.guard.watch(turn, None if self.scaler.is_enabled() else norm, step=self.clock.step, indices=indices)
        self.guard.shield(optimisers)
        for optimiser in optimisers:
            self.scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
        self.scaler.update()

    def _each_optimiser(self) -> Iterator[torch.optim.Optimizer]:
        return itertools.chain.from_iterable(self.optimisers.values())

    def _set_rates(self, rates: dict[int, list[float]]) -> None:
        factor = self.settings.schedule(self.clock.done) * self.at.slowed
        for optimiser in self._each_optimiser():
            for params, rate in zip(optimiser.param_groups, rates[id(optimiser)], strict=True):
                params["lr"] = rate * factor
        self.at.lr = next(self._each_optimiser()).param_groups[0]["lr"]

    def _tell(self, size: int) -> None:
        """Say how far it is, with figures ten times a second; twice on a device that looking waits for."""
        now = time.monotonic()
        if now - self.told >= (0.1 if self.guard.eager else 0.5) or self.clock.over:
            self.told = now
            self.guard.look()
            loss, right = self.tally.means()
            speed = self.clock.step * size / max(1e-9, self.clock.spent)
            self.figures = {
                "epoch": self.at.epoch + 1,
                "loss": f"{loss:.3f}",
                "accuracy": f"{right:.3f}",
                "rate": f"{speed:.0f}/s",
                "left": f"{self.clock.left:.0f} s",
            }
        elif not self.guard.eager:
            return
        events.progress("training", self.clock.step, self.clock.total, **self.figures)

    def _close_epoch(self) -> None:
        """Validate where that is due, keep the state, and go on to the next epoch.

        A validation that somebody broke off is done again by the resumed run: its epoch stays open.
        """
        self.guard.look()
        epoch, means = self.at.epoch, self.tally.means()
        whole, over = self.at.start >= len(self.batches), self.clock.over
        due = over or (whole and (epoch + 1) % self.settings.every == 0)
        if (not due or self._validate(epoch, *means)) and (whole or over):
            self.at.epoch, self.at.start = epoch + whole, 0
            self.tally = Tally()
        if self.stop:
            self._write()
        else:
            self._keep()
        if self.stop and not due:  # after the checkpoint, so that a resumed run does not know of it
            self._validate(epoch, *means)

    def _validate(self, epoch: int, loss: float, right: float) -> bool:
        """Score the net and offer it to the best; return False where that took too long after somebody asked to stop."""
        began = time.monotonic()
        net = self.average.net if self.average is not None else self.net
        with span("evaluate"), self.clock.pause(validating=True):
            found = self.validate(net, lambda: self.stop.late)
        if found is None:
            return False
        valid_loss, score = found
        self.at.stale = 0 if score > self.best.score else self.at.stale + self.settings.every
        better = self.best.offer(net, score=score, loss=valid_loss, epoch=epoch)
        self.at.history.append(
            row(
                epoch=epoch + 1,
                step=self.clock.step,
                seconds=self.clock.spent,
                loss=loss,
                accuracy=right,
                valid_loss=valid_loss,
                valid_score=score,
                lr=self.at.lr,
                validation_seconds=time.monotonic() - began,
            )
        )
        events.note(
            f"epoch {epoch + 1}: loss {loss:.3f}, validation loss {valid_loss:.3f}, "
            f"validation score {score:.4f}{' (best so far)' if better else ''}"
        )
        return True

    def _gave_up(self) -> bool:
        gave_up = 0 < self.settings.patience <= self.at.stale
        if gave_up:
            events.note(f"stopped early: {self.at.stale} epochs without a better score")
        return gave_up

    def _keep(self) -> None:
        """Keep the present state where that is due: on disk, or else in memory."""
        if self.folder is not None and self.written:
            self._write()
        elif self.remembered:
            self._remember()

    def _remember(self) -> None:
        with self.remembered.timed(), span("save"), self.clock.pause():
            self.guard.look()
            tensors = copied(pack(self.net, self.optimisers, self.average, self.best))
            self.guard.check(tensors, step=self.clock.step)
            self.good = self._state(), tensors

    def _write(self) -> None:
        with self.written.timed():
            self._remember()
            if self.folder is not None and self.good is not None:
                with span("save"), self.clock.pause():
                    self.folder.save(*self.good)

    def _state(self) -> State:
        """Return all of a run that is not tensors, as plain JSON values."""
        best = {"score": self.best.score, "loss": self.best.loss, "epoch": self.best.epoch}
        return {
            "at": dataclasses.asdict(self.at),
            "tally": self.tally.state(),
            "clock": self.clock.state(),
            "scaler": self.scaler.state_dict(),
            "updates": self.average.updates if self.average is not None else 0,
            "best": best if self.best.weights else None,
        }

    def _set(self, state: State, tensors: dict[str, Tensor], best: Best) -> None:
        unpack(tensors, self.net, self.optimisers, self.average, best)
        if self.average is not None:
            self.average.updates = state["updates"]
        self.at = Progress(**state["at"])
        self.at.history = list(self.at.history)
        self.tally.set(*state["tally"])
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def _go_back(self, error: NotFiniteError) -> None:
        """Return to the last good state, to go on at half the rate; raise `error` at the second time."""
        assert self.good is not None
        self._set(*self.good, Best())  # the best so far was sound when it was offered: it stays
        self.guard.forget()
        for optimiser in self._each_optimiser():
            optimiser.zero_grad(set_to_none=True)
        tried, self.at.slowed = self.at.slowed < 1, 0.5
        self._write()
        if tried:
            raise error
        events.warn(f"{error.message}; going on at half the rate from epoch {self.at.epoch + 1}, step {self.at.start}")

    def resume(self, folder: RunFolder) -> None:
        """Go back to the checkpoint in `folder`; `go` then continues from there."""
        state, tensors = folder.load()
        self._set(state, tensors, self.best)
        if state["best"]:
            self.best.score, self.best.loss, self.best.epoch = (state["best"][name] for name in ("score", "loss", "epoch"))
        self.clock.resume(**state["clock"])
        events.note(f"resumed at step {self.clock.step} of {self.clock.total} (epoch {self.at.epoch + 1})")
