"""Data-parallel training: the first rank runs the loop, the others compute their share of each batch's gradient.

    first                              the others
    begin: epoch, step     ──────▶     take their share of that batch
    forward, backward                  forward, backward         (batch norms exchange their moments: `nets.synced`)
    whole: sum of gradients  ◀──────   give theirs
    optimiser steps
    stepped: new weights   ──────▶     take them

Only the first has optimisers, averages, a clock and a checkpoint, so that a run is the same, and is resumed, with any number of
ranks. Where one is lost, those who are left meet again and take the step again: it costs nothing but its speed.
As much is sent as by an all-reduce of gradients.
Source: synchronous training as in J. Chen et al., Revisiting distributed synchronous SGD (2016), without backup workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.data.loader import Batch, Batches
from beholder.learn.forward import forward, grown, pieces
from beholder.machine.device import Precision, seed
from beholder.machine.ranks import Group, LostRankError
from beholder.nets.synced import Synced
from beholder.tasks.task import Turn, Turns

STEP, WEIGHTS, STATE, CLOSE, OPEN = range(1, 6)
"""What the first rank tells the others, with five numbers; what belongs to it follows."""


def message(kind: int, *numbers: float) -> list[float]:
    """Return what `Group.tell` takes for a message, of one length for all."""
    return [float(kind), *numbers, *([0.0] * (5 - len(numbers)))]


class Alone:
    """Nobody computes along: nothing is done."""

    def share(self, targets: Tensor) -> float:
        """Return which share of the batch of all ranks these are the targets of, float32 (B, K)."""
        return 1.0

    def begin(self, epoch: int, start: int, step: int, done: float, scaler: torch.amp.GradScaler) -> None:
        """Say which batch is next: step `start` of `epoch`, `step` of the run; scaler: has the factor on the loss of fp16."""

    def whole(self, turn: Turn) -> Turn:
        """Return the turn of the whole batch; the gradients of the parameters become those of it."""
        return turn

    def stepped(self) -> None:
        """Say that the optimisers have stepped."""

    def stale(self) -> None:
        """Say that the weights were changed by something else than a step."""

    def regrouped(self, error: LostRankError, *, step: int) -> Alone:
        """Return those who are left, once one of them is lost; the net is as before the step that is to be taken again."""
        raise error

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have the others ready for the block."""
        yield


class Team(Alone):
    """The other ranks, as the loop of the first one sees them.

    opened: makes them ready for this net and these batches, when the block of `working` begins
    left: returns those who are left, once one is gone, and how many they are with the first
    Raises `LostRankError` where one is gone.
    """

    def __init__(
        self, group: Group, net: nn.Module, batch: int, opened: Callable[[], None], left: Callable[[], tuple[Alone, int]]
    ) -> None:
        self._group, self._net, self._batch, self._opened, self._remaining = group, net, batch, opened, left
        self._params = [p for p in net.parameters() if p.requires_grad]
        self._stale = True
        self._before: list[Tensor] = []
        self._lost: LostRankError | None = None

    def share(self, targets: Tensor) -> float:
        """Return which share of the batch of all ranks these are the targets of."""
        return len(targets) / self._batch

    def begin(self, epoch: int, start: int, step: int, done: float, scaler: torch.amp.GradScaler) -> None:
        """Say which batch is next, and give all of the net's state where it may differ."""
        if self._lost is not None:
            raise self._lost
        if self._stale:
            self._group.tell(message(STATE))
            with torch.no_grad():
                for value in self._net.state_dict().values():
                    value.copy_(self._group.spread(value.detach().clone().contiguous()))
            self._stale = False
        self._before = [value.clone() for value in self._net.buffers()]
        self._group.tell(message(STEP, epoch, start, step, done, scaler.get_scale()))

    def whole(self, turn: Turn) -> Turn:
        """Return the turn of the whole batch."""
        found = self._group.sum_to_first(_flat(_slopes(self._params), turn))
        at = 0
        for p in self._params:
            if p.grad is not None:
                p.grad.copy_(found[at : at + p.numel()].view_as(p))
            at += p.numel()
        return replace(turn, loss=found[-2].detach(), right=found[-1].detach())

    def stepped(self) -> None:
        """Give the others the new weights; one that is gone is missed at the next step, for this one is done."""
        self._before = []
        try:
            self._group.tell(message(WEIGHTS))
            self._group.spread(torch.cat([p.detach().reshape(-1) for p in self._params]))
        except LostRankError as error:
            self._lost = error

    def stale(self) -> None:
        """Give the others all of the state before the next step."""
        self._stale = True

    def regrouped(self, error: LostRankError, *, step: int) -> Alone:
        """Return those who are left. Batch norms forget the moments of the step that broke off."""
        self._net.zero_grad(set_to_none=True)
        with torch.no_grad():
            for value, before in zip(self._net.buffers(), self._before, strict=False):
                value.copy_(before)
        found, left = self._remaining()
        events.warn("rank-lost", what=error.message, step=step, left=left)
        return found

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have the others ready, and batch norms take the moments of all ranks, for the block."""
        self._stale = True
        self._opened()
        try:
            with Synced(self._group.total):
                yield
        finally:
            if not self._group.lost:
                with suppress(LostRankError):
                    self._group.tell(message(CLOSE))


class Follower:
    """One of the others, with its net and its batches."""

    def __init__(
        self,
        group: Group,
        net: nn.Module,
        turns: Turns,
        batches: Batches,
        precision: Precision,
        *,
        seed: int,
        grow: float = 1.0,
        smoothing: float = 0.0,
        micro: int = 0,
        weights: Tensor | None = None,
        frozen: Sequence[nn.Module] = (),
    ) -> None:
        self._group, self._net, self._batches, self._precision = group, net, batches, precision
        self._turns = pieces(turns, batches, micro)
        self._seed, self._grow, self._how = seed, grow, {"smoothing": smoothing, "weights": weights}
        self._params = [p for p in net.parameters() if p.requires_grad]
        self._ahead: tuple[tuple[int, int], Iterator[Batch]] | None = None
        self._running: Iterator[Turn] = iter(())
        self._scale = 1.0
        net.train()
        for module in frozen:
            module.eval()

    def follow(self) -> None:
        """Do what the first rank says until it closes these batches."""
        with Synced(self._group.total):
            while True:
                kind, *numbers = self._group.tell(message(0))
                if kind == CLOSE:
                    return
                self._DO[int(kind)](self, *numbers)

    def _step(self, epoch: float, start: float, step: float, done: float, scale: float) -> None:
        batch = self._next(int(epoch), int(start))
        seed(batch.images.device, (self._seed << 32) + int(step) + (self._group.ranks.rank << 16))
        self._scale = scale
        images = grown(batch.images, self._grow, done)
        turns = self._turns(self._net, images, batch.targets, **self._how)
        share = len(batch.targets) / self._batches.batch
        self._running = forward(turns, images.device, self._precision, share=share, scale=self._scaled)
        self._turn()

    def _next(self, epoch: int, start: int) -> Batch:
        """Return a batch: usually the one after the last, which has been read ahead."""
        if self._ahead is None or self._ahead[0] != (epoch, start):
            self._ahead = ((epoch, start), iter(self._batches.epoch(epoch, start=start)))
        batches = self._ahead[1]
        self._ahead = ((epoch, start + 1), batches)
        return next(batches)

    def _turn(self) -> None:
        for p in self._params:
            p.grad = None
        turn = next(self._running, None)
        if turn is None:
            return
        self._scaled(turn.loss).backward()  # type: ignore[no-untyped-call]
        self._group.sum_to_first(_flat(_slopes(self._params), turn))

    def _scaled(self, loss: Tensor) -> Tensor:
        return loss * self._scale

    def _take(self, *_: float) -> None:
        """Take the weights after a step, and go on with the batch where it has another turn."""
        flat = self._group.spread(torch.cat([p.detach().reshape(-1) for p in self._params]))
        at = 0
        with torch.no_grad():
            for p in self._params:
                p.copy_(flat[at : at + p.numel()].view_as(p))
                at += p.numel()
        self._turn()

    def _take_all(self, *_: float) -> None:
        with torch.no_grad():
            for value in self._net.state_dict().values():
                value.copy_(self._group.spread(value.detach().clone().contiguous()))
        self._running = iter(())

    _DO: Mapping[int, Callable[..., None]] = {STEP: _step, WEIGHTS: _take, STATE: _take_all}


def _slopes(params: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of parameters, flat; zeros where the loss does not depend on one."""
    return [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in params]


def _flat(slopes: Sequence[Tensor], turn: Turn) -> Tensor:
    """Return the gradients, the loss and the share of right answers as one vector."""
    both = torch.stack([turn.loss.detach(), turn.right.detach().to(turn.loss.dtype)])
    return torch.cat([*slopes, both.to(slopes[0].dtype)])
