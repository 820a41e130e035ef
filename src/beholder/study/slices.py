"""The rung of trained candidates: where a budget is long, two or three train for the beginning of their run, and one goes on.

A slice is the beginning of the run that its candidate would have, the same share of the schedule for each, so that like is
compared with like and nothing is trained twice. It favours what sees more pictures in the time: so beside the default stand
only dearer ones (a larger picture, a larger backbone), and one takes its place only where it is better in 19 of 20 resamples
of the validation pictures, behind as it is. Widths of nets from random weights are not told apart by slices, nor anything
by slices of few steps. Figures: docs/LOG.md, "Slices of a schedule".
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import Interrupted
from beholder.base.recipe import Recipe, from_toml
from beholder.base.records import Parts
from beholder.bundle.config import Tried
from beholder.bundle.format import unfinished
from beholder.learn.account import decided, known, told
from beholder.learn.begin import Learning, begun
from beholder.learn.checkpoint import RunFolder
from beholder.learn.prepare import Prepared, prepare
from beholder.learn.resumed import before_of, comparable, parts_kept
from beholder.machine.stop import Stop
from beholder.measure.optimism import Luck, better, expected
from beholder.study.ladder import OFTEN, SLICE, Ladder
from beholder.study.search import Job, Slice
from beholder.study.trial import Field, advanced, handed_over, pace, paused
from beholder.tasks import asked, named
from beholder.tasks.objectives import aim
from beholder.tasks.targets import arranged
from beholder.tasks.task import Task

FROM = 600.0
"""Seconds that must be left after the heads: of less, what other candidates take is missed."""

DEAREST = 1 / 8
"""Share of the time left that the slice of another candidate may take, its preparation included."""


@dataclass(frozen=True)
class Room:
    """The time of a run. until: when all should be over; began, after, again: as of `learn.train.train`."""

    until: Deadline
    began: float
    after: float = 0.0
    again: int = 0

    @property
    def left(self) -> float:
        """Return the seconds that are left for training and testing."""
        return self.until.left - self.after


@dataclass(frozen=True)
class _Rung:
    """What candidates, the default first, are tried on; slice: seconds that one should take."""

    ladder: Ladder
    candidates: list[Recipe]
    field: Field
    room: Room
    slice: float

    @property
    def run(self) -> RunFolder:
        """Return where the run goes on, and where the default has its slice."""
        return self.field.run_folder(0)


def sliced(ladder: Ladder, parts: Parts, out: Path, room: Room, *, resume: bool) -> tuple[Ladder, bool]:
    """Return the ladder with the best of its trained candidates, and whether its run is there to be gone on with at `out`.

    Nothing is trained where the budget is short, or epochs are named, or no candidate is dearer than the default. What was
    decided is kept in the run folder, so that a run that is resumed decides the same. Raises `Interrupted`.
    """
    run, candidates = RunFolder.beside(out), [ladder.recipe, *ladder.rivals]
    going_on = resume and paused(run)
    kept = run.decided() if going_on else {}
    if going_on:
        candidates = [from_toml(each, done=True) for each in kept.get("candidates", ())]
        if not candidates or comparable(candidates[0]) != comparable(ladder.recipe):
            return ladder, True
    elif room.left < FROM or len(candidates) < 2 or ladder.recipe.train.epochs:
        return ladder, resume
    elif paused(run):
        events.warn(f"an interrupted run in {run.path} is discarded", hint="--resume would have continued it")
        run.discard()
    candidates = [each.set(minutes=ladder.recipe.train.minutes) for each in candidates]
    rung = _Rung(ladder, candidates, Field(parts, run.path, first=run), room, SLICE * room.left)
    try:
        slices = _slices(rung, [Slice.of(each) for each in kept.get("slices", ())])
    except Interrupted as stopped:
        what = f"{stopped.message} while trained candidates were compared"
        what += f"; a first model, a head on frozen features, is in {out}" if unfinished(out) else ""
        raise Interrupted(what, hint="run again with --resume to go on", exit_code=stopped.exit_code) from stopped
    if slices[0].score is None:
        run.discard()
        return ladder, False
    return _gone_on(rung, slices), True


def _slices(rung: _Rung, slices: list[Slice]) -> list[Slice]:
    """Return what a slice of each candidate gave; slices: what is known of the first of them."""
    events.note("trained candidates are compared by the beginning of their schedule")
    for index in range(len(slices), len(rung.candidates)):
        fits = not index or slices[0].cost <= DEAREST * rung.room.left
        slices.append(_advanced(rung, index) if fits else Slice(failed="there is no time for it"))
        if slices[0].score is None:
            break
        rung.run.decide(_state(rung, slices))
    return slices


def _state(rung: _Rung, slices: list[Slice]) -> dict[str, Any]:
    """Return what the run folder keeps of the decisions while candidates are compared."""
    so_far = {"candidates": [each.toml() for each in rung.candidates], "slices": [asdict(each) for each in slices]}
    return {**decided(rung.ladder.recipe, rung.ladder.tried), **so_far}


def _advanced(rung: _Rung, index: int) -> Slice:
    found = advanced(rung.field, Job(index, rung.candidates[index].toml(), {}, share=SLICE), partial(_work, rung))
    if found.failed:
        events.warn(f"a candidate is left out: {found.failed}")
    return found


def _work(rung: _Rung, on: Field, job: Job, recipe: Recipe, stop: Stop, sizes: list[int]) -> Slice:
    """Carry out a slice: the run itself as it begins, or goes on, until its share of the schedule is done."""
    start, folder, room = time.monotonic(), on.run_folder(job.index), rung.room
    resume = paused(folder)
    before = before_of(folder) if resume else None
    if before is None and job.index and (first := before_of(rung.run)) is not None:
        before = replace(first, width=recipe.net.width or 0.0)
    prepared = prepare(on.parts, recipe, until=room.until, before=before)
    sizes.append(prepared.plan.batch)
    after = room.after + (len(rung.candidates) - 1 - job.index) * rung.slice
    how: dict[str, Any] = {"until": room.until, "room": (room.began, after, room.again)}
    learning = begun(prepared, on.parts, folder, stop, resume=resume, **how)
    if learning.tempo.left_out:
        return Slice(failed="there is no time to train it")
    if not job.index and not resume:
        folder.keep("parts", parts_kept(on.parts))
        folder.decide(_state(rung, []))
    run = learning.run
    run.pause = lambda: run.clock.taken > 0 and run.clock.done >= job.share
    with stop.held():
        run.go()
    run.stop.check()
    run.keep()
    _leave(folder, learning)
    curve = tuple((float(row["seconds"]), float(row["valid_score"])) for row in run.at.history if known(row))
    facts = {**_what(prepared), "began": start - room.began, "seconds_an_epoch": pace(run), "n": len(learning.later.targets)}
    return Slice(curve[-1][1] if curve else None, time.monotonic() - start, curve, facts=facts)


def _what(prepared: Prepared) -> dict[str, Any]:
    """Return what a candidate is called by."""
    policy = prepared.policy
    return {"net": prepared.recipe.net.name, "pixels": f"{policy.width} × {policy.height}"}


def _leave(folder: RunFolder, learning: Learning) -> None:
    """Keep what the net says of which validation pictures at the end of its slice."""
    last, later = max(learning.heard, default=-1), learning.later
    if last >= 0 and later.pictures.digests is not None:
        logits = learning.heard[last].float().numpy()
        folder.keep("heard", {"logits": logits, "targets": later.targets.numpy(), "digests": later.pictures.digests})


def _gone_on(rung: _Rung, slices: list[Slice]) -> Ladder:
    """Put the best candidate where its run goes on, and return the ladder with it."""
    folders = [rung.field.run_folder(index) for index in range(len(slices))]
    heard = [folder.kept("heard") if each.score is not None else None for folder, each in zip(folders, slices, strict=True)]
    best, ladder, task = 0, rung.ladder, _task(rung)
    for index in range(1, len(slices)):
        best = index if _is_better(heard[index], heard[best], task) else best
    rows = [_row(each, KEPT if index == best else BEATEN if not index else CLOSE) for index, each in enumerate(slices)]
    found = replace(ladder, recipe=rung.candidates[best], tried=(*ladder.tried, *map(told, rows)))
    lucky = _luck(best, heard, task)

    def write(folder: RunFolder) -> None:
        folder.keep("parts", parts_kept(rung.field.parts))
        folder.decide(decided(found.recipe, found.tried))
        folder.keep("luck", {"luck": np.array([lucky.amount, lucky.among])})

    handed_over(folders[best], rung.run, write)
    return found


def _task(rung: _Rung) -> Task:
    recipe, parts = rung.ladder.recipe, rung.field.parts
    task = named(asked(recipe.task, parts.train))
    return aim(recipe, task, arranged(parts, task, order=recipe.data.order).train.classes)


Heard = Mapping[str, npt.NDArray[Any]] | None


def _is_better(found: Heard, best: Heard, task: Task) -> bool:
    """Return whether a dearer candidate is better in enough resamples of the validation pictures, which have to be the same."""
    if found is None or best is None or not np.array_equal(found["digests"], best["digests"]):
        return False
    return better(best["logits"], found["logits"], best["targets"], task.objective) >= OFTEN


def _luck(best: int, heard: Sequence[Heard], task: Task) -> Luck:
    """Return by how much the score of the chosen one is too good, since it was chosen by it: the default is not."""
    own = heard[best]
    if not best or own is None:
        return Luck(0.0, len(heard))
    same = [each for each in heard if each is not None and np.array_equal(each["digests"], own["digests"])]
    outputs = [own["logits"], *(each["logits"] for each in same if each is not own)]
    found = expected(outputs, own["targets"], task.objective, tested=len(own["targets"]))
    return Luck(max(0.0, found.score - found.value), len(heard))


KEPT, BEATEN, CLOSE = "kept: its run goes on", "a dearer one is better", "not better in enough resamples"


def _row(found: Slice, outcome: str) -> Tried:
    facts, cost = found.facts, round(found.cost, 2)
    if found.score is None:
        return Tried("slice", "a dearer candidate", None, 0, 0.0, cost, f"left out: {found.failed or 'it has no score'}")
    what = f"{facts['net']}, {facts['pixels']} pixels, the first {SLICE:.0%} of its schedule"
    curve = tuple((round(facts["began"] + seconds, 2), score) for seconds, score in found.curve)
    return Tried("slice", what, found.score, facts["n"], round(facts["began"], 2), cost, outcome, curve)
