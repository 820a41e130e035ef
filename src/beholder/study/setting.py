"""What a curve is drawn on: the training and validation pictures of a source, and a way to learn from some of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from beholder.base.arrays import I64, Bools
from beholder.base.deadline import Deadline
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Pictures
from beholder.data.folds import folds
from beholder.data.split import unit_of
from beholder.data.survey import survey
from beholder.duplicates.facts import fingerprinted
from beholder.duplicates.near import Twins
from beholder.study.evidence import at_hand, features_of
from beholder.study.growth import Grounds, Learner
from beholder.study.learners import by_head, by_training
from beholder.study.policy import Curated
from beholder.tasks import asked, named
from beholder.tasks.objectives import aim
from beholder.tasks.targets import arranged
from beholder.tasks.task import Task

FEW, FOLDS = 500, 5
"""Of fewer validation pictures heads are scored out of fold, on the training pictures too: so few alone say too little."""

SETTING_UP = 0.5
"""Share of the time left that the features may take."""


@dataclass(frozen=True, eq=False)
class Setting:
    """What is learnt from and scored, how, and in which words."""

    pictures: Pictures
    task: Task
    grounds: Grounds
    learn: Learner
    way: str
    scored: str
    note: str


def setting(found: Curated, recipe: Recipe, *, train: bool, until: Deadline) -> Setting:
    """Return the training and validation pictures with a way to learn from them."""
    task = named(asked(recipe.task, found.parts.train))
    parts = arranged(found.parts, task, order=recipe.data.order)
    task = aim(recipe, task, parts.train.classes)
    pictures, valid = joined(parts.train, parts.valid)
    rows = np.arange(len(pictures))
    if train:
        rows = np.flatnonzero(fingerprinted(pictures)[1]["error"] == b"")
        learn, way, note = by_training(pictures.take(rows), recipe), "a net trained as the recipe says", ""
    else:
        rows, learn, way, note = _heads(pictures, rows, parts.train, task, recipe, until)
    pictures, valid = pictures.take(rows), valid[rows]
    twins = tied(found, pictures)
    rounds, scored = rounds_of(pictures, valid, twins, recipe.seed, fold=not train)
    grounds = Grounds(pictures.targets, unit_of(pictures, twins), rounds, recipe.seed)
    return Setting(pictures, task, grounds, learn, way, scored, note)


def rounds_of(
    pictures: Pictures, valid: Bools, twins: Twins | None, seed: int, *, fold: bool
) -> tuple[list[tuple[I64, I64]], str]:
    """Return (rows to learn from, rows to score) of each fold, or of the one split, and what it is called.

    valid: bool (N,), which are of the validation part; fold: whether there may be folds
    """
    if fold and int(valid.sum()) < FEW:
        place = folds(pictures, count=FOLDS, seed=seed, twins=twins)
        rounds = [(np.flatnonzero(place != k), np.flatnonzero(place == k)) for k in range(FOLDS)]
        return rounds, f"scored by {FOLDS}-fold cross-validation on {len(pictures):,} training and validation pictures"
    return [(np.flatnonzero(~valid), np.flatnonzero(valid))], f"scored on {int(valid.sum()):,} validation pictures"


def joined(train: Pictures, valid: Pictures) -> tuple[Pictures, Bools]:
    """Return the pictures of both parts, with digests, and which are of the second, bool (N,)."""
    assert train.digests is not None
    assert valid.digests is not None
    both = replace(
        train,
        keys=[*train.keys, *valid.keys],
        targets=np.concatenate([train.targets, valid.targets]),
        parts=np.concatenate([train.parts, valid.parts]),
        groups=np.concatenate([train.groups, valid.groups]),
        digests=np.concatenate([train.digests, valid.digests]),
    )
    return both, np.arange(len(both)) >= len(train)


def tied(found: Curated, pictures: Pictures) -> Twins | None:
    """Return which of the pictures are duplicates of each other, as the audit found them."""
    if found.findings is None or found.findings.twins is None:
        return None
    place = {key: row for row, key in enumerate(found.findings.pictures.keys)}
    return found.findings.twins.among(np.array([place[key] for key in pictures.keys], np.int64))


def _heads(
    pictures: Pictures, rows: I64, train: Pictures, task: Task, recipe: Recipe, until: Deadline
) -> tuple[I64, Learner, str, str]:
    """Return the pictures of `rows` that have features, the learner on these, its name and what is to be said.

    Raises `UsageError` (no-features).
    """
    looked = survey(train)
    backbone = at_hand(recipe.net, looked, small=True)
    if backbone is None:
        what = "no pretrained net is on this machine whose features a head could be fitted on"
        hint = "--train (train=True) trains a net for each size instead; --set net.weights=PATH names weights"
        raise UsageError(what, code="no-features", hint=hint)
    minutes = 0.0 if until.none else max(1e-3, SETTING_UP * until.left / 60)
    features = features_of(pictures.take(rows), backbone, recipe, looked, minutes, like=None)
    known = np.flatnonzero(np.isfinite(features).all(axis=1))
    note = ""
    if len(known) < len(rows):
        note = f"There was time for the features of {len(known):,} of {len(rows):,} pictures: give more --minutes."
    rows = rows[known]
    learn = by_head(features[known], pictures.take(rows), task, balanced=recipe.train.class_weights == "balanced")
    return rows, learn, f"a linear head on frozen features of {backbone.net.name}", note
