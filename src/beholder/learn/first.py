"""The first bundle of a run with a budget: a head on what features there is time for in some seconds, so that there is one."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.recipe import Recipe
from beholder.base.records import Parts
from beholder.bundle.bundle import Bundle
from beholder.bundle.format import finished
from beholder.learn import finish
from beholder.learn.floor import headed
from beholder.learn.prepare import Prepared, prepare
from beholder.learn.probe import Head
from beholder.machine.info import machine
from beholder.machine.stop import stopping
from beholder.nets.head import give

SECONDS, SHARE = 8.0, 0.15
"""Seconds that the features behind it may take, and their share of the time left; they are kept for all that follows."""


def keep_first(parts: Parts, *, recipe: Recipe, path: Path | None, until: Deadline) -> None:
    """Save the head of a pretrained net as a bundle that says that its training is not over; a whole one that is there stays.

    parts: as the split made them; until: when the whole run should be over
    Nothing is done without a path, without a budget, and where the net is made from scratch.
    """
    if path is None or until.none or finished(path) or not recipe.train.probe:
        return
    with stopping() as stop, events.only("warn", "progress"):
        prepared = prepare(parts, recipe, until=until)
        if not prepared.created.pretrained:
            return
        head = headed(prepared, stop, until.within(min(SECONDS, SHARE * until.left)))
        if head is None:
            return
        made(prepared, parts, head, until).save(path)
    events.note("first-bundle", path=str(path), trained=head.trained, of=len(parts.train))


def made(prepared: Prepared, parts: Parts, head: Head, until: Deadline) -> Bundle:
    """Return a bundle of the net with this head, calibrated."""
    net = copy.deepcopy(prepared.created.net)
    give(net, head.weight, head.bias)
    there = replace(prepared, plan=replace(prepared.plan, mirror=False))
    config = finish.config_of(
        there,
        machine=machine(),
        precision=prepared.precision.name,
        parameters=sum(p.numel() for p in net.parameters()),
        initial_weights=prepared.created.initial,
        parts={name: len(pictures) for name, pictures in parts.items()},
        interrupted=True,
    )
    bundle = Bundle(config, net.to("cpu").eval(), prepared.recipe, splits=finish.splits_of(parts))
    finish.calibrated(bundle, there, until, head=head)
    return bundle
