"""The dry run of detectors and of nets that make pictures."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.learn import generate as making
from beholder.learn.phases import EPOCHS
from beholder.learn.sighted import backbone_of, policy_of
from beholder.machine.chip import settled
from beholder.machine.device import device
from beholder.nets.detector import begun
from beholder.study.costs import (
    LOOKS,
    Run,
    assembled,
    chosen,
    decoding,
    looking,
    noise,
    peak,
    reading,
    some,
    stand_in,
    unfetched,
)
from beholder.study.dryrun import DryRun, Step

LEARNT = 3.0
"""How many times as long as the backbone's look at a picture a step of the whole detector takes."""

FEW, SHORT, LONG = 512, 1, 3
"""Pictures on which a generator learns for a moment, and for how many epochs: their difference is the pace."""


def detected(run: Run, pictures: Pictures, counts: dict[str, int], first: Step, source: str, home: Path) -> DryRun:
    """Return the dry run of a detector; arguments as of `foresee.foreseen`."""
    on = device()
    recipe, notes = chosen(run.recipe, on)
    recipe, _ = backbone_of(recipe, on)
    policy = policy_of(Parts(*[pictures] * 3), recipe, lambda _: None)
    shape, fetched = stand_in(recipe)
    net, _, initial = begun(shape, channels=policy.channels, classes=len(pictures.classes))
    net, images = net.to(on).to(memory_format=torch.channels_last).eval(), noise(policy, LOOKS, on)
    look = looking(lambda: net.maps(images), on) / LOOKS
    begins = initial is not None or fetched
    n, weights, train = sum(counts.values()), sum(p.numel() for p in net.parameters()), counts["train"]
    kept = train + counts["valid"]
    opening = [
        first,
        _decoding(run, pictures, policy, n),
        Step("maps", "look at each with the frozen backbone, and train the head", kept, 2 * look * kept if begins else 0.0),
    ]
    closing = [Step("test", "find boxes, score them, and write the report", counts["test"], 2 * look * counts["test"] + 2.0)]
    epoch = LEARNT * look * train + look * counts["valid"]
    taken = sum(step.seconds for step in (*opening, *closing))
    seconds = max(0.0, 60 * run.minutes - taken) if run.minutes else (recipe.train.epochs or EPOCHS) * epoch
    what = f"the whole net, for about {seconds / max(1e-9, epoch):.0f} epochs"
    steps = [*opening, Step("train", what, train, seconds), *closing]
    batch = recipe.train.batch or 16
    memory = peak(partial(_back, net, images), weights, batch, on)
    said = f"a detector on {recipe.net.name}, {weights:,} parameters"
    notes += unfetched(recipe.net.name, weights) if fetched else []
    return assembled(run, source, counts, said, policy, steps, memory=memory, weights=weights, home=home, notes=notes)


def generated(run: Run, pictures: Pictures, counts: dict[str, int], first: Step, source: str, home: Path) -> DryRun:
    """Return the dry run of a net that makes pictures: it learns for a moment from a few, and nothing of that is kept."""
    recipe, n, train = run.recipe, sum(counts.values()), counts["train"]
    policy = making.policy_of(Parts(*[pictures] * 3), recipe, lambda _: None)
    few = some(pictures, FEW)
    brief = replace(recipe, train=replace(recipe.train, minutes=0.0))
    made, paces = None, []
    for epochs in (SHORT, LONG):
        began = time.monotonic()
        made = making.generate(Parts(few, some(few, LOOKS), few), recipe=brief.set(epochs=epochs))
        settled(device())
        paces.append(time.monotonic() - began)
    assert made is not None
    each = max(1e-6, paces[1] - paces[0]) / ((LONG - SHORT) * len(few))
    opening = [first, _decoding(run, pictures, policy, n)]
    batch = recipe.train.batch or making.KINDS[recipe.generate.kind].batch
    epochs = recipe.train.epochs or making.epochs_for(max(1, train // batch), budget=bool(run.minutes))
    closing = [Step("worth", "features of made pictures and of real ones, and the page", counts["valid"], 2.0 + paces[0])]
    left = max(0.0, 60 * run.minutes - sum(step.seconds for step in (*opening, *closing)))
    seconds = left if run.minutes else epochs * train * each
    what = f"about {seconds / max(1e-9, each * train):.0f} epochs in batches of {batch}"
    steps = [*opening, Step("train", what, train, seconds), *closing]
    weights = sum(p.numel() for p in made.net.parameters())
    said = f"{recipe.generate.kind}, {weights:,} parameters"
    return assembled(run, source, counts, said, policy, steps, memory=0, weights=weights, home=home)


def _decoding(run: Run, pictures: Pictures, policy: PixelPolicy, n: int) -> Step:
    """Return the step in which n pictures are opened, hashed, looked at and decoded."""
    each = reading(pictures) + decoding(pictures, policy, run.recipe.data.workers)
    return Step("decode", f"read, compare, and make {policy.width} × {policy.height} pixels of each", n, each * n)


def _back(net: Any, images: torch.Tensor) -> None:
    """Let a gradient flow back through the pyramid of a detector."""
    net.maps(images)[0].sum().backward()


FORESEEN: dict[str, Callable[..., DryRun]] = {"detect": detected, "generate": generated}
