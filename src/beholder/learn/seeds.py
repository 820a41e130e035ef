"""More seeds of a training whose plan was done before the time was up: their spread is said, and the best is kept.

Fine-tunings that begin with the same weights end in one basin, so the mean of what they learnt is a net of the same cost, and
often better than each (Wortsman et al. 2022, "Model soups"). Nets from random weights have no such mean.
"""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from beholder.base import events
from beholder.bundle.config import Tried
from beholder.learn.account import known, told
from beholder.learn.begin import Learning
from beholder.learn.loop import Run
from beholder.learn.monitors import Best, NotFiniteError, Weights
from beholder.learn.prepare import Prepared, created
from beholder.learn.run import run_of
from beholder.learn.validate import validate
from beholder.machine.device import telling_memory
from beholder.machine.ranks import group
from beholder.machine.stop import Stop
from beholder.nets.build import Created
from beholder.nets.head import forget

MOST = 2
"""Runs in all, the first among them: what more of them gained in a measurement was chance (docs/LOG.md)."""

LEAST = 0.4
"""Share of the time of the first run that there must be for another one: with less it ends lower, and so does their mean."""


@dataclass(frozen=True)
class _Seed:
    """A run that is over.

    began, seconds: on the monotonic clock; curve: its validations, () where it has no score
    """

    seed: int
    best: Best
    began: float
    seconds: float
    outcome: str
    curve: tuple[tuple[float, float], ...] = ()


def gone(run: Run, batch: int) -> None:
    """Train; a signal is heeded at the next step. Raises `NotFiniteError` of a run that diverged at half the rate too."""
    with telling_memory(batch), run.stop.held():
        run.go()
    run.stop.check()


def seeded(learning: Learning, prepared: Prepared, stop: Stop, *, began: float) -> list[Tried]:
    """Train again with other seeds as long as there is time, have the best of all in `learning.run`, and return what to say.

    began: `time.monotonic()` of the start of the command. Nothing is done without a budget, with epochs that the recipe names,
    where the first run is no better than the head that it had to beat, or among several processes.
    Raises `Interrupted` where somebody asks to stop.
    """
    run, rows, scores = learning.run, list[Tried](), [learning.run.best.score]
    seconds, found = run.clock.spent, [_plain(run.best.weights)]
    while len(found) < MOST and _allowed(learning, prepared, seconds):
        if len(found) == 1:
            run.keep()
        seed = _another(learning, prepared, stop, seed=prepared.recipe.seed + len(found))
        if seed.curve:
            found.append(_plain(seed.best.weights))
            scores.append(seed.best.score)
        rows.append(told(_row(seed, len(learning.later.pixels), began)))
        if not seed.curve:
            break
    if len(found) > 1:
        if prepared.created.pretrained:
            rows.append(told(_mean(learning, prepared, found, began)))
        prepared.said(f"{len(found)} seeds reach {', '.join(f'{score:.4f}' for score in scores)} on validation")
    return rows


def _allowed(learning: Learning, prepared: Prepared, seconds: float) -> bool:
    """Return whether there is time for another run, where the first took so many seconds, and sense in it."""
    limits, best = learning.limits, learning.run.best
    begins = bool(learning.first) if prepared.created.pretrained else learning.head is None
    useful = limits.seconds > 0 and not learning.tempo.left_out and best.epoch >= 0 and begins
    return useful and not prepared.recipe.train.epochs and group() is None and limits.training() > LEAST * seconds


def _another(learning: Learning, prepared: Prepared, stop: Stop, *, seed: int) -> _Seed:
    """Train once more with another seed, from where the first run began, and offer its best to that of the first."""
    start, best, first = time.monotonic(), Best(), learning.run
    after = 1 + max([first.at.epoch, first.best.epoch, *learning.heard])  # a resumed run may have heard nothing yet
    events.note(f"there is time to train once more, with seed {seed}")

    def hear(logits: Tensor) -> None:
        learning.heard[after + run.at.epoch] = logits.half()

    with events.only("warn", "progress"):
        again = replace(prepared, recipe=prepared.recipe.set(seed=seed), created=_begins(learning, prepared, seed))
        run = run_of(again, best, valid=learning.later, limits=learning.limits, folder=None, stop=stop, heard=hear)
        try:
            gone(run, again.plan.batch)
        except NotFiniteError:
            return _Seed(seed, Best(), start, time.monotonic() - start, "diverged")
    seconds = time.monotonic() - start
    if not best.weights:
        return _Seed(seed, best, start, seconds, "there was no time to validate it")
    again.created.net.load_state_dict(best.weights)
    ahead = learning.run.best.offer(again.created.net, score=best.score, loss=best.loss, epoch=after + best.epoch)
    curve = tuple((row["seconds"], row["valid_score"]) for row in run.at.history if known(row))
    return _Seed(seed, best, start, seconds, "better than those before" if ahead else "not better", curve)


def _begins(learning: Learning, prepared: Prepared, seed: int) -> Created:
    """Return a net as it is before its first step: pretrained with a head of zeros, or with other random weights."""
    if not prepared.created.pretrained:
        return created(prepared, seed)
    net = copy.deepcopy(prepared.created.net)
    net.load_state_dict(learning.first)
    forget(net)
    return replace(prepared.created, net=net)


def _mean(learning: Learning, prepared: Prepared, seeds: list[Weights], began: float) -> Tried:
    """Offer the mean of the weights of all seeds by what it says of the validation pictures, and return what to say of it."""
    start, net, later = time.monotonic(), prepared.created.net, learning.later
    epoch = 1 + max(learning.heard)

    def hear(logits: Tensor) -> None:
        learning.heard[epoch] = logits.half()

    net.load_state_dict(mean(seeds))
    how: dict[str, Any] = {"task": prepared.task, "heard": hear}
    found = validate(net, later.pixels, later.targets, prepared.normal, prepared.precision, **how)
    assert found is not None
    loss, score = found
    ahead = learning.run.best.offer(net, score=score, loss=loss, epoch=epoch)
    what, outcome = (
        f"the mean of the weights of {len(seeds)} seeds",
        "better than each" if ahead else "not better than the best",
    )
    where = round(start - began, 2), round(time.monotonic() - start, 2)
    return Tried("seeds", what, score, len(later.pixels), *where, outcome)


def mean(seeds: list[Weights]) -> Weights:
    """Return the mean of each weight and buffer; of those that are no floats, the first's."""
    first = seeds[0]
    return {
        name: torch.stack([each[name].float() for each in seeds]).mean(0).to(value.dtype)
        if value.is_floating_point()
        else value.clone()
        for name, value in first.items()
    }


def _plain(weights: Weights) -> Weights:
    return {name: value.detach().cpu() for name, value in weights.items()}


def _row(found: _Seed, n: int, began: float) -> Tried:
    start = found.began - began
    curve = tuple((round(start + seconds, 2), score) for seconds, score in found.curve)
    score = found.best.score if found.curve else None
    what, outcome = f"the same with seed {found.seed}", found.outcome
    return Tried("seeds", what, score, n if found.curve else 0, round(start, 2), round(found.seconds, 2), outcome, curve)
