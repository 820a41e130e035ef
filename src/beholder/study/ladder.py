"""The first rungs of a run with a budget: what costs nothing to beat, and heads on the features of the backbones at hand.

A candidate is a recipe. Heads are compared by cross-validation on the training and the validation part, by the features that
the audit, training and everything after it use too; the best is what `learn` goes on with: its head is the floor, fine-tuning
has to beat it. A dearer backbone or a larger picture is taken only where a paired test says that it is better.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beholder.base.deadline import Deadline
from beholder.base.fields import NetRecipe
from beholder.base.order import stratified
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.bundle.config import Tried
from beholder.data.folds import folds
from beholder.data.survey import Survey, survey
from beholder.learn.account import as_decided, told
from beholder.learn.begin import FEWEST
from beholder.learn.checkpoint import RunFolder
from beholder.learn.material import targets_of
from beholder.learn.validate import score
from beholder.machine.device import device
from beholder.measure.neighbours import nearest, unit
from beholder.measure.optimism import better
from beholder.nets.backbones import at_hand as backbones_at_hand
from beholder.nets.backbones import products
from beholder.nets.build import wants
from beholder.nets.choose import SMALL
from beholder.nets.head import regressed
from beholder.sources.digest import digested
from beholder.study import scratch
from beholder.study.evidence import ENLARGED, Backbone, at_hand, features_of, seconds_of, seen_by
from beholder.study.folded import head_logits
from beholder.study.policy import Curated
from beholder.study.setting import joined, tied
from beholder.tasks import asked, named
from beholder.tasks.objectives import aim
from beholder.tasks.targets import arranged
from beholder.tasks.task import Task

F32 = npt.NDArray[np.float32]
I64 = npt.NDArray[np.int64]

BACKBONES = 3
"""Backbones whose heads are compared, before larger pictures of the dearest one."""

SHARE, ALONE = 0.12, 0.65
"""Shares of the time left that the features of one more candidate may take: what is left is worth more to training, unless
there is no time for that, so that the head is all there will be."""

JUDGED = 4000
"""Pictures on which heads are compared at most: their difference is then known to half a point."""

LARGER, LARGEST = 1.25, 2.0
"""Factor on the side of the pictures from one candidate to the next, and the largest side, in sides that the net learnt from:
a head on convolutions gains by larger pictures than they learnt from, where the pictures have these pixels (docs/LOG.md)."""

STEPS, BATCH = 100, 32
"""Steps, of so many pictures, from which on fine-tuning is worth more than a better head."""

SLICE = 1 / 16
"""Share of the schedule for which candidates are trained beside each other (`study.slices`): of fewer than `STEPS` steps
nothing can be told, for the head of a fine-tuned net begins anew."""

ENOUGH = 6.0
"""Epochs of fine-tuning that a dearer candidate should have time for."""

FOLDS = 5

SKEW, OFTEN = 3.0, 0.95
"""How many times as many pictures the largest class has as the smallest, from which on balanced class weights are tried; and
in what share of resamples they have to be better by the objective."""

SURE = 1.64
"""Standard errors by which a dearer candidate has to be better: one-sided, 5 %."""


@dataclass(frozen=True)
class Ladder:
    """The recipe to train with, and what was tried to choose it; rivals: dearer ones whose heads are about as good."""

    recipe: Recipe
    tried: tuple[Tried, ...] = ()
    rivals: tuple[Recipe, ...] = ()


@dataclass(frozen=True)
class _Judged:
    """How good a candidate's head is on pictures that it did not learn from.

    rows: int64 (M,), rising; right: what each answer scores, (M,); score: the task's objective
    features: (M, F); targets: (M, K); logits: (M, W), each from a head that was fitted on other folds
    seconds: that the features took, little where they were remembered; needed: that they would take
    rivals: dearer ones that are about as good
    """

    recipe: Recipe
    rows: I64
    right: npt.NDArray[np.float64]
    features: F32
    targets: F32
    logits: F32
    score: float
    seconds: float
    needed: float
    rivals: tuple[Recipe, ...] = ()


def climbed(curated: Curated, recipe: Recipe, *, began: float, until: Deadline) -> Ladder:
    """Return the recipe whose head on frozen features is best, of those that there is time for.

    began: `time.monotonic()` of the start of the run; until: when the whole run should be over. What net and pixels the recipe
    names stays as it is. The test part is not read.
    """
    task = named(asked(recipe.task, curated.parts.train))
    parts = arranged(curated.parts, task, order=recipe.data.order)
    task = aim(recipe, task, parts.train.classes)
    floors = [_majority(parts, task, began)]
    looked = survey(parts.train)
    candidates = list(candidates_of(recipe, looked))
    if not candidates:
        return Ladder(recipe, tuple(map(told, floors)))
    pictures, fold = _material(curated, parts, recipe)
    on = _Material(parts, looked, pictures, fold, task, began, until)
    if candidates[0].net.enlarge > recipe.net.enlarge:
        found, rows = _of_small(candidates[0], recipe, on)
        return Ladder(found, tuple(map(told, (*floors, *rows))))
    best, rows = _compared(candidates, on)
    tried = tuple(map(told, (*floors, *rows)))
    return Ladder(recipe, tried) if best is None else Ladder(best.recipe, tried, best.rivals)


def _of_small(candidate: Recipe, recipe: Recipe, on: _Material) -> tuple[Recipe, list[Tried]]:
    """Return the better one of a net that enlarges small pictures and one from scratch, and what is said of both.

    Where there is no time to find out it is `recipe`: a net from scratch up to `SMALL` pixels, else a pretrained one.
    """
    began, backbone = time.monotonic() - on.began, at_hand(candidate.net, on.looked, small=True)
    assert backbone is not None
    tiny = max(on.looked.height, on.looked.width) <= SMALL
    needed = seconds_of(on.pictures, backbone, candidate, on.looked)
    there = scratch.epochs(needed, len(on.pictures), len(on.parts.train), on.until)
    if tiny and there < scratch.FEWEST:
        why = f"left out: there would be time for {there:.1f} epochs of fine-tuning"
        return recipe, [Tried("head", _named(candidate, backbone, on), None, 0, round(began, 2), 0.0, why)]
    best, rows = _compared([candidate], on)
    if best is None:
        return recipe, rows
    other = recipe if tiny else recipe.set(net="fastnet")
    found = scratch.short(on.parts, other, on.until)
    row = scratch.row(found, best.score, on.began)
    return (other, [*_outdone(rows), row]) if scratch.rather(found, best.score) else (best.recipe, [*rows, row])


def begun_before(recipe: Recipe, out: Path) -> Ladder | None:
    """Return the recipe that an interrupted run of `out` had chosen, and what it had tried; None where there is none."""
    known = RunFolder.beside(out).decided()
    if not known:
        return None
    tried = tuple(Tried(**{**row, "curve": tuple(map(tuple, row.get("curve", ())))}) for row in known["tried"])
    return Ladder(as_decided(recipe, known), tried)


def candidates_of(recipe: Recipe, looked: Survey) -> Iterator[Recipe]:
    """Yield the backbones at hand with the sides of their pictures, the cheapest first; none for a net from scratch."""
    backbone = at_hand(recipe.net, looked, small=True)
    if backbone is None or not recipe.net.name.startswith(("auto", "timm:")):
        return
    small = max(looked.height, looked.width) <= ENLARGED and not recipe.data.size
    if small and (recipe.net.name, recipe.net.weights) == ("auto", "auto"):
        if wants(backbone.net).flexible:
            yield dataclasses.replace(recipe, net=dataclasses.replace(backbone.net, enlarge=ENLARGED))
        return
    nets = sorted(backbones_at_hand(recipe.net)[:BACKBONES], key=products) or [backbone.net]
    for net in nets:
        yield dataclasses.replace(recipe, net=net)
    if not recipe.data.size:
        for side in _larger(nets[-1], max(looked.height, looked.width)):
            yield dataclasses.replace(recipe, net=nets[-1]).set(size=side)


def _larger(net: NetRecipe, longest: int) -> Iterator[int]:
    """Yield the sides of larger pictures that a net may be given; longest: of the pictures as they are.

    There is one where the pictures are larger than what the net is given as a rule, and there are more where none is enlarged.
    """
    want = wants(net)
    size = want.size_on(device().type)
    if size is None or want.size is None or not want.flexible or longest <= size[0]:
        return
    side = _after(size[0])
    yield side
    while (side := _after(side)) <= min(longest, LARGEST * want.size[0]):
        yield side


def _after(side: int) -> int:
    """Return the next larger side, a multiple of 32."""
    return 32 * max(side // 32 + 1, round(LARGER * side / 32))


@dataclass(frozen=True)
class _Material:
    """What heads are compared on: `pictures` of the training and the validation part, in folds, int64 (N,)."""

    parts: Parts
    looked: Survey
    pictures: Pictures
    fold: I64
    task: Task
    began: float
    until: Deadline


def _material(curated: Curated, parts: Parts, recipe: Recipe) -> tuple[Pictures, I64]:
    """Return a stratified sample of both parts and its folds, in which duplicates and groups stay together."""
    whole, _ = joined(digested(parts.train), digested(parts.valid))
    some = whole.take(np.sort(stratified(whole.targets)[:JUDGED]))
    return some, folds(some, count=FOLDS, seed=recipe.seed, twins=tied(curated, some))


def _compared(candidates: list[Recipe], on: _Material) -> tuple[_Judged | None, list[Tried]]:
    """Return the candidate whose head is best, None where there was no time for one, and what is to be said of each."""
    best: _Judged | None = None
    rows: list[Tried] = []
    cheapest = 0.0
    for candidate in candidates:
        began, larger = time.monotonic(), candidate.data.size > candidates[0].data.size
        backbone = at_hand(candidate.net, on.looked, small=True)
        if backbone is None:
            continue
        name = _named(candidate, backbone, on)
        needed = seconds_of(on.pictures, backbone, candidate, on.looked) if len(candidates) > 1 else 0.0
        cheapest = cheapest or needed
        why = "" if best is None else _too_dear(needed, best, on)
        if why:
            rows.append(Tried("head", name, None, 0, round(began - on.began, 2), 0.0, why))
            if larger:
                break
            continue
        found, floor = _judged(candidate, backbone, on, needed, first=best is None)
        if found is None:
            rows.append(Tried("head", name, None, 0, round(began - on.began, 2), time.monotonic() - began, "no time for it"))
            break
        ahead = best is None or _is_better(found, best)
        rows = [*(_outdone(rows) if ahead else rows), *floor]
        outcome = KEPT if ahead else "not better than a cheaper one"
        rows.append(_row(name, found, began - on.began, outcome))
        best = found if best is None or ahead else _beside(best, found, on)
        if larger and (not ahead or trains(cheapest, len(on.pictures), len(on.parts.train), on.until)):
            break
    return _weighted(best, rows, on) if best is not None else (None, rows)


KEPT = "kept"


def _named(candidate: Recipe, backbone: Backbone, on: _Material) -> str:
    policy, seen = seen_by(backbone, candidate, on.looked)
    larger = f" enlarged to {seen.net.enlarge}" if seen.net.enlarge else ""
    return f"a linear head on {candidate.net.name}, {policy.width} × {policy.height} pixels{larger}"


def _row(name: str, found: _Judged, began: float, outcome: str) -> Tried:
    return Tried("head", name, found.score, len(found.rows), round(began, 2), round(found.seconds, 2), outcome)


def _outdone(rows: list[Tried]) -> list[Tried]:
    """Return the rows, of which none is kept any more."""
    return [dataclasses.replace(row, outcome="another is better") if row.outcome == KEPT else row for row in rows]


def _weighted(best: _Judged, rows: list[Tried], on: _Material) -> tuple[_Judged, list[Tried]]:
    """Return the best head, with balanced class weights where sizes differ and these are better by the objective."""
    counts, began = on.parts.train.counts(), time.monotonic()
    if best.recipe.train.class_weights != "none" or counts.max() < SKEW * max(1, counts.min()):
        return best, rows
    weights = torch.from_numpy(on.task.balance(counts, len(on.parts.train))).float()
    logits = head_logits(best.features, best.targets, on.fold[best.rows], task=on.task, weights=weights)
    reached = score(torch.from_numpy(logits), torch.from_numpy(best.targets), on.task)
    ahead = better(best.logits, logits, best.targets, on.task.objective) >= OFTEN
    recipe, *rivals = (each.set(class_weights="balanced") for each in (best.recipe, *best.rivals))
    found = dataclasses.replace(best, recipe=recipe, rivals=tuple(rivals), logits=logits, score=reached)
    found = dataclasses.replace(found, seconds=time.monotonic() - began)
    outcome = KEPT if ahead else "not better in enough resamples"
    row = _row("the best of these, with balanced class weights", found, began - on.began, outcome)
    return (found if ahead else best), [*(_outdone(rows) if ahead else rows), row]


def _too_dear(seconds: float, best: _Judged, on: _Material) -> str:
    """Return why a candidate whose features take so many seconds is left out, "" where there is time for it.

    A dearer net has time for fewer epochs of fine-tuning: where that pays for the best so far, it needs enough of them.
    """
    n, train = len(on.pictures), len(on.parts.train)
    tunes = trains(best.needed, n, train, on.until)
    if seconds > (SHARE if tunes else ALONE) * on.until.left:
        return f"left out: its features would take {seconds:.0f} s"
    cheap, dear = (scratch.epochs(each, n, train, on.until) for each in (best.needed, seconds))
    if tunes and dear < ENOUGH:
        return f"left out: there would be time for {dear:.0f} epochs of fine-tuning, of the other for {cheap:.0f}"
    return ""


def trains(needed: float, n: int, train: int, until: Deadline) -> bool:
    """Return whether there is time for fine-tuning that is worth more than a better head; needed: seconds of n features."""
    there = scratch.epochs(needed, n, train, until)
    return there >= FEWEST and there * train / BATCH >= STEPS


def _judged(
    candidate: Recipe, backbone: Backbone, on: _Material, needed: float, *, first: bool
) -> tuple[_Judged | None, list[Tried]]:
    """Return how good a candidate's head is in cross-validation, None where there is no time; of the `first` a floor, too."""
    began = time.monotonic()
    minutes = (SHARE if first else ALONE) * on.until.left / 60
    what = "candidates are compared by features"
    features = features_of(on.pictures, backbone, candidate, on.looked, minutes, like=on.parts.train, what=what)
    rows = np.flatnonzero(np.isfinite(features).all(axis=1))
    targets = targets_of(on.pictures)[torch.from_numpy(rows)]
    if len(rows) < max(2 * FOLDS, 2 * len(on.pictures.classes)) or len(np.unique(on.fold[rows])) < FOLDS:
        return None, []
    seconds = time.monotonic() - began
    logits = head_logits(features[rows], targets.numpy(), on.fold[rows], task=on.task)
    right = on.task.family.right(on.task.family.probabilities(logits), on.task.targets(targets.numpy()))
    found = score(torch.from_numpy(logits), targets, on.task)
    judged = _Judged(candidate, rows, right, features[rows], targets.numpy(), logits, found, seconds, needed)
    return judged, _neighbours(features[rows], targets, on.fold[rows], on) if first else []


def _is_better(found: _Judged, best: _Judged) -> bool:
    """Return whether a dearer candidate has the better score, and more right answers by a paired test on common pictures.

    Of the same net at a larger size, which is better as a rule, a score that is not lower is enough.
    """
    same = dataclasses.replace(best.recipe, data=found.recipe.data) == found.recipe
    if same and found.recipe.data.size > best.recipe.data.size:
        return found.score >= best.score
    if found.score <= best.score:
        return False
    return _apart(found, best) > SURE


def _apart(found: _Judged, best: _Judged) -> float:
    """Return by how many standard errors one has more right answers than another, of the pictures that both answered."""
    _, mine, theirs = np.intersect1d(found.rows, best.rows, return_indices=True)
    change = found.right[mine] - best.right[theirs]
    return float(change.sum()) / math.sqrt(max(1e-9, float((change**2).sum())))


def _beside(best: _Judged, dearer: _Judged, on: _Material) -> _Judged:
    """Return the best head, with a dearer one as its rival where that is not worse by a standard error and a slice can tell."""
    train = len(on.parts.train)
    steps = scratch.epochs(dearer.needed, len(on.pictures), train, on.until) * train / BATCH
    if _apart(dearer, best) < -1 or SLICE * steps < STEPS:
        return best
    return dataclasses.replace(best, rivals=(*best.rivals, dearer.recipe))


def _majority(parts: Parts, task: Task, began: float) -> Tried:
    """Return what the commonest answer scores on validation: what knows nothing of pictures."""
    start = time.monotonic()
    y, goal = targets_of(parts.train), targets_of(parts.valid)
    _, bias = regressed(torch.zeros(len(y), 1), y, task=task, decay=1.0)
    found = score(bias.expand(len(goal), -1), goal, task)
    return Tried("floor", "the commonest answer", _finite(found), len(goal), start - began, time.monotonic() - start, "a floor")


def _neighbours(features: F32, targets: Tensor, fold: I64, on: _Material) -> list[Tried]:
    """Return what the label of the nearest picture in other folds scores; nothing of tasks whose logits are not one a class."""
    if on.task.width(targets.shape[1]) != targets.shape[1]:
        return []
    start, vectors = time.monotonic(), unit(features)
    said = torch.zeros_like(targets)
    for name in np.unique(fold).tolist():
        held = np.flatnonzero(fold == name)
        others = np.flatnonzero(fold != name)
        said[held] = targets[others[nearest(vectors[held], vectors[others], 1)[1][:, 0]]]
    found = score(said * 2 - 1, targets, on.task)
    seconds = time.monotonic() - start
    what = "the label of the nearest picture, by the same features"
    return [Tried("floor", what, _finite(found), len(targets), start - on.began, seconds, "a floor")]


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
