"""How hard pictures are to learn, and features by which they are told apart: what `shrink` goes by.

From a pretrained net that is at hand: principal components of its features, and the error of heads that have not learnt from
the picture. For many small pictures, or without such a net: from the early epochs of small nets, averaged over seeds; what
these have not learnt yet is hard (M. Paul et al., Deep learning on a data diet, NeurIPS 2021; C. Coleman et al., Selection via
proxy, ICLR 2020, for small nets in place of the one that is trained in the end).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch

from beholder.base import events
from beholder.base.arrays import F32, I64
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError
from beholder.base.fields import NetRecipe
from beholder.base.order import stratified
from beholder.base.recipe import Recipe, load
from beholder.base.records import Parts, Pictures
from beholder.data.cache import cached
from beholder.data.clusters import SAMPLE, Axes
from beholder.data.folds import folds
from beholder.data.select import el2n
from beholder.data.split import unit_of
from beholder.data.survey import Survey, survey
from beholder.duplicates.near import Twins
from beholder.learn.material import targets_of
from beholder.learn.train import train
from beholder.machine.pace import restored
from beholder.machine.stop import check_stop
from beholder.measure.neighbours import unit
from beholder.nets.choose import SMALL
from beholder.nets.head import regressed
from beholder.runtime.inference import outputs
from beholder.study.evidence import BOTH, Backbone, at_hand, features_of
from beholder.study.folded import SMALL as FEW_NUMBERS
from beholder.tasks import asked, named

LEAST = 20
"""Training pictures below which nothing is said of any of them."""

COMPONENTS = 256
"""Principal components of the features that are kept: 4 bytes each for a picture."""

CHUNK = 16_384
"""Pictures whose whole features are in memory at a time."""

DECAY, STEPS, FOLDS = 0.02, 40, 5
"""Of the heads: the strength of their penalty, their steps, and in how many folds they are fitted."""

EARLY, LONGEST, SEEN, SEEDS = 3, 20, 60_000, 2
"""Epochs of the small nets: as many as show them `SEEN` pictures, from `EARLY` to `LONGEST`; and how many nets there are."""


@dataclass(frozen=True, eq=False)
class Looks:
    """What is known of pictures. rows: int64 (M,), which of them were looked at, rising.

    features: float32 (M, C); scores: EL2N, float32 (M,), None where they were not asked for; way: by what they were found
    """

    rows: I64
    features: F32
    scores: F32 | None
    way: str

    @property
    def directions(self) -> F32:
        """Return the features as rows of length 1, which clusters are made of."""
        return unit(self.features)


def looked(parts: Parts, recipe: Recipe, until: Deadline, *, judged: bool, twins: Twins | None) -> Looks:
    """Return what is known of the training pictures, all readable, as far as there is time.

    parts: valid chooses the weights of nets that are trained for it, test is not read
    judged: whether scores are wanted; twins: duplicates among the training pictures, which no fold parts
    Raises `DataError` (too-few-pictures), and what `train` raises.
    """
    pictures = parts.train
    if len(pictures) < LEAST:
        what = f"{len(pictures):,} training pictures are too few to tell which of them are hard or alike"
        hint = f"there have to be {LEAST} at least; --by random takes any number"
        raise DataError(what, code="too-few-pictures", hint=hint)
    seen = survey(pictures)
    backbone = backbone_for(pictures, recipe, seen)
    if backbone is None:
        return _early(parts, recipe, until)
    features = featured(pictures, backbone, recipe, seen, until)
    rows = np.flatnonzero(np.isfinite(features).all(axis=1))
    scores = None
    if judged:
        scores = hardness(features[rows], pictures.take(rows), None if twins is None else twins.among(rows), recipe.seed)
    way = f"heads in {FOLDS} folds on features of {backbone.net.name}" if judged else f"features of {backbone.net.name}"
    return Looks(rows, features[rows], scores, way)


def duplicates_of(pictures: Pictures, twins: Twins | None) -> I64:
    """Return a number that near-duplicates share, int64 (N,): groups count for nothing, for no part is divided anew."""
    return unit_of(replace(pictures, groups=np.full(len(pictures), -1, np.int64)), twins)


def backbone_for(pictures: Pictures, recipe: Recipe, seen: Survey) -> Backbone | None:
    """Return the pretrained net whose features say which pictures are hard; None where small nets are trained for it."""
    small = max(seen.height, seen.width) <= SMALL
    if small and len(pictures) >= BOTH and recipe.net.weights == "auto":
        return None
    return at_hand(recipe.net, seen, small=True)


def featured(pictures: Pictures, backbone: Backbone, recipe: Recipe, seen: Survey, until: Deadline) -> F32:
    """Return principal components of the features, float32 (N, C); rows of NaN for pictures there was no time for.

    At most `CHUNK` pictures have their whole features in memory; the axes are those of the first, of all classes.
    """
    order, axes = stratified(pictures.targets, seed=recipe.seed), None
    found = np.full((len(pictures), 1), np.nan, np.float32)
    for at in range(0, len(order), CHUNK):
        check_stop()
        if axes is not None and until.passed:
            break
        rows = order[at : at + CHUNK]
        minutes = 0.0 if until.none else max(1e-3, until.left / 60)
        some = features_of(pictures.take(rows), backbone, recipe, seen, minutes, what="features")
        known = np.isfinite(some).all(axis=1)
        if axes is None:
            axes = Axes.of(some[known], most=COMPONENTS)
            found = np.full((len(pictures), axes.axes.shape[1]), np.nan, np.float32)
        found[rows[known]] = axes(some[known])
    return found


def hardness(features: F32, pictures: Pictures, twins: Twins | None, seed: int) -> F32:
    """Return the EL2N of each picture by a logistic regression that has not learnt from it, float32 (N,).

    features: float32 (N, C), principal components; twins: duplicates among the pictures, which no fold parts
    """
    task, fold = named(asked("auto", pictures)), folds(pictures, count=FOLDS, seed=seed, twins=twins)
    x, y = torch.from_numpy(features), targets_of(pictures)
    x = x / x.square().mean().sqrt().clamp(min=1e-6)
    found = torch.zeros_like(y)
    with restored():
        if features.size < FEW_NUMBERS:
            torch.set_num_threads(1)
        for k in np.unique(fold).tolist():
            check_stop()
            held = torch.from_numpy(fold == k)
            weight, bias = regressed(x[~held], y[~held], task=task, decay=DECAY, steps=STEPS)
            found[held] = task.activation(x[held] @ weight.T + bias)
            events.progress("labels of one fold judged by the others", k + 1, FOLDS)
    return el2n(found.numpy(), y.numpy())


def _early(parts: Parts, recipe: Recipe, until: Deadline) -> Looks:
    """Return what small nets say of the training pictures after a few epochs: scores on average, features of the first."""
    scores: list[F32] = []
    features, rows, net = np.zeros((0, 0), np.float32), np.arange(0), ""
    for k in range(SEEDS):
        if scores and until.passed:
            break
        plan = _small(recipe, len(parts.train)).set(seed=recipe.seed + k)
        if not until.none:
            plan = plan.set(minutes=max(0.01, until.left / 60 / (SEEDS - k)))
        events.note(f"small net {k + 1} of {SEEDS} ({plan.net.name}, {plan.train.epochs} epochs) says which pictures are hard")
        with events.only("warn", "progress"):
            bundle = train(parts, recipe=plan, whole_run=True)
            pixels = cached(parts.train, bundle.policy)
            logits, seen = outputs(bundle, pixels, label="")
        if not scores:
            features, rows, net = Axes.of(_sample(seen), most=COMPONENTS)(seen), pixels.rows, plan.net.name
        truth = targets_of(parts.train.take(pixels.rows)).numpy()
        scores.append(el2n(bundle.task.family.probabilities(logits), truth))
    way = f"{len(scores)} × {plan.train.epochs} early epochs of a small net ({net})"
    return Looks(rows, features, np.mean(scores, axis=0, dtype=np.float32), way)


def _sample(rows: F32) -> F32:
    """Return some of the rows at even distances: sources are sorted by class."""
    return rows[:: max(1, len(rows) // SAMPLE)]


def _small(recipe: Recipe, n: int) -> Recipe:
    """Return the recipe of the small nets, with what the person set of the pixels."""
    many = n >= BOTH
    base = load("sprint" if many else "quick")
    epochs = max(EARLY, min(LONGEST, round(SEEN / n)))
    kept = replace(base.train, epochs=epochs, precision=recipe.train.precision)
    data = replace(recipe.data, augment="light", strength=0.5, grow=0.6, order="", audit="off", unlabelled="")
    net = NetRecipe(name="fastnet", weights="none", width=0.25 if many else 0.5)
    return replace(recipe, task="auto", net=net, train=kept, data=data)
