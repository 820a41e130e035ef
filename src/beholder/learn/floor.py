"""What a trained net has to beat: a linear head on frozen features, or, from random weights, a regression on coarse pixels."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.fields import NetRecipe
from beholder.base.order import stratified
from beholder.bundle.config import Baseline
from beholder.data.cache import Pixels
from beholder.data.folds import folds
from beholder.duplicates.near import ties
from beholder.learn.material import Material
from beholder.learn.monitors import Best
from beholder.learn.prepare import Prepared
from beholder.learn.probe import Head, features_name, fitted, refitted, seen
from beholder.learn.validate import score
from beholder.machine.placement import evaluating
from beholder.machine.stop import Stop
from beholder.nets.build import Created, create
from beholder.nets.head import fit, give, takes_head
from beholder.nets.pretrained import weights_hash
from beholder.runtime.features import Run
from beholder.runtime.inference import runner

I64 = npt.NDArray[np.int64]

HEAD = 0.6
"""Share of the time left that the features behind a head may take: the test still has to be paid for."""

REFITTED, FOLDS = 100_000_000, 5
"""Numbers (pictures × features × outputs) up to which a head also learns from the validation part: it is worth 0.7 points where
pictures are few, and a second or two. It is judged by heads that have not seen the fold of a picture, of so many folds."""

FEW = 1024
"""Values of a picture up to which the regression on pixels is given all of them."""

SIDE = 16
"""Side in pixels to which pictures are averaged for the regression on pixels."""

FIRST, MOST, SHARE = 2000, 8000, 0.05
"""Training pictures that the regression on pixels is fitted on at first and at most, and its share of the time left."""

DECAY = 1e-3
"""Strength of its L2 penalty."""


@dataclass(frozen=True)
class Floor:
    """What a net is measured against.

    score: on validation, as that of the net; trained, chosen: pictures behind it
    created: the net that says the same, which takes the place of one that had no time to learn; None: it is that net's own head
    """

    name: str
    score: float
    trained: int
    chosen: int
    created: Created | None = None

    def told(self, net: float | None, *, kept: bool = False) -> Baseline:
        """Return what a bundle's config says of it; net: the net's score; kept: whether the floor takes its place."""
        return Baseline(self.name, self.score, self.trained, self.chosen, net, kept)


def headed(prepared: Prepared, stop: Stop, until: Deadline) -> Head | None:
    """Return a linear head on frozen features, fitted on as many pictures as there is time for; None where there can be none.

    That is for a net without a linear head with a bias, or when `stop` is raised before there are enough pictures.
    """
    net, asked, task = prepared.created.net, prepared.recipe.net, prepared.task
    train, valid = prepared.train, prepared.valid
    if not takes_head(net):
        return None
    digest = weights_hash(asked.name, asked.weights)
    name = features_name(asked, digest, prepared.policy, prepared.precision, side=asked.enlarge)
    end = until.within(HEAD * until.left) if not until.none else until
    share = len(valid.pixels) / (len(valid.pixels) + len(train.pixels))
    timed = _Timed(prepared, end)

    def features(material: Material, end: Deadline) -> tuple[I64, Tensor]:
        late, least = lambda: bool(stop) or end.passed, max(2 * len(prepared.classes), 16)
        return seen(material.pictures, prepared.policy, timed, prepared.normal, name=name, least=least, enough=late)

    with stop.held(), evaluating(net):  # what was computed so far is remembered; the first pays for the choice of an engine
        rows, x = features(train, end if end.none else end.within((1 - share) * end.left))
        there, z = features(valid, end)
    stop.check()
    if not len(there) or len(rows) < 2:
        return None
    if len(rows) < len(train.pixels):
        prepared.said(f"there is time for the features of {len(rows):,} of {len(train.pixels):,} training pictures")
    learnt, judged = (x, prepared.mixed[rows]), (z, valid.targets[there])
    how: dict[str, Any] = {"task": task, "weights": prepared.weights.cpu() if prepared.weights is not None else None}

    def worth(logits: Tensor, goal: Tensor) -> float:
        return score(logits, goal, task)

    found = fitted(learnt, judged, there, worth, **how, enough=lambda: bool(stop) or end.passed)
    if (len(x) + len(z)) * x.shape[1] * found.weight.shape[0] <= REFITTED and len(z) >= FOLDS and not end.passed:
        found = refitted(found, learnt, judged, _folds(valid, there, prepared.recipe.seed), **how)
    return replace(found, each=float(np.median(timed.took)) if timed.took else 0.0, features=z)


def _folds(valid: Material, rows: I64, seed: int) -> I64:
    """Return folds of the validation pictures at `rows`, int64 (M,), in which duplicates and groups stay together."""
    pictures, twins, _ = ties(valid.pictures.take(rows))
    return folds(pictures, count=FOLDS, seed=seed, twins=twins)


class _Timed:
    """The way to a net's features, chosen at the first sample of pictures. took: seconds a picture, of each batch."""

    def __init__(self, prepared: Prepared, end: Deadline) -> None:
        self._prepared, self._end = prepared, end
        self._run: Run | None = None
        self.took: list[float] = []

    def __call__(self, pixels: Pixels) -> Run:
        at = self._prepared
        run = self._run
        if run is None:
            pictures = len(at.valid.pixels) + len(at.train.pixels)
            dtype, seconds = at.precision.dtype, self._end.left
            run = self._run = runner(at.created.net, pixels, at.normal, dtype, pictures=pictures, seconds=seconds)

        def each(images: Tensor) -> Tensor:
            began = time.monotonic()
            found = run(images)
            self.took.append((time.monotonic() - began) / max(1, len(images)))
            return found

        return each


def offered(prepared: Prepared, head: Head, later: Material, rows: I64, best: Best) -> tuple[Floor, Tensor]:
    """Give the net its fitted head and offer it to `best` by its score on the validation pictures `later`; return the floor,
    and what it says of them, logits (N, W).

    rows: positions of `later` in the validation part, all of them behind the head
    """
    place = np.searchsorted(head.rows, rows)
    logits = head.logits[torch.from_numpy(place)]
    loss, reached = prepared.task.loss(logits, later.targets), score(logits, later.targets, prepared.task)
    give(prepared.created.net, head.weight, head.bias)
    best.offer(prepared.created.net, score=reached, loss=float(loss), epoch=-1)
    prepared.said(f"a linear head on frozen features reaches {reached:.4f} on validation; training has to beat it")
    return Floor("a linear head on frozen features", reached, head.trained, len(rows)), logits


def on_pixels(prepared: Prepared, later: Material, until: Deadline, *, instead: bool = False) -> Floor:
    """Return a logistic regression on coarse pixels, as good as it is on the validation pictures `later`.

    A net from random weights that is no better has learnt nothing that is worth a net. until: when it should be over
    instead: there will be no net, so it is fitted on every picture that there is time for
    """
    order = stratified(prepared.train.pictures.targets)
    rows = np.sort(stratified(later.pictures.targets)[:MOST])
    z, goal = _coarse(later.pixels, rows), later.targets[rows]
    most = len(order) if instead else min(len(order), FIRST if until.none else MOST)
    count = min(most, FIRST)
    while True:  # on more and more pictures, as long as the next fit is likely to end in time
        some, began = np.sort(order[:count]), until.now()
        x = _coarse(prepared.train.pixels, some)
        mean, std = x.mean(), x.std().clamp(min=1e-4)
        weight, bias = fit((x - mean) / std, prepared.train.targets[some], task=prepared.task, decay=DECAY)
        if count >= most or until.left < 3 * (until.now() - began):
            break
        count = min(2 * count, most)
    reached = score(((z - mean) / std) @ weight.T + bias, goal, prepared.task)
    events.note("floor", what="a logistic regression on coarse pixels", valid_score=reached)
    net = _net(prepared, weight / std, bias - (weight * (mean / std)).sum(1))
    return Floor("a logistic regression on coarse pixels", reached, count, len(rows), net)


def _net(prepared: Prepared, weight: Tensor, bias: Tensor) -> Created:
    """Return the net `logistic` that gives, for normalised pictures, what a regression on coarse pixels in 0..1 says of them.

    weight: (W, C·S·S) for averages over cells; bias: (W,). Each pixel has its share of its cells' weights.
    """
    policy, normal, classes = prepared.policy, prepared.normal, len(weight)
    channels, height, width = policy.channels, policy.height, policy.width
    pixels = torch.zeros(classes, channels, height, width, requires_grad=True)
    cells = F.adaptive_avg_pool2d(pixels, _cells(channels, height, width))
    (full,) = torch.autograd.grad(cells, pixels, weight.reshape(cells.shape))
    mean, std = (torch.tensor(values).reshape(1, -1, 1, 1) for values in (normal.mean, normal.std))
    created = create(NetRecipe(name="logistic", weights="none"), channels=channels, size=(height, width), classes=classes)
    give(created.net, (full * std).flatten(1), bias + (full * mean).sum(dim=(1, 2, 3)))
    return created


def _cells(channels: int, height: int, width: int) -> tuple[int, int]:
    """Return into how many rows and columns pixels are averaged: their own where they are few."""
    if channels * height * width <= FEW:
        return height, width
    return min(SIDE, height), min(SIDE, width)


def _coarse(pixels: Pixels, rows: I64) -> Tensor:
    """Return pixels averaged over cells, float32 (N, C·h·w) in 0..1."""
    parts, size = [], _cells(*pixels.shape)
    for at in range(0, len(rows), 256):
        images = torch.from_numpy(pixels.take(rows[at : at + 256])).float() / 255
        parts.append(F.adaptive_avg_pool2d(images, size).flatten(1))
    return torch.cat(parts)
