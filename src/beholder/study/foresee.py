"""The dry run of train, tune and generate: a few pictures are read and a few steps timed, and nothing is kept."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.files import followed
from beholder.base.limits import allow_as
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures, PixelPolicy
from beholder.base.used import refuse
from beholder.data.groups import named_groups
from beholder.data.survey import Survey, survey
from beholder.evaluation.sections import looked as looked_again
from beholder.learn import seeds
from beholder.learn.begin import FEWEST
from beholder.learn.budget import CLOSING, FEW, OPENING
from beholder.learn.budget import SHARE as VALIDATED
from beholder.learn.checkpoint import check_out
from beholder.learn.decide import STRETCH, Plan, plan
from beholder.learn.followed import check_together, one_process
from beholder.learn.prepare import pixels_of
from beholder.learn.tempo import seconds_each, step_of
from beholder.machine.device import device, free_memory, precision
from beholder.machine.folders import cache_folder, forgotten
from beholder.machine.launch import count
from beholder.machine.pace import BUSY, slowness
from beholder.machine.placement import moved
from beholder.nets.build import create
from beholder.nets.choose import SMALL
from beholder.nets.depth import freeze
from beholder.study import ladder, scratch, slices
from beholder.study.asked import wanted
from beholder.study.costs import (
    LOOKS,
    Costs,
    Run,
    assembled,
    chosen,
    computing,
    counted,
    decoding,
    looking,
    noise,
    peak,
    reading,
    some,
    stand_in,
    unfetched,
    whole,
)
from beholder.study.dryrun import DryRun, Step
from beholder.study.evidence import at_hand, seconds_of, seen_by
from beholder.study.introduce import introduced
from beholder.study.policy import COSTS
from beholder.study.synthetic import AUTO
from beholder.tasks import asked, named
from beholder.tasks.targets import classes_of

OVERHEAD = 1.25
"""How many times as long as its gradient a step takes, with augmentation and the optimiser."""

PAIRS = 2e-4
"""Seconds a picture in which near-duplicates are looked for, and the checks of the audit run."""


def dry(
    verb: str,
    source: str | Path | tuple[Any, Any] | Pictures | Parts,
    recipe: Recipe,
    out: str | Path | None,
    *,
    minutes: float | None = None,
    workers: int = 1,
    images: str | Path | None = None,
    allow_download: bool = False,
    given: Iterable[str] = (),
    launch: str = "",
) -> DryRun:
    """Return what a run would do with a source, which is listed for it, or with parts.

    verb: train | tune | generate; minutes: default the recipe's; workers: trials at a time; given: names of the fields set
    images, allow_download: as of `scan`, which may fetch and unpack into the cache folder; launch: as of `train`
    Raises what `scan` raises, and what `steps` raises before it reads a picture.
    """
    began, name = time.monotonic(), str(source) if isinstance(source, (str, Path)) else "in memory"
    place = None if out is None else followed(Path(out))
    check_together(recipe, launch)
    run = Run(verb, recipe, place, recipe.train.minutes if minutes is None else minutes, workers, count(launch))
    if place is not None:
        check_out(place)
    if not isinstance(source, Parts):
        labels = None if run.verb == "generate" else True
        listed = introduced(source, labels=labels, images=images, allow_download=allow_download)
        source = named_groups(listed, recipe.data.group_from)
    for more, labels in ((recipe.data.unlabelled, False), (recipe.data.synthetic, None)):
        if more and more != AUTO:  # a run would list them too
            introduced(more, labels=labels, allow_download=allow_download)
    pictures = whole(source)
    if verb == "train" and wanted(pictures, recipe.task):
        run = replace(run, verb="detect")
        refuse("detect", given, recipe=recipe)
        one_process(launch)
    elif verb != "generate":
        refuse("labels", given, recipe=recipe)
        classes_of(pictures, named(asked(recipe.task, pictures)), order=recipe.data.order)
    return foreseen(run, source, source=name, scanned=time.monotonic() - began)


def foreseen(run: Run, pictures: Pictures | Parts, *, source: str, scanned: float = 0.0) -> DryRun:
    """Return what a run would do with pictures, or with parts that are given; scanned: the seconds that listing them took.

    The cache folder is neither read nor written meanwhile: of what it remembers a run takes less time.
    Raises `DataError` (unreadable, all-unreadable, too-few-pictures), and `UsageError` for a net that cannot be had.
    """
    allow_as(run.recipe.data)
    counts, every, home = counted(pictures, run.recipe), whole(pictures), cache_folder()
    with forgotten(), events.only("warn"):
        first = Step("scan", "list the pictures and their labels", sum(counts.values()), scanned)
        if run.verb in ("detect", "generate"):
            from beholder.study.foresee_others import FORESEEN  # with torchvision, which labels do without

            return FORESEEN[run.verb](run, every, counts, first, source, home)
        return _labelled(run, every, counts, first, source, home)


def _labelled(run: Run, pictures: Pictures, counts: dict[str, int], first: Step, source: str, home: Path) -> DryRun:
    looked, on = survey(pictures), device()
    recipe, notes = (run.recipe, []) if max(looked.height, looked.width) <= SMALL else chosen(run.recipe, on)
    recipe, policy, _ = pixels_of(recipe, looked, pictures, on, lambda _: None)
    costs, made, pretrained = _costs(pictures, recipe, policy, counts["train"], on)
    n, kept = sum(counts.values()), counts["train"] + counts["valid"]
    audit = (costs.read + PAIRS) * n + COSTS * slowness() if recipe.data.audit != "off" else costs.read * n
    steps = [
        first,
        Step("audit", "read, hash, compare and check each picture", n, audit),
        Step("decode", f"make {policy.width} × {policy.height} pixels of each", n, costs.decode * n),
    ]
    if run.minutes:
        steps += _rungs(run, recipe, pictures, looked, counts, steps)
    if pretrained:
        steps.append(Step("features", f"look at each by {recipe.net.name}", kept, costs.look * kept))
    closing = [
        Step("test", "score the test pictures, and the sections of the report", counts["test"], _testing(costs, counts)),
        Step("report", "intervals, page and bundle", counts["test"], (CLOSING + OPENING) * slowness()),
    ]
    steps += [_trained(run, made, costs, counts, [*steps, *closing], pretrained), *closing]
    room = recipe.data.memory * 2**20 or free_memory(on) // 3
    memory = costs.memory + min(room, policy.channels * policy.height * policy.width * counts["train"])
    net = f"{recipe.net.name}, {costs.weights:,} parameters, {'pretrained' if pretrained else 'from random weights'}"
    busy = slowness()
    notes += unfetched(recipe.net.name, costs.weights) if stand_in(recipe)[1] else []
    notes += [f"this machine is busy: work takes {busy:.1f} times as long as on an idle one"] if busy >= BUSY else []
    notes += [f"{run.workers} trials at a time take {run.workers} times the memory of one"] if run.workers > 1 else []
    how: dict[str, Any] = {"memory": memory * run.workers if costs.memory else 0, "weights": costs.weights, "home": home}
    return assembled(run, source, counts, net, policy, steps, notes=notes, **how)


def _costs(pictures: Pictures, recipe: Recipe, policy: PixelPolicy, n: int, on: torch.device) -> tuple[Costs, Plan, bool]:
    """Return what a picture costs, the plan of training on `n` of them, and whether the net is pretrained."""
    exact, task = precision(on, recipe.train.precision), named(asked(recipe.task, pictures))
    size, classes = (policy.height, policy.width), max(2, len(pictures.classes))
    net_recipe, fetched = stand_in(recipe)
    created = create(net_recipe.net, channels=policy.channels, size=size, classes=task.width(classes), seed=recipe.seed)
    pretrained = created.pretrained or fetched
    net = moved(created.net, on).to(memory_format=torch.channels_last)
    made = plan(
        recipe,
        n=n,
        classes=pictures.classes,
        net=recipe.net.name,
        built=net,
        pretrained=pretrained,
        size=size,
        device=on.type,
    )
    images = noise(policy, LOOKS, on)
    look = looking(lambda: net.eval()(images), on) / LOOKS
    copied = copy.deepcopy(net)
    freeze(copied, made.freeze)
    clock, factor = computing(on)
    learn = factor * seconds_each(copied, noise(policy, LOOKS if pretrained else min(made.batch, 64), on), exact, now=clock)
    weights = sum(p.numel() for p in net.parameters())
    memory = peak(step_of(copied, images, exact), weights, made.batch, on)
    read, decode = reading(pictures), decoding(pictures, policy, recipe.data.workers)
    return Costs(read, decode, look, OVERHEAD * learn, memory, weights), made, pretrained


def _testing(costs: Costs, counts: dict[str, int]) -> float:
    return costs.look * (counts["test"] + looked_again(counts["test"]) + counts["valid"])


def _trained(run: Run, made: Plan, costs: Costs, counts: dict[str, int], others: list[Step], pretrained: bool) -> Step:
    """Return the step of training: all epochs that are planned, or as many as the time that the others leave allows."""
    n = counts["train"]
    epoch = costs.learn * n + costs.look * min(counts["valid"], max(FEW, int(VALIDATED * n)))
    what = f"{made.epochs} epochs in batches of {made.batch}"
    if not run.minutes:
        return Step("train", what, n, made.epochs * epoch)
    if run.verb == "tune":
        left = max(0.0, 60 * run.minutes - sum(step.seconds for step in others))
        return Step("search", f"candidates, on slices of a run of {what}, and the winner to its end", n, left)
    left = max(0.0, 60 * run.minutes - sum(step.seconds for step in others))
    epochs = min(STRETCH * made.epochs, left / max(1e-9, epoch))
    if pretrained and epochs < FEWEST:
        words = f"left out: there would be time for {epochs:.1f} epochs; the head on frozen features stays"
        return Step("train", words, n, 0.0)
    what, once = f"about {epochs:.0f} epochs in batches of {made.batch}", epochs * epoch
    what += _beside(run, others, left)
    if run.recipe.train.epochs or run.processes > 1 or left < (1 + seeds.LEAST) * once:
        return Step("train", what, n, once)
    return Step("train", f"{what}, and again with another seed", n, min(left, seeds.MOST * once))


def _beside(run: Run, others: list[Step], left: float) -> str:
    """Return what is to be said of dearer candidates that may be trained for a slice, too; "" where none can be."""
    heads = sum(step.step == "candidate" and step.seconds > 0 for step in others)
    may = heads > 1 and left >= slices.FROM and run.out is not None and run.processes == 1 and not run.recipe.train.epochs
    return f"; the first {ladder.SLICE:.0%} also with what is dearer and about as good by its head" if may else ""


def _rungs(
    run: Run, recipe: Recipe, pictures: Pictures, looked: Survey, counts: dict[str, int], before: list[Step]
) -> Iterator[Step]:
    """Yield the heads on frozen features that are compared first where there is a budget, the cheapest first."""
    if run.verb == "tune":
        return
    n = min(ladder.JUDGED, counts["train"] + counts["valid"])
    until = Deadline(time.monotonic() + max(0.0, 60 * run.minutes - sum(step.seconds for step in before)))
    candidates, few = list(ladder.candidates_of(run.recipe, looked)), some(pictures, 2)
    cheapest = 0.0
    for candidate in candidates:
        backbone = at_hand(candidate.net, looked, small=True)
        if backbone is None:
            continue
        policy, seen = seen_by(backbone, candidate, looked)
        needed = seconds_of(few, backbone, candidate, looked) * n / len(few)
        why = _too_dear(needed, cheapest, n, counts["train"], until) if cheapest else ""
        larger = f" enlarged to {seen.net.enlarge}" if seen.net.enlarge else ""
        what = f"a linear head on {candidate.net.name}, {policy.width} × {policy.height} pixels{larger}"
        yield Step("candidate", f"{what}: {why}" if why else what, n, 0.0 if why else needed)
        cheapest, until = cheapest or needed, until.before(0.0 if why else needed)
        if candidate.data.size > candidates[0].data.size and (why or ladder.trains(cheapest, n, counts["train"], until)):
            return


def _too_dear(needed: float, cheapest: float, n: int, train: int, until: Deadline) -> str:
    """Return why a candidate would be left out, by the rule of the ladder; "" where it is tried."""
    trains, dear = ladder.trains(cheapest, n, train, until), scratch.epochs(needed, n, train, until)
    if needed > (ladder.SHARE if trains else ladder.ALONE) * until.left:
        return f"left out, its features would take {needed:.0f} s"
    return f"left out, there would be time for {dear:.0f} epochs of fine-tuning" if trains and dear < ladder.ENOUGH else ""
