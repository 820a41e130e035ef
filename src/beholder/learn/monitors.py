"""Monitors of the training loop: averaged weights, the best so far, sums of the epoch, values that are not finite."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from beholder.base.errors import BeholderError
from beholder.tasks.task import Turn

Weights = dict[str, Tensor]


class Average:
    """An exponential moving average of weights and buffers, with the warm-up min(decay, (1 + t) / (10 + t)).

    Source: Polyak & Juditsky 1992; the warm-up is that of tf.train.ExponentialMovingAverage.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        """Move the average towards the weights of `net`; integer buffers are copied."""
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        ours, theirs = self.net.state_dict(), net.state_dict()
        floats = [name for name, value in ours.items() if value.is_floating_point()]
        moved = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        moved([ours[name] for name in floats], [theirs[name] for name in floats], None)
        for name in ours.keys() - set(floats):
            ours[name].copy_(theirs[name])


def copied(net: nn.Module) -> Weights:
    """Return a copy of all weights and buffers."""
    return {name: value.detach().clone() for name, value in net.state_dict().items()}


@dataclass
class Best:
    """The best weights on the validation part so far: the higher score wins, then the lower loss."""

    weights: Weights = field(default_factory=dict)
    score: float = float("-inf")
    loss: float = float("inf")
    epoch: int = -1

    def offer(self, net: nn.Module, *, score: float, loss: float, epoch: int) -> bool:
        """Keep a copy of `net` if it is better; return whether it is. A score or loss that is NaN is the lowest of all."""
        # No class of a multi-label part may have a positive; a net that answers NaN seems right wherever the first class is.
        score = float("-inf") if math.isnan(score) or math.isnan(loss) else score
        if not (score, -loss) > (self.score, -self.loss):
            return False
        self.weights, self.score, self.loss, self.epoch = copied(net), score, loss, epoch
        return True


@dataclass(eq=False)
class Player:
    """One of those who learn in turns: a part of the net, or all of it, and what steps on its parameters.

    average: of its weights, None where none is kept; best: its best weights on the validation part, None where it is not scored
    tally: its losses of this epoch
    """

    module: nn.Module
    optimisers: list[torch.optim.Optimizer]
    average: Average | None = None
    best: Best | None = None
    tally: Tally = field(default_factory=lambda: Tally())

    @property
    def scored(self) -> nn.Module:
        """Return the net that is validated: the average, where there is one."""
        return self.module if self.average is None else self.average.net

    def state(self) -> dict[str, Any]:
        """Return all of it that is not tensors, as plain JSON values; `set` takes it."""
        best = self.best if self.best is not None and self.best.weights else None
        return {
            "tally": self.tally.state(),
            "updates": 0 if self.average is None else self.average.updates,
            "best": best and {"score": best.score, "loss": best.loss, "epoch": best.epoch},
        }

    def set(self, state: Mapping[str, Any], *, best: bool) -> None:
        """Go on from what `state` returned; best: its figures of the best, too."""
        self.tally.set(*state["tally"])
        if self.average is not None:
            self.average.updates = state["updates"]
        if best and self.best is not None and state["best"]:
            self.best.score, self.best.loss, self.best.epoch = (state["best"][name] for name in ("score", "loss", "epoch"))


class Tally:
    """Sums of an epoch's losses and shares of right answers, kept on the device: adding to them waits for nothing."""

    def __init__(self) -> None:
        self._sums: Tensor | None = None
        self._turns = 0

    def add(self, loss: Tensor, right: Tensor) -> None:
        """Add one turn: two scalar tensors."""
        both = torch.stack([loss.detach().float(), right.detach().float()])
        self._sums = both if self._sums is None else self._sums.to(both.device) + both
        self._turns += 1

    def means(self) -> tuple[float, float]:
        """Return the mean loss and the mean share of right answers so far, 0 before the first turn. Waits for the device."""
        loss, right, turns = self.state()
        return loss / max(1, turns), right / max(1, turns)

    def state(self) -> tuple[float, float, int]:
        """Return the sums as they are, exactly, and the number of turns; `set` takes them."""
        loss, right = self._sums.tolist() if self._sums is not None else (0.0, 0.0)
        return loss, right, self._turns

    def set(self, loss: float, right: float, turns: int) -> None:
        """Go on from sums that `state` returned; 0, 0, 0 begins anew."""
        self._sums = torch.tensor([loss, right]) if turns else None
        self._turns = turns


Validate = Callable[[Mapping[str, nn.Module], Callable[[], bool]], Mapping[str, tuple[float, float]] | None]
"""Returns, of nets by player, (loss, score) on the validation part of those that are scored, the higher the better; or None
once the second argument says enough."""


@dataclass(frozen=True)
class Validation:
    """How players are scored, every how many epochs, and after how many without a better score to stop (0: never)."""

    score: Validate
    every: int
    patience: int


@dataclass
class Meter:
    """What is counted as a run goes on.

    pixels: of the pictures trained on since this process began, as large as they were then
    looked: when the device was last asked how far it is; figures: what it said
    """

    pixels: int = 0
    looked: float = 0.0
    figures: dict[str, Any] = field(default_factory=dict)


class NotFiniteError(BeholderError):
    """The loss or a gradient became infinite or NaN; the optimiser did not step. keys: the pictures of that batch."""

    def __init__(self, what: str, *, keys: Sequence[str] = ()) -> None:
        some = ", ".join(keys[:3]) + (f" and {len(keys) - 3} more" if len(keys) > 3 else "")
        super().__init__(
            f"{what} (pictures {some})" if some else what,
            code="not-finite",
            hint="lower the rate (--set train.lr=…), clip gradients (train.clip=1) or train in fp32 (train.precision=fp32)",
        )
        self.keys = tuple(keys)


class Guard:
    """Keeps losses and gradients that are not finite from the weights.

    eager: every turn is looked at before its optimiser steps; that costs nothing on a CPU. On other devices it would make
    the host wait, so there the number of the first bad step stays on the device, fused optimisers are told by it not to
    step, and the host looks now and then, and before anything is kept. What came after the bad step is thrown away.
    keys: the name of each picture, by its position in the pixels.
    """

    def __init__(self, keys: Sequence[str] = (), *, eager: bool = True) -> None:
        self._keys = keys
        self.eager = eager
        self._first: Tensor | None = None
        self._recent: deque[tuple[int, Tensor]] = deque(maxlen=1024)
        self._never: frozenset[str] | None = None

    def watch(self, turn: Turn, norm: Tensor | None, *, step: int, indices: Tensor) -> None:
        """Take note of a turn's loss and the norm of its gradients (None: not of interest) before the optimiser steps.

        Raises `NotFiniteError` at once if `eager`, else `look` does.
        """
        self._recent.append((step, indices))
        loss = turn.loss.detach()
        if self.eager:
            if not math.isfinite(float(loss)):
                raise NotFiniteError(f"the loss became {float(loss)} at step {step}", keys=self._pictures(step))
            if norm is not None and not math.isfinite(float(norm)):
                raise NotFiniteError(f"the gradients became {float(norm)} at step {step}", keys=self._pictures(step))
            return
        bad = ~torch.isfinite(loss if norm is None else loss + norm)
        before = self._first if self._first is not None else torch.full_like(bad, -1, dtype=torch.float32)
        self._first = before.masked_fill((before < 0) & bad, float(step))

    def shield(self, optimisers: Iterable[torch.optim.Optimizer]) -> None:
        """Tell fused optimisers not to step once something was not finite; nothing waits for the device.

        PyTorch's others refuse to be told: they step, and `look` has what they did thrown away.
        """
        if self._first is not None:
            flag = (self._first >= 0).float()
            for optimiser in (each for each in optimisers if each.defaults.get("fused", True)):
                optimiser.found_inf = flag  # type: ignore[attr-defined]  # as torch.amp.GradScaler tells them

    def look(self) -> None:
        """Raise `NotFiniteError` if anything so far was not finite. Waits for the device."""
        first = int(self._first) if self._first is not None else -1
        if first >= 0:
            raise NotFiniteError(f"the loss or a gradient was not finite at step {first}", keys=self._pictures(first))

    def check(self, tensors: Mapping[str, Tensor], *, step: int) -> None:
        """Raise `NotFiniteError` if a tensor is not finite that was so at the first call (masks of attention never are)."""
        found = frozenset(name for name, value in tensors.items() if not math.isfinite(float(value.float().sum())))
        self._never = found if self._never is None else self._never
        if found - self._never:
            raise NotFiniteError(f"{min(found - self._never)} is not finite after step {step}")

    def forget(self) -> None:
        """Begin anew, once the last good state is back in place."""
        self._first = None
        self._recent.clear()

    def _pictures(self, step: int) -> list[str]:
        indices = next((indices.tolist() for number, indices in self._recent if number == step), [])
        return [self._keys[k] for k in indices] if self._keys else []


def gradient_norm(net: nn.Module, clip: float) -> Tensor:
    """Return the norm of all gradients, a scalar on their device; with `clip` > 0 they are scaled down to that norm."""
    if clip > 0:
        return torch.nn.utils.clip_grad_norm_(net.parameters(), clip)
    return torch.nn.utils.get_total_norm([p.grad for p in net.parameters() if p.grad is not None])


def row(**figures: Any) -> dict[str, Any]:
    """Return one row of the history: floats have 6 significant digits, and None where they are not finite (JSON)."""

    def plain(value: Any) -> Any:
        if not isinstance(value, float):
            return value
        return float(f"{value:.6g}") if math.isfinite(value) else None

    return {name: plain(value) for name, value in figures.items()}
