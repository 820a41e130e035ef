"""Distillation: a net learns from the labels and from what a teacher, a bundle trained before, says of the same pictures.

The loss is (1 - w) · L(z, labels) + w · T² · L(z / T, p), where z are the net's logits, L is the loss of the task, and p are
the teacher's probabilities at temperature T: of one label a picture L is the cross-entropy, of several the mean over labels of
the binary one, of ordered classes the likelihood of the steps. It differs by a constant from the T² · KL of the source.
Source: G. Hinton, O. Vinyals, J. Dean, Distilling the knowledge in a neural network (2015), section 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beholder.base.arrays import F32, I64
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.fields import TrainRecipe
from beholder.base.files import sha256
from beholder.base.names import position
from beholder.base.order import stratified
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.base.spans import span
from beholder.bundle.bundle import Bundle, opened
from beholder.data.cache import cached
from beholder.learn.material import Beside, Material, Taught
from beholder.learn.turned import turned
from beholder.runtime.inference import outputs
from beholder.sources.digest import digested
from beholder.tasks.task import Task

TEACHING = 0.25
"""Share of the time left in which the teacher is asked; pictures that it has no time for are learnt from their labels."""

HELD = "in memory, "
"""What a recipe names a teacher by that lies in no file, before the first digits of its digest."""

SURE = 0.9
"""Probability that stands for a label where the teacher was not asked."""


def taught_by(
    recipe: Recipe,
    teacher: Bundle | str | Path | None = None,
    beside: Beside | None = None,
    *,
    allow_download: bool = False,
    out: str | Path | None = None,
) -> tuple[Recipe, Beside]:
    """Return the recipe with its teacher named, and that teacher in `beside`: the one given, else what the recipe names.

    allow_download: whether pictures that join may be fetched, where nothing is `beside` yet; out: where what it teaches goes

    Raises `UsageError` for what is no bundle, for fields of a teacher without one, (teacher-gone) for a recipe whose teacher
    was only in memory, and (place-taken) for a teacher that lies at `out`, `BundleError` for a damaged one.
    """
    beside = beside or Beside(allow_download=allow_download)
    teacher = teacher if teacher is not None else beside.teacher if beside.teacher is not None else recipe.train.teacher or None
    if teacher is None:
        if (recipe.train.teacher_weight, recipe.train.temperature) != (TrainRecipe.teacher_weight, TrainRecipe.temperature):
            what = "train.teacher_weight and train.temperature are of a teacher, and there is none"
            raise UsageError(what, code="half-asked", hint="name one: --teacher M.beholder, or teacher=…")
        return recipe, beside
    if isinstance(teacher, str) and teacher.startswith(HELD):
        what = f"the recipe's teacher was {teacher}…: it lies in no file"
        hint = "give it again with teacher=…, or name a bundle: --teacher M.beholder"
        raise UsageError(what, code="teacher-gone", hint=hint)
    found = opened(teacher)
    if out is not None and found.path is not None and Path(out).resolve() == found.path.resolve():
        what = f"{found.path} is the teacher, and what it teaches would take its place"
        raise UsageError(what, code="place-taken", hint="choose another name with --out, such as small.beholder")
    name = str(found.path) if found.path is not None else f"{HELD}{digest_of(found)[:16]}"
    return recipe.set(teacher=name), replace(beside, teacher=found)


def digest_of(bundle: Bundle) -> str:
    """Return the SHA-256 of a bundle's weights and of what else its answers follow from, as hexadecimal digits."""
    config, said = bundle.config, bundle.config.json()
    how = [config.classes, said["pixels"], said["mean"], said["std"], said["net"], config.mirror, said.get("calibration")]
    weights = [(name, sha256(value.detach().cpu().numpy().tobytes())) for name, value in bundle.net.state_dict().items()]
    return sha256(repr((how, weights)).encode())


def columns_of(teacher: Bundle, classes: Sequence[str], task: Task) -> I64:
    """Return where the teacher has each of the classes, int64 (K,); they are matched by name.

    Raises `DataError`: other-task, or other-classes where it lacks one, or has them in an order that means something else.
    """
    if teacher.task.name != task.name:
        what = f"the teacher learnt the task '{teacher.task.name}', this is '{task.name}'"
        raise DataError(what, code="other-task", hint="train a teacher on labels of the same kind")
    places = np.array([position(name, teacher.classes) for name in classes], np.int64)
    missing = [name for name, place in zip(classes, places.tolist(), strict=True) if place < 0]
    if missing:
        what = f"the teacher does not know {len(missing)} of the {len(classes)} classes: {', '.join(missing[:5])}"
        hint = f"train it on these classes too; it knows {', '.join(teacher.classes[:20])}"
        raise DataError(what, code="other-classes", hint=hint)
    if task.order is not None and places.tolist() != list(range(len(teacher.classes))):
        what = "the teacher has other grades, or has them in another order"
        raise DataError(what, code="other-classes", hint=f"its order is {', '.join(teacher.classes[:20])}")
    return places


def probabilities(logits: F32, columns: I64, task: Task, *, temperature: float = 1.0) -> F32:
    """Return a teacher's probabilities of K classes, float32 (N, K), at a temperature.

    logits: float32 (N, V); columns: int64 (K,), where the classes are among the teacher's. Of one label a picture those of the
    classes that are left sum to 1.
    """
    logs = task.family.logs(np.asarray(logits, np.float64) / temperature)[:, columns]
    if not task.several:  # by logarithms: of what it is sure that it is something else, nothing would be left to divide by
        logs = torch.from_numpy(logs).log_softmax(dim=1).numpy()
    return np.exp(logs).astype(np.float32)


def check_teacher(teacher: Bundle, parts: Parts, task: Task, said: Callable[[str], object]) -> None:
    """Check that a teacher can teach these classes, and knows nothing of the test part, before any picture is decoded.

    Raises what `columns_of` raises, and `DataError` (teacher-leak) where it learnt from, or was chosen by, pictures of the test
    part, by their SHA-256. That it was trained on validation pictures, or that nobody can tell, is said.
    """
    columns_of(teacher, parts.train.classes, task)
    if not teacher.splits:
        said("the teacher does not say which pictures it learnt from: whether it knows those of the test part is not known")
        return
    seen = sum(teacher.used(digested(parts.test).hexdigests))
    if seen:
        what = f"the teacher learnt from {seen:,} of the {len(parts.test):,} test pictures: the test would be flattered"
        hint = "train the teacher on the same source with the same seed, which gives the same parts, or without these pictures"
        raise DataError(what, code="teacher-leak", hint=hint)
    valid = teacher.part_of(digested(parts.valid).hexdigests).count("train")
    if valid:
        said(f"the teacher was trained on {valid:,} of the {len(parts.valid):,} validation pictures: validation is flattered")


def asked(teacher: Bundle, pictures: Pictures, *, until: Deadline, workers: int = 0) -> F32:
    """Return the teacher's logits, float32 (N, V), calibrated where it is; rows of NaN for what cannot be read, or had no time.

    Pictures are seen through the teacher's own pixel policy, by the fastest engine that gives what its net gives.
    """
    found = np.full((len(pictures), teacher.width), np.nan, np.float32)
    how: dict[str, Any] = {"on_bad": "skip", "workers": workers, "order": stratified(pictures.targets)}
    with span("teacher"):
        pixels = cached(pictures, teacher.policy, **how, enough=lambda: until.passed)
        order = stratified(pictures.targets[pixels.rows])
        late: dict[str, Any] = {"enough": lambda: until.passed, "seconds": until.left}
        logits, _ = outputs(teacher, pixels.subset(order), **late, label="the teacher")
    teacher.activated(logits)  # which refuses what is not finite
    calibration = teacher.config.calibration
    found[pixels.rows[order[: len(logits)]]] = logits if calibration is None else calibration(logits)
    return found


def lesson(
    beside: Beside,
    train: Material,
    task: Task,
    recipe: Recipe,
    said: Callable[[str], object],
    *,
    until: Deadline,
    before: Mapping[str, Any] | None = None,
) -> Material:
    """Return the training pictures with what the teacher says of them; it is asked once for each.

    before: "digests" uint8 (M, 32) and "logits" float32 (M, V) of a run that is resumed, which goes on with them
    Raises what `columns_of` raises.
    """
    teacher, temperature = beside.teacher, recipe.train.temperature
    if teacher is None:
        return train
    columns, own = columns_of(teacher, train.pictures.classes, task), beside.own
    end = until if until.none else until.within(TEACHING * until.left)
    if before is not None:
        logits = _as_before(train.pictures, teacher.width, before)
    else:
        logits = _said(teacher, train, beside, until=end, workers=recipe.data.workers)
    told = np.asarray(np.isfinite(logits).all(axis=1), bool)
    plain, soft = (probabilities(logits, columns, task, temperature=t) for t in (1.0, temperature))
    hot = train.targets.numpy()
    plain[~told], soft[~told] = hot[~told], _for_labels(hot[~told], temperature, several=task.several)
    labels = hot if own is None else np.where((train.pixels.rows < own)[:, None], hot, plain)
    digest, few = digest_of(teacher), "" if told.all() else f"; it was asked about {told.sum():,} of {len(told):,} pictures"
    who = f"teacher: {recipe.train.teacher} ({teacher.config.net.name}, weights {digest[:12]})"
    said(f"{who}, {recipe.train.teacher_weight:.0%} of the loss, temperature {temperature:g}{few}")
    each = (torch.from_numpy(np.asarray(values, np.float32)) for values in (labels, plain, soft))
    return replace(train, taught=Taught(logits, digest, *each))


def _said(teacher: Bundle, train: Material, beside: Beside, *, until: Deadline, workers: int) -> F32:
    """Return the teacher's logits of the training pictures, float32 (M, V): known ones, and those that it is asked for."""
    found = np.full((len(train.pictures), teacher.width), np.nan, np.float32)
    rows, own = train.pixels.rows, beside.own
    if own is not None and beside.logits is not None:
        found[rows >= own] = beside.logits[rows[rows >= own] - own]
    missing = np.flatnonzero(np.isnan(found).any(axis=1))
    if len(missing):
        found[missing] = asked(teacher, train.pictures.take(missing), until=until, workers=workers)
    return found


def _as_before(pictures: Pictures, width: int, before: Mapping[str, Any]) -> F32:
    """Return the logits float32 (M, V) of the run that is resumed; rows of NaN where it had none."""
    found = np.full((len(pictures), width), np.nan, np.float32)
    if before["logits"].shape[1:] == (width,):
        place = {row.tobytes(): k for k, row in enumerate(before["digests"])}
        known = [place.get(row, -1) for row in map(bytes, pictures.digests if pictures.digests is not None else ())]
        rows = np.flatnonzero(np.array(known, np.int64) >= 0)
        found[rows] = before["logits"][np.array(known, np.int64)[rows]]
    return found


def _for_labels(hot: F32, temperature: float, *, several: bool) -> F32:
    """Return what stands for a teacher's softened probabilities where only labels, (N, K), are known."""
    p = SURE * hot + (1 - SURE) * (0.5 if several else 1 / max(1, hot.shape[1]))
    with_it, without = p ** (1 / temperature), (1 - p) ** (1 / temperature)
    return np.asarray(with_it / (with_it + without if several else with_it.sum(axis=1, keepdims=True)), np.float32)


def distilled(task: Task, *, weight: float, temperature: float, classes: int) -> Task:
    """Return the task with the loss of distillation; its targets are float32 (B, 2K): labels, and softened probabilities.

    weight: share of the teacher in the loss. Label smoothing and class weights are of the labels alone.
    """

    def loss(logits: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None) -> Tensor:
        labels, soft = targets[:, :classes], targets[:, classes : 2 * classes]
        theirs = temperature**2 * task.loss(logits / temperature, soft)
        return (1 - weight) * task.loss(logits, labels, smoothing=smoothing, weights=weights) + weight * theirs

    return replace(task, loss=loss, turns=turned(task.turns, loss, classes))
