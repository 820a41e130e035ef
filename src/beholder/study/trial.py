"""One slice of one candidate: it is prepared, goes on from its checkpoint, and pauses where its slice ends."""

from __future__ import annotations

import json
import math
import re
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import BeholderError, UsageError
from beholder.base.files import folder_atomic, remove_folder, write_atomic
from beholder.base.recipe import Recipe, from_toml
from beholder.base.records import Parts
from beholder.bundle.bundle import Bundle
from beholder.learn import finish
from beholder.learn.budget import Budget, sampled
from beholder.learn.checkpoint import RunFolder
from beholder.learn.floor import headed, offered
from beholder.learn.loop import Run
from beholder.learn.monitors import Best, NotFiniteError
from beholder.learn.prepare import Before, Prepared, prepare
from beholder.learn.resumed import before_of, opened
from beholder.learn.run import run_of
from beholder.machine.pace import restored
from beholder.machine.stop import Stop, stopping
from beholder.nets.head import forget
from beholder.study.luck import leave
from beholder.study.search import Job, Slice

LEAST_BATCH = 8
"""The smallest batch that is tried where memory does not suffice for a larger one."""

MOST = {"lr": 100.0, "weight_decay": 10.0}
"""The largest values that the recipe's fields take."""

TIMED, TIMING = 15, 0.5
"""Single pictures of which the latency is the median, and the seconds after which no more are timed."""


@dataclass(frozen=True)
class Limits:
    """What a model may take on this machine, 0: anything. latency: seconds of one picture; size: bytes of its weights."""

    latency: float = 0.0
    size: int = 0

    def broken(self, latency: float, size: int) -> str:
        """Return in words which limit a model is beyond; "" where it is within both."""
        slow = f"{1000 * latency:.1f} ms a picture, above {1000 * self.latency:g} ms" if 0 < self.latency < latency else ""
        large = f"{size / 1e6:.1f} MB, above {self.size / 1e6:g} MB" if 0 < self.size < size else ""
        return "; ".join(filter(None, (slow, large)))


@dataclass(frozen=True)
class Field:
    """What every candidate of a study is tried on.

    parts: the test part is not read; folder: where the run folders of the candidates are
    flips: the axes along which pictures are flipped, as `learn.prepare.Before` has them; first: where that of the first is
    seconds: that a full run takes; 0: the epochs of the recipe say how long
    """

    parts: Parts
    folder: Path
    limits: Limits = Limits()
    seconds: float = 0.0
    flips: str = ""
    first: RunFolder | None = None

    def run_folder(self, index: int) -> RunFolder:
        """Return where the checkpoint of a candidate is."""
        return self.first if self.first and not index else RunFolder(self.folder / f"{index:04}.run")

    def taken(self, search: str, *, new: bool) -> bool:
        """Take the folder for a search, by its name, and delete the checkpoints of another; return whether it was another's.

        new: whether the search is only beginning, so that no checkpoint is its own
        """
        owner = self.folder / "search.txt"
        before = owner.read_text("utf-8", "replace") if owner.is_file() else ""
        other = before not in ("", search)
        if new or other:
            for path in self.folder.glob("[0-9]*.run"):
                remove_folder(path)
            for path in self.folder.glob("[0-9]*.npz"):
                path.unlink()
        if other:
            events.warn(f"the search in {self.folder} was of other pictures or options: its checkpoints are deleted")
        write_atomic(owner, search.encode())
        return other


Work = Callable[["Field", Job, Recipe, Stop, list[int]], Slice]
"""Carries out a slice of a candidate, given what it is tried on, and appends the batch that it takes to the list."""


def advanced(on: Field, job: Job, work: Work | None = None) -> Slice:
    """Return what a slice of a candidate gave; what goes wrong is its reason.

    work: default: a slice of a search, which too little memory halves the batch of: others go on with the recipe as it is.
    Raises `Interrupted` where somebody asks to stop.
    """
    recipe, sizes, anew = from_toml(job.recipe, done=True), [0], False
    while True:
        try:
            with events.listen(alone=True), stopping() as stop, restored():
                return (work or _slice)(on, job, recipe, stop, sizes)
        except Exception as error:  # noqa: BLE001  (a candidate that fails, however, must not end the study)
            batch = (sizes[-1] or recipe.train.batch) // 2
            if _is_unusable(error) and not anew:
                anew = True
            elif job.rung or work or not _is_memory(error) or batch < LEAST_BATCH:
                return Slice(failed=_reason(error))
            else:
                recipe = recipe.set(batch=batch)
        if on.run_folder(job.index).path.exists():
            remove_folder(on.run_folder(job.index).path)


def _is_unusable(error: Exception) -> bool:
    """Return whether an error says that a checkpoint cannot be gone on from: of another batch, say, or damaged."""
    return isinstance(error, BeholderError) and error.code in ("other-run", "damaged")


def _is_memory(error: Exception) -> bool:
    """Return whether an error says that memory does not suffice."""
    words = str(error).lower()
    return isinstance(error, (MemoryError, torch.OutOfMemoryError)) or "out of memory" in words or "can't allocate" in words


def _reason(error: Exception) -> str:
    if isinstance(error, NotFiniteError):
        return f"diverged: {error.message}"
    if _is_memory(error):
        return "out of memory"
    return error.message if isinstance(error, BeholderError) else f"{type(error).__name__}: {error}"


def _slice(on: Field, job: Job, recipe: Recipe, stop: Stop, sizes: list[int]) -> Slice:
    began, folder = time.monotonic(), on.run_folder(job.index)
    resume = paused(folder)
    before = before_of(folder) if resume else None
    prepared = prepare(on.parts, recipe, before=before or Before(None, 0.0, 0, on.flips))
    prepared, recipe = settled(prepared, recipe, {} if job.rung else job.factors)
    sizes.append(prepared.plan.batch)
    facts = {**_measured(prepared), "recipe": recipe.toml(), "batch": prepared.plan.batch, "net": prepared.created.spec.name}
    if not (resume or job.rung) and (beyond := on.limits.broken(facts["latency"], facts["bytes"])):
        return Slice(failed=f"beyond the limits: {beyond}", cost=time.monotonic() - began, facts=facts)
    heard: dict[int, Tensor] = {}
    run, head, rows = _run(on, prepared, folder, stop, heard, resume=resume)
    over = _pause(run, job, began)

    def left() -> None:
        if (logits := heard.pop(run.best.epoch, None)) is not None:
            leave(on.folder, job.index, logits, rows)

    def pause() -> bool:  # asked before a checkpoint is written, from which a slice that is cut off does not hear them again
        if halts := over():
            left()
        return halts

    run.pause = pause
    with stop.held():
        run.go()
    left()
    run.stop.check()
    run.keep()
    curve = tuple((_cost(on, run, row), float(row["valid_score"])) for row in run.at.history if row["valid_score"] is not None)
    score = max((value for _, value in curve), default=None)
    done = run.clock.step >= run.clock.total or run.gave_up
    facts |= {"head": head, "epochs": run.clock.step / len(run.batches), "seconds_an_epoch": pace(run)}
    return Slice(score=score, cost=time.monotonic() - began, curve=curve, done=done, facts=facts)


def paused(folder: RunFolder) -> bool:
    """Return whether a run has a checkpoint to go on from."""
    folder.restore()
    return (folder.path / "checkpoint").exists()


def handed_over(own: RunFolder, run: RunFolder, write: Callable[[RunFolder], object] = lambda _: None) -> None:
    """Put the checkpoint of a candidate in place of `run`, where it is gone on from; write: what is kept beside it.

    The seconds that it took are not of the time that is left.
    """
    with folder_atomic(run.path) as folder:
        shutil.copytree(own.path, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("[0-9]*.run"))
        file = folder / "checkpoint" / "state.json"
        state = json.loads(file.read_text("utf-8"))
        state["clock"]["free"] = state["clock"]["spent"]
        file.write_bytes(json.dumps(state).encode())
        write(RunFolder(folder))


def pace(run: Run) -> float:
    """Return the seconds that an epoch took so far."""
    return run.clock.spent / max(1e-9, run.clock.step / len(run.batches))


def _cost(on: Field, run: Run, row: Mapping[str, Any]) -> float:
    """Return what a candidate had cost at a row of its history: seconds, or epochs where these are what is counted."""
    return float(row["seconds"]) if on.seconds else float(row["step"]) / len(run.batches)


def settled(prepared: Prepared, recipe: Recipe, factors: Mapping[str, float]) -> tuple[Prepared, Recipe]:
    """Return a run and its recipe with the rate and the weight decay that its plan has, times the factors, written down."""
    plan = prepared.plan
    wanted = {
        "lr": plan.lr * factors.get("train.lr", 1.0),
        "weight_decay": plan.weight_decay * factors.get("train.weight_decay", 1.0),
    }
    chosen: dict[str, Any] = {name: min(MOST[name], float(f"{value:.6g}")) for name, value in wanted.items()}
    recipe, own = recipe.set(**chosen), prepared.recipe.set(**chosen)
    return replace(prepared, recipe=own, plan=replace(plan, **chosen)), recipe


def _run(
    on: Field, prepared: Prepared, folder: RunFolder, stop: Stop, heard: dict[int, Tensor], *, resume: bool
) -> tuple[Run, float | None, npt.NDArray[np.int64]]:
    """Return the run, begun or gone on from its checkpoint, the score of a head on frozen features, where there is one, and
    the positions in the validation part of what it is validated on.

    heard: is given the logits of each validation, by its epoch
    """
    going_on = opened(folder, prepared, resume=resume)
    best, among, head = Best(), None, None
    probes = not going_on and prepared.created.pretrained and prepared.recipe.train.probe
    found = headed(prepared, stop, Deadline()) if probes else None
    limits = Budget(on.seconds, time.monotonic())
    valid, limits, rows = sampled(prepared.valid, limits, train=len(prepared.train.pixels), among=among)
    if found is not None:
        floor, heard[-1] = offered(prepared, found, valid, rows, best)
        head = floor.score
        forget(prepared.created.net)

    def hear(logits: Tensor) -> None:
        heard[run.at.epoch] = logits

    run: Run = run_of(prepared, best, valid=valid, limits=limits, folder=folder, stop=stop, heard=hear)
    if going_on:
        run.resume(folder)
    return run, head, rows


def _pause(run: Run, job: Job, began: float) -> Callable[[], bool]:
    """Return what says that the slice is over: its epochs are done, or its seconds, after one step at least."""
    if job.epochs:
        steps = math.ceil(job.epochs * len(run.batches))
        return lambda: run.clock.step >= steps
    return lambda: run.clock.taken > 0 and time.monotonic() - began >= job.seconds


def _measured(prepared: Prepared) -> dict[str, Any]:
    """Return "parameters", "bytes" of the weights in float32, and "latency": seconds of one picture, the median of some."""
    net = prepared.created.net
    bundle = Bundle(finish.config_of(prepared), net, prepared.recipe)
    image = prepared.valid.pixels.take(np.arange(1))
    bundle.probabilities(image)  # in the first, kernels are chosen
    took: list[float] = []
    while len(took) < TIMED and (len(took) < 3 or sum(took) < TIMING):
        start = time.perf_counter()
        bundle.probabilities(image)
        took.append(time.perf_counter() - start)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in net.state_dict().values())
    return {"parameters": sum(p.numel() for p in net.parameters()), "bytes": weights, "latency": median(took)}


_UNITS = {
    "latency": ({"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}, "20ms, or seconds: 0.02"),
    "size": ({"": 1, "b": 1, "kb": 1e3, "mb": 1e6, "gb": 1e9, "kib": 2.0**10, "mib": 2.0**20, "gib": 2.0**30}, "5MB, or bytes"),
}


def amount(said: float | str, kind: str) -> float:
    """Return a limit in seconds ("latency") or bytes ("size"); 0: none. Raises `UsageError` (bad-limit).

    >>> amount("20ms", "latency"), amount("5 MB", "size"), amount(0, "size")
    (0.02, 5000000.0, 0.0)
    """
    units, hint = _UNITS[kind]
    found = re.fullmatch(r"\s*([0-9.]+(?:e[+-]?[0-9]+)?)\s*([a-zA-Z]*)\s*", str(said))
    try:
        value = float(found[1]) * units[found[2].lower()] if found else math.nan
    except (ValueError, KeyError):
        value = math.nan
    if not 0 <= value < math.inf:
        raise UsageError(f"'{said}' is no largest {kind}", code="bad-limit", hint=f"for example {hint}")
    return value
