"""Data-parallel training: the first rank runs the loop, the others compute their share of each batch's gradient.

    first                              the others
    begin: epoch, step     ──────▶     take their share of that batch
    forward, backward                  forward, backward         (batch norms exchange their moments: `nets.synced`)
    whole: sum of gradients  ◀──────   give theirs
    optimiser steps
    stepped: new weights   ──────▶     take them
    validating: a net      ──────▶     take it
    answers: sum of logits  ◀──────    give those of their share, until all pictures are asked

Only the first has optimisers, averages, a clock and a checkpoint, so that a run is the same, and is resumed, with any number of
ranks. Where one is lost, those who are left meet again and take the step again: it costs nothing but its speed.
As much is sent as by an all-reduce of gradients.
Source: synchronous training as in J. Chen et al., Revisiting distributed synchronous SGD (2016), without backup workers.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.data.loader import Batch, Batches
from beholder.learn.answers import Later, answered
from beholder.learn.forward import forward, grown, pieces
from beholder.machine.device import Precision, seed
from beholder.machine.ranks import ALONE, Group, LostRankError, Ranks
from beholder.nets.synced import Synced
from beholder.tasks.task import Turn, Turns

STEP, WEIGHTS, STATE, CLOSE, OPEN, SCORE, ASK = range(1, 8)
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

    def validating(self, net: nn.Module, batch: int) -> Ranks:
        """Say that `net` is to answer the validation pictures, so many of each rank at once; return who does."""
        return ALONE

    def asked(self) -> None:
        """Say that the next pictures are to be answered."""

    def answers(self, logits: Tensor) -> Tensor:
        """Return the logits of all who answer, of those of this one and zeros."""
        return logits

    def regrouped(self, error: LostRankError, *, step: int) -> Alone:
        """Return those who are left, once one of them is lost; the net is as before the step that is to be taken again."""
        raise error

    @contextmanager
    def working(self) -> Iterator[None]:
        """Have the others ready for the block."""
        yield


class Team(Alone):
    """The other ranks, as the loop of the first one sees them.

    opened: makes them ready for this net and these batches, when the block of `working` begins; returns whether all of them
            hold the validation pictures
    left: returns those who are left, once one is gone, and how many they are with the first
    Raises `LostRankError` where one is gone.
    """

    def __init__(
        self, group: Group, net: nn.Module, batch: int, opened: Callable[[], bool], left: Callable[[], tuple[Alone, int]]
    ) -> None:
        self._group, self._net, self._batch, self._opened, self._remaining = group, net, batch, opened, left
        self._params = [p for p in net.parameters() if p.requires_grad]
        self._stale, self._validates = True, False
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
            _spread_state(self._group, self._net)
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

    def validating(self, net: nn.Module, batch: int) -> Ranks:
        """Give the others the state of `net`, where all of them hold the pictures."""
        if self._lost is not None:
            raise self._lost
        if not self._validates:
            return ALONE
        self._group.tell(message(SCORE, batch))
        _spread_state(self._group, net)
        return self._group.ranks

    def asked(self) -> None:
        """Say that the next pictures are to be answered."""
        if self._validates:
            self._group.tell(message(ASK))

    def answers(self, logits: Tensor) -> Tensor:
        """Return the logits of all who answer."""
        return self._group.sum_to_first(logits) if self._validates else logits

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
        self._validates = self._opened()
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
        later: Later | None = None,
    ) -> None:
        self._later, self._scored = later, net
        self._asked: Iterator[Tensor] = iter(())
        self._group, self._net, self._batches, self._precision = group, net, batches, precision
        self._turns = pieces(turns, batches, micro)
        self._seed, self._grow, self._how = seed, grow, {"smoothing": smoothing, "weights": weights}
        self._params = [p for p in net.parameters() if p.requires_grad]
        self._batch: Batch | None = None
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
        """Return a batch: usually the one after the last, which has been made ready."""
        if self._ahead is None or self._ahead[0] != (epoch, start):
            self._ahead, self._batch = ((epoch, start), iter(self._batches.epoch(epoch, start=start))), None
        batches = self._ahead[1]
        found = next(batches) if self._batch is None else self._batch
        self._ahead, self._batch = ((epoch, start + 1), batches), None
        return found

    def _make_ready(self) -> None:
        """Vary the next pictures while the first rank steps."""
        if self._ahead is not None and self._batch is None:
            self._batch = next(self._ahead[1], None)

    def _turn(self) -> None:
        for p in self._params:
            p.grad = None
        turn = next(self._running, None)
        if turn is None:
            return
        self._scaled(turn.loss).backward()  # type: ignore[no-untyped-call]
        self._group.sum_to_first(_flat(_slopes(self._params), turn))
        self._make_ready()

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
        _spread_state(self._group, self._net)
        self._running = iter(())

    def _score(self, batch: float, *_: float) -> None:
        """Take a net that is to answer the validation pictures: not the one that learns, but an average of it, or its best."""
        assert self._later is not None
        if self._scored is self._net:
            self._scored = copy.deepcopy(self._net).eval().requires_grad_(False)
        _spread_state(self._group, self._scored)
        ranks = self._group.ranks
        self._asked = answered(self._scored, self._later, self._precision, batch=int(batch), ranks=ranks)

    def _answer(self, *_: float) -> None:
        self._group.sum_to_first(next(self._asked))

    _DO: Mapping[int, Callable[..., None]] = {
        STEP: _step,
        WEIGHTS: _take,
        STATE: _take_all,
        SCORE: _score,
        ASK: _answer,
    }


@torch.no_grad()
def _spread_state(group: Group, net: nn.Module) -> None:
    """Give every rank the weights and buffers that the first one's net has."""
    for value in net.state_dict().values():
        value.copy_(group.spread(value.detach().clone().contiguous()))


def _slopes(params: Sequence[Tensor]) -> list[Tensor]:
    """Return the gradients of parameters, flat; zeros where the loss does not depend on one."""
    return [(torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in params]


def _flat(slopes: Sequence[Tensor], turn: Turn) -> Tensor:
    """Return the gradients, the loss and the share of right answers as one vector."""
    both = torch.stack([turn.loss.detach(), turn.right.detach().to(turn.loss.dtype)])
    return torch.cat([*slopes, both.to(slopes[0].dtype)])
