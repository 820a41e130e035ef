"""From what was prepared to a run of the loop: optimisers, clock, settings, validation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from beholder.base.choices import SCHEDULES
from beholder.base.spans import current
from beholder.base.used import check_pieces
from beholder.data.loader import Batches
from beholder.learn.budget import Budget
from beholder.learn.checkpoint import RunFolder, Saves
from beholder.learn.clock import Clock
from beholder.learn.followed import team_of
from beholder.learn.forward import count_of, pieces
from beholder.learn.loop import Run, Settings
from beholder.learn.material import Material
from beholder.learn.monitors import Average, Best, Guard, Player, Validation
from beholder.learn.optim import optimiser
from beholder.learn.parallel import Alone
from beholder.learn.prepare import Prepared
from beholder.learn.resizing import dearer, resized, sizes
from beholder.learn.turned import turned, weighed
from beholder.learn.validate import validate
from beholder.machine.chip import settled
from beholder.machine.compile import compiled
from beholder.machine.device import scaler
from beholder.machine.devices import kind
from beholder.machine.stop import Stop
from beholder.nets.depth import decayed, freeze
from beholder.nets.features import head as head_of
from beholder.tasks.task import Turns


def run_of(
    prepared: Prepared,
    best: Best,
    *,
    valid: Material,
    limits: Budget,
    folder: RunFolder | None,
    stop: Stop,
    heard: Callable[[Tensor], object] = lambda _: None,
) -> Run:
    """Return the run of the prepared net, whose lowest layers are frozen as planned.

    heard: is given the logits of each validation
    """
    net, on, chosen, batches = prepared.created.net, prepared.normal.device, prepared.plan, prepared.batches()
    frozen = freeze(net, chosen.freeze)
    made = _optimisers(prepared, batches.batch)
    if (ledger := current()) is not None:
        ledger.settle = lambda: settled(on)
    model = _compiled(prepared, batches, limits)
    validation = _validation(prepared, valid, heard, lambda: run.team)
    average = Average(net, chosen.averaging) if chosen.averaging > 0 else None
    run = Run(
        net=net,
        model=model,
        scaler=scaler(on, prepared.precision),
        turns=pieces(_turns(prepared, batches), batches, prepared.recipe.train.micro),
        players={"net": Player(net, made, average, best)},
        batches=batches,
        validation=validation,
        clock=_clock(prepared, limits, steps=len(batches), every=validation.every),
        settings=_settings(prepared, frozen),
        saves=Saves(folder),
        stop=stop,
        guard=Guard(prepared.train.pictures.keys, eager=not kind(on).apart),
        team=team_of(prepared, frozen, batches, valid),
    )
    return run


def _compiled(prepared: Prepared, batches: Batches, limits: Budget) -> nn.Module:
    """Return what the forward pass calls: compiled for every size of pictures and of pieces of a batch, or the net itself."""
    recipe, chosen = prepared.recipe.train, prepared.plan
    count, full = count_of(batches, recipe.micro), (prepared.policy.height, prepared.policy.width)
    parts = {len(part): part for part in batches.example().tensor_split(count)}
    first, *others = (resized(part, size) for part in parts.values() for size in reversed(sizes(full, chosen.grow)))
    how: dict[str, Any] = {"asked": recipe.compile, "others": others, "seconds": limits.left()}
    found = compiled(prepared.created.net, first, prepared.precision, steps=len(batches) * chosen.epochs * count, **how)
    if found.reason:
        prepared.said(found.reason)
    return found.model


def _turns(prepared: Prepared, batches: Batches) -> Turns:
    """Return the turns of a batch: those of the task, by losses that count each picture where some are left out."""
    task, subset = prepared.learnt, batches.subset
    if subset is None or not subset.prunes:
        return task.turns
    check_pieces(prepared.recipe)
    return turned(task.turns, weighed(task, subset.hear), prepared.lessons.shape[1])


def _optimisers(prepared: Prepared, batch: int) -> list[torch.optim.Optimizer]:
    net, chosen = prepared.created.net, prepared.plan
    return optimiser(
        net,
        chosen.optimiser,
        lr=chosen.lr,
        momentum=prepared.recipe.train.momentum,
        weight_decay=chosen.weight_decay,
        head=head_of(net),
        batch=batch,
        factors=decayed(net, chosen.layer_decay),
        bf16=prepared.precision.dtype is torch.bfloat16,
    )


def _validation(
    prepared: Prepared, valid: Material, heard: Callable[[Tensor], object], team: Callable[[], Alone]
) -> Validation:
    """Return the validation on `valid`: as often as it costs a small share of training, about 40 times at most."""

    def scored(nets: Mapping[str, nn.Module], enough: Callable[[], bool]) -> dict[str, tuple[float, float]] | None:
        how: dict[str, Any] = {"task": prepared.task, "enough": enough, "heard": heard, "team": team()}
        found = validate(nets["net"], valid.pixels, valid.targets, prepared.normal, prepared.precision, **how)
        return None if found is None else {"net": found}

    every = max(1, prepared.plan.epochs // 40, round(len(valid.pixels) / max(1, len(prepared.train.pixels))))
    return Validation(scored, every, prepared.recipe.train.patience)


def _clock(prepared: Prepared, limits: Budget, *, steps: int, every: int) -> Clock:
    chosen, size = prepared.plan, (prepared.policy.height, prepared.policy.width)
    return Clock(
        steps_per_epoch=steps,
        epochs=chosen.epochs,
        seconds=limits.left(),
        every=every,
        validation=limits.validation,
        after=limits.after,
        dearer=lambda done: dearer(size, chosen.grow, done),
    )


def _settings(prepared: Prepared, frozen: Sequence[nn.Module]) -> Settings:
    recipe, chosen = prepared.recipe, prepared.plan
    return Settings(
        schedule=SCHEDULES.load(chosen.schedule),
        precision=prepared.precision,
        smoothing=recipe.train.smoothing,
        weights=prepared.weights,
        clip=recipe.train.clip,
        seed=recipe.seed,
        grow=chosen.grow,
        frozen=frozen,
    )
