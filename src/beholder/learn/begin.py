"""From parts that are decoded to a run before its first step: threads, floor and budget."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.records import Parts
from beholder.base.spans import span
from beholder.bundle.bundle import Bundle
from beholder.bundle.config import Baseline
from beholder.learn import finish
from beholder.learn.budget import CLOSING, OPENING, TESTING, Budget, budget, sampled
from beholder.learn.checkpoint import RunFolder
from beholder.learn.floor import SHARE, Floor, headed, offered, on_pixels
from beholder.learn.loop import Run
from beholder.learn.material import Material
from beholder.learn.monitors import Best, Weights, copied
from beholder.learn.prepare import Prepared, check_scales, sample
from beholder.learn.probe import Head
from beholder.learn.resumed import head_of, opened, settle
from beholder.learn.run import run_of
from beholder.learn.tempo import SAMPLE, seconds_each, threads
from beholder.learn.validate import validate
from beholder.machine.device import repeats
from beholder.machine.pace import BUSY, contended, slowness
from beholder.machine.stop import Stop
from beholder.measure.optimism import better
from beholder.nets.depth import freeze
from beholder.nets.head import forget
from beholder.runtime.features import Run as Way
from beholder.runtime.inference import engine, outputs
from beholder.tasks.objectives import explained


@dataclass(frozen=True, eq=False)
class Learning:
    """A run and what it is measured by. floor, tempo, head: see `learn.floor` and `learn.finish`.

    later: what it is validated on; heard: epoch → the logits, float16 (N, W), that its validation gave there, -1: the head's
    first: the weights with the head on frozen features, {} where there is none
    """

    run: Run
    limits: Budget
    floor: Floor | None
    tempo: finish.Tempo
    head: Head | None
    later: Material
    heard: dict[int, Tensor]
    first: Weights

    @property
    def kept(self) -> Head | None:
        """Return the head on frozen features where it is the best of the run, None where training, or another floor, is."""
        floor = self.floor is not None and self.floor.created is None
        return self.head if floor and self.run.best.epoch < 0 else None

    def worth(self, prepared: Prepared) -> tuple[Prepared, Baseline | None]:
        """Return the run with the floor in place of a net that the clock gave no time to beat it, and what config.json says.

        That is None without a floor, else the floor's own figures with "net": the net's score, None where it took no step, and
        "kept": whether the floor took its place. What is not beaten is said.
        """
        floor, best = self.floor, self.run.best
        if floor is None and not prepared.created.pretrained and not self.limits.seconds:
            floor = on_pixels(prepared, self.later, Deadline())  # nobody waits for it before the first step
        if floor is None or math.isnan(floor.score):
            return prepared, None
        reached = best.score if math.isfinite(best.score) else None
        told = floor.told(reached)
        if floor.created is None and best.epoch >= 0 and not self._surely_better(prepared):
            prepared.said(
                f"the head on frozen features stays: {floor.score:.4f}, fine-tuned {best.score:.4f}; see docs/TUNING.md"
            )
            return self._with_head(prepared, floor), floor.told(reached, kept=True)
        if floor.created is None:
            return (self._with_head(prepared, floor) if best.epoch < 0 else prepared), told
        if floor.score <= best.score:
            return prepared, told
        words = f"{floor.name} reaches {floor.score:.4f} on validation, the net {reached or 0.0:.4f}"
        if not self.limits.seconds:
            prepared.said(f"the net does not beat its floor: {words}")
            return prepared, told
        prepared.said(f"the net had no time to beat its floor, which is kept in its place: {words}")
        best.weights, best.score, best.epoch = copied(floor.created.net), floor.score, -1
        plan = replace(prepared.plan, mirror=False, net="logistic")
        return replace(prepared, created=floor.created, plan=plan), floor.told(reached, kept=True)

    def cut(self, prepared: Prepared) -> Prepared:
        """Return the run that is cut short; its head stays where training is not surely better. Nothing is validated for it."""
        best, floor = self.run.best, self.floor
        if floor is None or floor.created is not None or best.epoch not in self.heard or self._surely_better(prepared):
            return prepared
        return self._with_head(prepared, floor)

    def _with_head(self, prepared: Prepared, floor: Floor) -> Prepared:
        """Make the head on frozen features the best of the run."""
        best = self.run.best
        best.weights, best.score, best.epoch = self.first, floor.score, -1
        return replace(prepared, plan=replace(prepared.plan, mirror=False))

    def _hear_again(self, prepared: Prepared) -> None:
        """Validate the best weights once more, to hear what they say."""
        best, net, on = self.run.best, prepared.created.net, prepared.normal

        def hear(logits: Tensor) -> None:
            self.heard[best.epoch] = logits.half()

        net.load_state_dict(best.weights)
        validate(net, self.later.pixels, self.later.targets, on, prepared.precision, task=prepared.task, heard=hear)

    def _surely_better(self, prepared: Prepared) -> bool:
        """Return whether the best of training is better than the head on frozen features, in `SURE` of the resamples."""
        best, task, targets = self.run.best, prepared.task, self.later.targets.numpy()
        if best.epoch not in self.heard:  # of a run that was resumed since
            self._hear_again(prepared)
        head, tuned = (self.heard[epoch].float().numpy() for epoch in (-1, best.epoch))
        return better(head, tuned, targets, task.objective) >= SURE

    def told(self, prepared: Prepared, parts: Parts, began: float) -> dict[str, Any]:
        """Return what a bundle's config says of the time and of the clock."""
        clock = finish.clock(prepared, parts, self.run, self.tempo, self.limits, head=self.head)
        seconds = round(time.monotonic() - began, 2)
        return {"seconds": seconds, "clock": clock.words, "minutes_needed": clock.minutes}


def begun(
    prepared: Prepared,
    parts: Parts,
    folder: RunFolder | None,
    stop: Stop,
    *,
    resume: bool,
    until: Deadline,
    room: tuple[float, float, int],
) -> Learning:
    """Return a run before its first step, its floor found.

    room: when the budget began, and for how many seconds and pictures there must be time after the test
    """
    going_on = opened(folder, prepared, resume=resume)
    _tell_busy(prepared)
    head = head_of(folder) if going_on and folder is not None else _first_look(prepared, stop, until)
    limits, tempo = _time_for(prepared, parts, head, until, room, going_on=going_on)
    settle(folder, prepared, head, going_on=going_on)
    free = replace(limits, seconds=0.0) if tempo.left_out else limits
    among = head.rows if head is not None else None
    valid, free, rows = sampled(prepared.valid, free, train=len(prepared.train.pixels), among=among)
    limits, best, heard = replace(free, seconds=limits.seconds), Best(), dict[int, Tensor]()
    if head is None:
        floor = _floor(prepared, valid, until, limits, left_out=tempo.left_out)
    else:
        floor, logits = offered(prepared, head, valid, rows, best)
        heard[-1] = logits.half()
        forget(prepared.created.net)
    events.step(4, "training by backpropagation")
    for words in _facts(prepared) if not tempo.left_out else ():
        prepared.said(words)
    first = best.weights

    def hear(logits: Tensor) -> None:
        heard[run.at.epoch] = logits.half()

    run: Run = run_of(prepared, best, valid=valid, limits=limits, folder=folder, stop=stop, heard=hear)
    if going_on and folder is not None:
        run.resume(folder)
    return Learning(run, limits, floor, tempo, head, valid, heard, first)


def _first_look(prepared: Prepared, stop: Stop, until: Deadline) -> Head | None:
    """Look at the scales of a first step where there is time, and return the head on frozen features of a pretrained net."""
    probes = prepared.created.pretrained and prepared.recipe.train.probe
    if until.none or (not probes and until.left > LEISURE):
        check_scales(prepared.created.net, prepared)
    if not probes:
        return None
    with span("probe"):
        return headed(prepared, stop, until)


def _time_for(
    prepared: Prepared, parts: Parts, head: Head | None, until: Deadline, room: tuple[float, float, int], *, going_on: bool
) -> tuple[Budget, finish.Tempo]:
    """Return the budget, and how fast training is within it."""
    if head is not None and not going_on and _hopeless(prepared, head, until):
        prepared.said("fine-tuning is left out: there is no time for it; the head on frozen features stays")
        return _unmeasured(prepared, parts, head, *room), finish.Tempo(BACKWARD * head.each, 0.0, left_out=True)
    limits = budget_of(prepared, parts, *room)
    return limits, finish.Tempo() if going_on else _tempo(prepared, limits, head)


def _floor(prepared: Prepared, valid: Material, until: Deadline, limits: Budget, *, left_out: bool) -> Floor | None:
    """Return the regression on pixels that a net from random weights is measured against, where there is a budget."""
    if prepared.created.pretrained or until.none:
        return None
    seconds = limits.training() if left_out else SHARE * until.left
    return on_pixels(prepared, valid, until.within(seconds), instead=left_out)


def _facts(prepared: Prepared) -> list[str]:
    """Return what is to be known of a run before its first step."""
    on, precision = prepared.normal.device, prepared.precision
    named = prepared.recipe.train.objective != "auto"
    aimed = [explained(prepared.task, prepared.recipe.test.positive)] if named else []
    unsteady = [repeats(on)] if on.type != "cpu" else []
    return [*aimed, *prepared.plan.reasons, f"precision: {precision.name}: {precision.reason}", *unsteady]


def budget_of(prepared: Prepared, parts: Parts, began: float, after: float, again: int = 0) -> Budget:
    """Return the budget, with what validation and testing cost measured as they will be done."""
    net, (pixels, targets) = prepared.created.net, (prepared.valid.pixels, prepared.valid.targets)
    trained = Bundle(finish.config_of(prepared), net, prepared.recipe)
    ways: list[Way] = []

    def validated(n: int) -> object:
        some = pixels.subset(np.arange(n))
        return validate(net, some, targets[:n], prepared.normal, prepared.precision, task=prepared.task)

    def tested(n: int) -> object:
        if not ways:
            seconds = 60 * TESTING * prepared.recipe.train.minutes or math.inf
            ways.append(engine(trained, pixels, pictures=len(parts.test), seconds=seconds))
        return outputs(trained, pixels.subset(np.arange(n)), run=ways[0], label="")

    return budget(
        prepared, parts.test, began=began, validated=validated, tested=tested, closing=CLOSING + OPENING + after, again=again
    )


def _hopeless(prepared: Prepared, head: Head, until: Deadline) -> bool:
    """Return whether there is no time for fine-tuning, even if nothing but closing followed it: nothing is measured then."""
    least = BACKWARD * head.each * len(prepared.train.pixels) * FEWEST
    return not until.none and least > until.left - CLOSING * slowness()


def _unmeasured(prepared: Prepared, parts: Parts, head: Head, began: float, after: float, again: int) -> Budget:
    """Return the budget of a run that is not going to train: what follows is reckoned by what features took."""
    asked = head.each * (len(parts.test) + again + len(prepared.valid.pixels))
    return Budget(60 * prepared.recipe.train.minutes, began, after=CLOSING + after + asked)


LEISURE = 45.0
"""Seconds that must be left for a look at the scales of a first step."""

SURE = 0.95
"""Share of the resamples of the validation pictures in which fine-tuning has to be better than the head that it replaces: of
few pictures chance alone makes it so in half of them, and more often the best of several epochs."""

FEWEST, STEPS = 2.0, 30
"""Epochs of fine-tuning that there must be time for: of fewer the head, which starts anew, learns less than was fitted. And
steps of a net from random weights, which after fewer knows nothing yet."""


def _tempo(prepared: Prepared, limits: Budget, head: Head | None) -> finish.Tempo:
    """Return how fast training is, and whether it is left out: measured where there is a budget and a floor to keep."""
    if not limits.seconds or (head is None and prepared.created.pretrained):
        return finish.Tempo()
    n, left = len(prepared.train.pixels), max(0.0, limits.training())
    each = BACKWARD * head.each if head is not None else 0.0
    if each * n * FEWEST <= left:
        copied = copy.deepcopy(prepared.created.net)
        freeze(copied, prepared.plan.freeze)
        images = sample(prepared.train, prepared.normal, SAMPLE if head is not None else min(prepared.plan.batch, 64))[0]
        if not prepared.paced:
            _choose_threads(prepared, copied, images)
        each = seconds_each(copied, images, prepared.precision)
    epoch = each * n + (limits.validation / max(1.0, prepared.plan.epochs / 40) if head is not None else 0.0)
    epochs = left / max(1e-9, epoch)
    steps = epochs * n / prepared.plan.batch
    if head is not None and epochs < FEWEST:
        prepared.said(f"fine-tuning is left out: there is time for {epochs:.1f} epochs; the head on frozen features stays")
        return finish.Tempo(each, epochs, left_out=True)
    if head is None and steps < STEPS:
        prepared.said(f"training is left out: there is time for {steps:.0f} steps, and a regression on pixels is worth more")
        return finish.Tempo(each, epochs, left_out=True)
    return finish.Tempo(each, epochs)


BACKWARD = 2.0
"""How many times as long as its features a training step of a picture takes at least."""


def _tell_busy(prepared: Prepared) -> None:
    """Say so where other work keeps the machine busy; a run without a budget then trains with the threads that are quickest.

    On an idle machine it computes with all of them, and so the same bits each time.
    """
    busy = min(slowness(), slowness())
    if busy >= BUSY:
        events.warn("busy", times=busy)
    if not prepared.recipe.train.minutes and contended():
        _choose_threads(prepared, prepared.created.net, sample(prepared.train, prepared.normal, SAMPLE)[0])


def _choose_threads(prepared: Prepared, net: nn.Module, images: torch.Tensor) -> None:
    """Let torch train with the threads that are quickest now."""
    most = torch.get_num_threads()
    if prepared.normal.device.type != "cpu" or most == 1:
        return
    count = threads(net, images, prepared.precision)
    if count < most:
        prepared.said(f"training with {count} of {most} threads, which is quicker at this moment")
