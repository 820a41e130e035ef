"""Made pictures beside a source: whether they help the classes that have few is told on the validation part, and so it is done.

They come from a source that is named, or are made here by a net that learns from the training part. Most of the time they do
not help: what a net learns from fifty pictures of a class adds little to those fifty (docs/GENERATIVE.md). Then that is said.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from beholder.base import events
from beholder.base.arrays import F32, I64, U8
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.bundle.config import Tried
from beholder.bundle.format import makes_pictures
from beholder.bundle.generator import Generator
from beholder.learn.account import told
from beholder.learn.checkpoint import RunFolder
from beholder.learn.generate import FEWEST, generate
from beholder.learn.material import Beside, targets_of
from beholder.measure.families import CATEGORICAL
from beholder.measure.optimism import better
from beholder.nets.head import regressed
from beholder.sources.digest import digested
from beholder.study.folded import DECAYS
from beholder.study.introduce import introduced
from beholder.study.policy import Curated
from beholder.study.setting import joined
from beholder.study.unlabelled import Joining, On, apart, with_others, without_others
from beholder.study.worth import pictures_of
from beholder.tasks import asked, named
from beholder.tasks.objectives import by
from beholder.tasks.targets import arranged

KIND = "synthetic"
"""What the pictures that join are called, in keys and messages."""

AUTO = "auto"
"""The value of data.synthetic for which pictures are made here."""

SHARE, MINUTES = 0.4, 3.0
"""Share of the time left in which a net learns to make pictures, and minutes that it has where there is no budget."""

SURE, FEW = 0.95, 50
"""In what share of resamples macro-F1 on validation has to be better, and the pictures of a class below which it seldom is."""


def synthetic(curated: Curated, recipe: Recipe, beside: Beside, *, out: Path | None, resume: bool, began: float) -> Joining:
    """Return the parts with made pictures in the training part where they help, and what was found out.

    out: of the run; what makes pictures here is kept beside it as NAME.made.beholder; resume: go on as that run had decided
    began: `time.monotonic()` of its start
    Raises what `scan` raises, `DataError` (other-classes) for pictures of classes that the source has not.
    """
    task = named(asked(recipe.task, curated.parts.train))
    parts = arranged(curated.parts, task, order=recipe.data.order)
    until = Deadline.of(began, recipe.train.minutes)
    if task.family is not CATEGORICAL:
        return without_others(parts, beside, "made pictures join only where a picture has one class", KIND)
    before = _before(out) if resume else None
    if before is not None and before[0] is None:
        return without_others(parts, beside, "none joined before", KIND)
    started = time.monotonic()
    pool = _offered(parts, recipe, beside, out, until, again=before is not None)
    if before is not None:
        pool = pool.take(_rows(pool, before[0]))
        return replace(with_others(parts, beside, pool, pool.targets, "as before", KIND), tried=before[1])
    on = On(curated, parts, recipe, task, until if until.none else until.within(SHARE * until.left))
    pool, said = _apart(on, pool, beside)
    found = _compared(on, parts, pool) if len(pool) else None
    if found is None:
        return without_others(parts, beside, f"{said}: none is left, or no time to find out what they give", KIND)
    return _joined(on, beside, pool, found, said, (round(started - began, 2), round(time.monotonic() - started, 2)))


def _before(out: Path | None) -> tuple[U8 | None, tuple[Tried, ...]] | None:
    """Return the digests of what had joined the run that is resumed, and what it had tried; None where it is new."""
    folder = None if out is None else RunFolder.beside(out)
    known = {} if folder is None else folder.decided()
    if folder is None or not known:
        return None
    kept = folder.kept("joined")
    return None if kept is None else kept["digests"], tuple(Tried(**{**row, "curve": ()}) for row in known["tried"])


def _rows(pool: Pictures, digests: U8 | None) -> I64:
    """Return the rows of the pool whose digests are among those given, int64 (M,)."""
    known = set() if digests is None else {row.tobytes() for row in digests}
    assert pool.digests is not None
    return np.array([k for k, row in enumerate(pool.digests) if row.tobytes() in known], np.int64)


def _apart(on: On, pool: Pictures, beside: Beside) -> tuple[Pictures, str]:
    """Return the pictures that are no copies of any part and look like none of validation and test, and what was left out."""
    held = np.concatenate([np.asarray(digested(part).digests) for _, part in on.parts.items()])
    pool = pool.take(np.setdiff1d(np.arange(len(pool)), _rows(pool, held)))
    rows, near, bad = apart(on, pool, on.policy(beside)) if len(pool) else (np.zeros(0, np.int64), 0, 0)
    left_out = f" (left out: {near:,} like validation or test pictures, {bad:,} unreadable)" if near or bad else ""
    return pool.take(rows), f"{len(pool):,} made pictures{left_out}"


def _joined(
    on: On, beside: Beside, pool: Pictures, found: tuple[float, float, float, float], said: str, when: tuple[float, float]
) -> Joining:
    """Return the parts with the pool if it helps, and say what it gives."""
    plain, more, sure, beyond = found
    n, counts = len(on.parts.valid), on.parts.train.counts()
    helps = min(sure, beyond) >= SURE and more > plain
    outcome = "kept" if helps else "not better in enough resamples"
    row = told(Tried("head", f"a linear head with {len(pool):,} made pictures", round(more, 4), n, *when, outcome))
    words = (
        f"{said}: macro-F1 {plain:.4f} → {more:.4f} on {n:,} validation pictures, better in {sure:.0%} of resamples, "
        f"and than class weights to the same effect in {beyond:.0%}"
    )
    if helps:
        words = f"{words}: they join the training part"
        return replace(with_others(on.parts, beside, pool, pool.targets, words, KIND), tried=(row,))
    few = on.recipe.data.synthetic == AUTO and int(counts[counts > 0].min()) < FEW
    why = f": of fewer than {FEW} pictures of a class little can be made that is not in them" if few else ""
    return replace(without_others(on.parts, beside, f"{words}; they did not help{why}", KIND), tried=(row,))


def _offered(parts: Parts, recipe: Recipe, beside: Beside, out: Path | None, until: Deadline, *, again: bool) -> Pictures:
    """Return the made pictures that are offered, with digests, as classes of the training part."""
    classes = parts.train.classes
    if recipe.data.synthetic == AUTO:
        found = digested(_made(parts, recipe, out, until, again=again))
    else:
        found = digested(_of_one(introduced(recipe.data.synthetic, labels=None, allow_download=beside.allow_download)))
    other = sorted(set(found.classes) - set(classes))
    if other or found.multi:
        what = f"the classes {', '.join(other[:5])}" if other else "several labels a picture"
        raise DataError(
            f"{recipe.data.synthetic} has {what}, which the source has not",
            code="other-classes",
            hint="give pictures of the same classes, one label each",
        )
    place = np.array([classes.index(name) for name in found.classes], np.int64)
    return replace(
        found, targets=place[found.targets], classes=classes, parts=np.full(len(found), -1, np.int8), bits=parts.train.bits
    )


def _of_one(found: Pictures) -> Pictures:
    """Return pictures with labels: those of one folder, where a source has no labels or one class, by its name."""
    if found.labelled:
        return found
    names = {Path(key).parent.name for key in found.keys}
    name = next(iter(names)) if len(names) == 1 else ""
    if not name:
        return found.with_labels()
    return replace(found, classes=(name,), targets=np.zeros(len(found), np.int64))


def _made(parts: Parts, recipe: Recipe, out: Path | None, until: Deadline, *, again: bool) -> Pictures:
    """Return pictures made by a net that learnt from the training part, of each class as many as it lacks to the mean."""
    place = None if out is None else out.with_name(out.name.removesuffix(".beholder") + ".made.beholder")
    if again and place is not None and makes_pictures(place):
        made = Generator.load(place)
    else:
        minutes = MINUTES if until.none else max(0.05, SHARE * until.left / 60)
        events.note(f"synthetic: a net learns to make pictures, for {minutes:.1f} minutes")
        made = generate(parts, recipe=Recipe().set(kind="gan", minutes=minutes, seed=recipe.seed), out=place)
    counts = parts.train.counts()
    lacking = np.maximum(0, np.ceil(counts[counts > 0].mean()).astype(np.int64) - counts)
    labels = np.repeat(np.arange(len(counts)), np.where(counts > 0, lacking, 0))
    if not len(labels):  # classes of one size: as many again as a quarter
        labels = np.arange(max(len(counts), int(counts.sum()) // 4)) % len(counts)
    images = np.concatenate(list(made.chunks(labels, seed=recipe.seed + 1)))
    return pictures_of(made, images, labels)


def _compared(on: On, parts: Parts, pool: Pictures) -> tuple[float, float, float, float] | None:
    """Return macro-F1 on validation of heads without and with the pool, and in what shares of resamples it is better with it.

    Better than without, and than without but with the classes weighed as they are in both: that is what pictures of noise do.
    """
    whole, valid = joined(digested(parts.train), digested(parts.valid))
    x, z = on.features(whole, "pictures are seen by features"), on.features(pool, "made pictures are seen by features")
    seen, fresh = (np.isfinite(each).all(axis=1) for each in (x, z))
    own, later, extra = np.flatnonzero(seen & ~valid), np.flatnonzero(seen & valid), np.flatnonzero(fresh)
    if min(len(own), len(later), len(extra)) < min(FEWEST, len(parts.valid)):
        return None
    y, hot = targets_of(whole).numpy(), targets_of(pool).numpy()
    mean, deviation = x[own].mean(0), np.maximum(x[own].std(0), 1e-4)  # not of the pool: noise widens it, which is decay
    x, z = (x - mean) / deviation, (z - mean) / deviation
    plain = _logits(x[own], y[own], x[later], on)
    more = _logits(np.concatenate([x[own], z[extra]]), np.concatenate([y[own], hot[extra]]), x[later], on)
    weighed = _logits(x[own], y[own], x[later], on, weights=_weights(y[own].sum(0), hot[extra].sum(0)))
    objective, truth = by(CATEGORICAL, "macro_f1")["macro_f1"], y[later]
    sure, beyond = (better(without, more, truth, objective) for without in (plain, weighed))
    return objective(plain, truth), objective(more, truth), sure, beyond


def _weights(own: F32, added: F32) -> torch.Tensor:
    """Return weights of classes (K,), 1 on average, that stand for the pictures added; both: counts of the classes (K,)."""
    found = (own + added) / np.maximum(own, 1)
    return torch.from_numpy((found * own.sum() / (found * own).sum()).astype(np.float32))


def _logits(x: F32, y: F32, asked_of: F32, on: On, *, weights: torch.Tensor | None = None) -> F32:
    weight, bias = regressed(torch.from_numpy(x), torch.from_numpy(y), task=on.task, decay=DECAYS[0], weights=weights)
    return np.asarray((torch.from_numpy(asked_of) @ weight.T + bias).numpy(), np.float32)
