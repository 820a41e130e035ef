"""The one training loop. Everything that happens in a step can be read here, top to bottom."""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.errors import UsageError
from beholder.base.spans import span
from beholder.data.loader import Batch, Batches
from beholder.data.subset import ANNEALED
from beholder.learn.checkpoint import RunFolder, Saves, State, copied, pack, unpack
from beholder.learn.clock import Clock
from beholder.learn.forward import forward, grown
from beholder.learn.monitors import Best, Guard, Meter, NotFiniteError, Player, Tally, Validation, gradient_norm, row
from beholder.learn.optim import Schedule
from beholder.learn.parallel import Alone
from beholder.learn.tempo import nimble
from beholder.machine.device import Precision, seed, steady
from beholder.machine.pace import Nimble
from beholder.machine.ranks import LostRankError
from beholder.machine.stop import Stop
from beholder.tasks.task import Turn, Turns


@dataclass(frozen=True)
class Settings:
    """What the loop needs to know of a recipe.

    clip: largest norm of the gradient, 0 = off; grow: the side at which pictures begin, as a share of the full one;
    frozen: modules that stay in evaluation mode; right: what the share in a turn is called
    """

    schedule: Schedule
    precision: Precision
    smoothing: float
    weights: Tensor | None
    clip: float
    seed: int
    grow: float = 1.0
    frozen: Sequence[nn.Module] = ()
    right: str = "accuracy"


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
    """One run of the loop: nets, turns, data, plan, and where it is kept.

    players: by name, the first is the one whose progress is told; a turn steps on the parameters of its player alone
    validation: None: nothing is scored
    pause: asked after each step; once it says so the run is left, kept and validated, to be resumed
    model:  what the forward pass calls: `net` itself, or what torch.compile made of it
    team:   those who compute gradients along; by default nobody
    scaler: keeps the gradients of fp16 from vanishing; in other precisions it does nothing
    nimble: chooses the threads of steps where other work comes and goes
    """

    net: nn.Module
    model: nn.Module
    scaler: torch.amp.GradScaler
    turns: Turns
    players: Mapping[str, Player]
    batches: Batches
    validation: Validation | None
    clock: Clock
    settings: Settings
    saves: Saves
    stop: Stop
    pause: Callable[[], bool] = bool
    guard: Guard = field(default_factory=Guard)
    team: Alone = field(default_factory=Alone)
    at: Progress = field(default_factory=Progress)
    meter: Meter = field(default_factory=Meter)
    nimble: Nimble = field(default_factory=lambda: Nimble(most=1))

    @property
    def lead(self) -> Player:
        """Return the first player."""
        return next(iter(self.players.values()))

    @property
    def best(self) -> Best:
        """Return the best weights of the first player; an empty one where it is not scored."""
        return self.lead.best or Best()

    @property
    def worthy(self) -> bool:
        """Return whether something was learnt that can be kept: the best so far, or, where nothing is scored, a step."""
        return bool(self.best.weights) or (self.lead.best is None and self.clock.step > 0)

    @property
    def halted(self) -> bool:
        """Return whether somebody asked to stop, or it is time to pause."""
        return bool(self.stop) or self.pause()

    def go(self) -> None:
        """Train until the plan is done, nothing improves any more, or somebody asks to stop or pause.

        Raises `NotFiniteError` when a loss or gradient is not finite, and again after going back to the last good state.
        """
        rates = {id(o): [group["lr"] for group in o.param_groups] for o in self._each_optimiser()}
        self._remember()
        self.nimble = nimble(self.batches.device, alone=type(self.team) is Alone)
        with steady(self.batches.device, one_shape=self.settings.grow == 1.0):
            while self._broke_off(rates):
                pass

    def _loop(self, rates: dict[int, list[float]]) -> None:
        while not self.halted and (self.at.start or not (self.clock.over or self._gave_up())):
            try:
                self._epoch(rates)
                self._close_epoch()
            except NotFiniteError as error:
                self._go_back(error)

    def _broke_off(self, rates: dict[int, list[float]]) -> bool:
        """Train; return whether a rank was lost: then those who are left take the step again, of the same pictures."""
        try:
            with self.team.working():
                self._loop(rates)
        except LostRankError as error:
            self.team = self.team.regrouped(error, step=self.clock.step)
            return True
        return False

    def _epoch(self, rates: dict[int, list[float]]) -> None:
        """Take the steps that are left of the epoch; none where the plan was done and only its validation is missing."""
        self.net.train()
        for module in self.settings.frozen:
            module.eval()
        self._choose()
        for batch in () if self.clock.over else self.batches.epoch(self.at.epoch, start=self.at.start):
            self._set_rates(rates)
            self._learn(batch)
            self.clock.tick()
            self.at.start += 1
            self._tell(len(batch.indices))
            if self.clock.over or self.halted:
                break
            self._keep()

    def _choose(self) -> None:
        """Choose the pictures of the epoch where that follows their losses; one that is gone on with keeps its own."""
        subset, at = self.batches.subset, self.at
        if subset is None or not subset.prunes or self.clock.over:
            return
        if not at.start:
            subset.begin(at.epoch, whole=self.clock.late(at.epoch, last=1 - ANNEALED))
        self.clock.lengthened(at.epoch, at.start, self.batches.steps, last=1 - ANNEALED)

    def _learn(self, batch: Batch) -> None:
        self.nimble.begin()
        before = self.meter.pixels
        seed(batch.images.device, (self.settings.seed << 32) + self.clock.step)
        self.team.begin(self.at.epoch, self.at.start, self.clock.step, self.clock.done, self.scaler)
        for turn in self._turns(batch.images, batch.targets):
            player = self._player(turn.who)
            with span("backward"):  # the others' gradients stay as they are, though the loss goes through their nets
                own = [p for p in player.module.parameters() if p.requires_grad] if len(self.players) > 1 else None
                self.scaler.scale(turn.loss).backward(inputs=own)  # type: ignore[no-untyped-call]
            turn = self.team.whole(turn)
            with span("optimiser"):
                self._step(turn, player, batch.indices)
                if player.average is not None:
                    player.average.update(player.module)
            self.team.stepped()
            player.tally.add(turn.loss, turn.right)
        if self.batches.subset is not None:
            self.batches.subset.settle(batch.indices)
        self.nimble.done(len(batch.indices), work=self.meter.pixels - before)

    def _player(self, who: str) -> Player:
        if who not in self.players:
            known = ", ".join(self.players)
            raise UsageError(
                f"the task has a turn of '{who}', who is not there", code="unknown-player", hint=f"here learn: {known}"
            )
        return self.players[who]

    def _turns(self, images: Tensor, targets: Tensor) -> Iterator[Turn]:
        share, settings = self.team.share(targets), self.settings
        given = grown(images, settings.grow, self.clock.done)
        self.meter.pixels += given[:, 0].numel()
        turns = self.turns(self.model, given, targets, smoothing=settings.smoothing, weights=settings.weights)
        yield from forward(turns, given.device, settings.precision, share=share, scale=self.scaler.scale)

    def _step(self, turn: Turn, player: Player, indices: Tensor) -> None:
        if self.settings.clip > 0:
            for optimiser in player.optimisers:
                self.scaler.unscale_(optimiser)
        norm = gradient_norm(player.module, self.settings.clip)
        # Infinite gradients of fp16 are the scaler's: it leaves the step out and scales less.
        self.guard.watch(turn, None if self.scaler.is_enabled() else norm, step=self.clock.step, indices=indices)
        self.guard.shield(player.optimisers)
        for optimiser in player.optimisers:
            self.scaler.step(optimiser)
            optimiser.zero_grad(set_to_none=True)
        self.scaler.update()

    def _each_optimiser(self) -> Iterator[torch.optim.Optimizer]:
        return itertools.chain.from_iterable(player.optimisers for player in self.players.values())

    def _set_rates(self, rates: dict[int, list[float]]) -> None:
        factor = self.settings.schedule(self.clock.done) * self.at.slowed
        for optimiser in self._each_optimiser():
            for params, rate in zip(optimiser.param_groups, rates[id(optimiser)], strict=True):
                params["lr"] = rate * factor
        self.at.lr = next(self._each_optimiser()).param_groups[0]["lr"]

    def _tell(self, size: int) -> None:
        """Say how far it is, with figures ten times a second; twice on a device that looking waits for."""
        now = time.monotonic()
        if now - self.meter.looked >= (0.1 if self.guard.eager else 0.5) or self.clock.over:
            self.meter.looked = now
            self.guard.look()
            loss, right = self.lead.tally.means()
            self.meter.figures = {
                "epoch": self.at.epoch + 1,
                "step": self.clock.step,
                "loss": loss,
                self.settings.right: right,
                "lr": self.at.lr,
                "rate": self.clock.step * size / max(1e-9, self.clock.spent),
                "seconds": self.clock.spent,
                "left": self.clock.left,
                **{f"{who}_loss": means[0] for who, means in self._others()},
            }
        elif not self.guard.eager:
            return
        events.progress("training", self.clock.step, self.clock.total, **self.meter.figures)

    def _others(self) -> Iterator[tuple[str, tuple[float, float]]]:
        """Yield the name and the means of this epoch of every player but the first."""
        yield from ((who, player.tally.means()) for who, player in itertools.islice(self.players.items(), 1, None))

    def _close_epoch(self) -> None:
        """Validate where that is due, keep the state, and go on to the next epoch.

        A validation that somebody broke off is done again by the resumed run: its epoch stays open.
        """
        self.guard.look()
        epoch = self.at.epoch
        whole, over = self.at.start >= self.batches.steps, self.clock.over
        due = over or (whole and self.validation is not None and (epoch + 1) % self.validation.every == 0)
        if (not due or self._validate(epoch)) and (whole or over):
            self.at.epoch, self.at.start = epoch + whole, 0
            for player in self.players.values():
                player.tally = Tally()
        halted = self.halted
        if halted:
            self._write()
        else:
            self._keep()
        if halted and not due:  # after the checkpoint, so that a resumed run does not know of it
            self._validate(epoch)

    def _validate(self, epoch: int) -> bool:
        """Score the players and offer them to the best of each; return False where that took too long after a stop."""
        if self.validation is None:
            return True
        began = time.monotonic()
        nets = {who: player.scored for who, player in self.players.items()}
        with span("evaluate"), self.clock.pause(validating=True):
            found = self.validation.score(nets, lambda: self.stop.late)
        if found is None:
            return False
        before = self.best.score
        better = [who for who, (loss, score) in found.items() if self._offer(who, loss, score, epoch)]
        loss, score = next(iter(found.values()), (math.nan, math.nan))
        self.at.stale = 0 if score > before else self.at.stale + self.validation.every
        self._record(epoch, loss, score, seconds=time.monotonic() - began, better=bool(better))
        return True

    def _offer(self, who: str, loss: float, score: float, epoch: int) -> bool:
        player = self.players[who]
        return player.best is not None and player.best.offer(player.scored, score=score, loss=loss, epoch=epoch)

    def _record(self, epoch: int, valid_loss: float, score: float, *, seconds: float, better: bool) -> None:
        """Add a row to the history, and say what it holds."""
        loss, right = self.lead.tally.means()
        figures = {
            "epoch": epoch + 1,
            "step": self.clock.step,
            "seconds": self.clock.spent,
            "loss": loss,
            self.settings.right: right,
            "valid_loss": valid_loss,
            "valid_score": score,
            "lr": self.at.lr,
            "validation_seconds": seconds,
            **{f"{who}_loss": means[0] for who, means in self._others()},
        }
        self.at.history.append(row(**figures))
        events.note("epoch", **figures, best=better)

    @property
    def gave_up(self) -> bool:
        """Return whether so many epochs brought nothing that the run stopped early."""
        return self.validation is not None and 0 < self.validation.patience <= self.at.stale

    def _gave_up(self) -> bool:
        if self.gave_up:
            events.note("stopped-early", epochs=self.at.stale)
        return self.gave_up

    def _keep(self) -> None:
        """Keep the present state where that is due: on disk, or else in memory."""
        if self.saves.folder is not None and self.saves.written:
            self._write()
        elif self.saves.remembered:
            self._remember()

    def _remember(self) -> None:
        with self.saves.remembered.timed(), span("save"), self.clock.pause():
            self.guard.look()
            subset = self.batches.subset.state() if self.batches.subset is not None else {}
            tensors = copied(pack(self.net, self.players) | subset)
            self.guard.check(tensors, step=self.clock.step)
            self.saves.remember(self._state(), tensors)

    def _write(self) -> None:
        with self.saves.written.timed():
            self._remember()
            self.keep()

    def keep(self) -> None:
        """Keep the last sound state on disk, if it is not there already."""
        with span("save"), self.clock.pause():
            self.saves.keep()

    def _state(self) -> State:
        """Return all of a run that is not tensors, as plain JSON values."""
        return {
            "at": dataclasses.asdict(self.at),
            "clock": self.clock.state(),
            "scaler": self.scaler.state_dict(),
            "players": {who: player.state() for who, player in self.players.items()},
        }

    def _set(self, state: State, tensors: dict[str, Tensor], *, best: bool) -> None:
        unpack(tensors, self.net, self.players, best=best)
        if self.batches.subset is not None:
            self.batches.subset.set(tensors)
        for who, player in self.players.items():
            player.set(state["players"][who], best=best)
        self.at = Progress(**state["at"])
        self.at.history = list(self.at.history)
        if state["scaler"]:
            self.scaler.load_state_dict(state["scaler"])

    def _go_back(self, error: NotFiniteError) -> None:
        """Return to the last good state, to go on at half the rate; raise `error` at the second time."""
        assert self.saves.good is not None
        self._set(*self.saves.good, best=False)  # the best so far was sound when it was offered: it stays
        self.team.stale()
        self.guard.forget()
        for optimiser in self._each_optimiser():
            optimiser.zero_grad(set_to_none=True)
        tried, self.at.slowed = self.at.slowed < 1, 0.5
        self._write()
        if tried:
            raise error
        events.warn("not-finite", what=error.message, epoch=self.at.epoch + 1, step=self.at.start)

    def resume(self, folder: RunFolder) -> None:
        """Go back to the checkpoint in `folder`; `go` then continues from there."""
        state, tensors = folder.load()
        self._set(state, tensors, best=True)
        self.clock.resume(**state["clock"])
        events.note("resumed", step=self.clock.step, steps=self.clock.total, epoch=self.at.epoch + 1)
