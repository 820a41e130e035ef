"""The choice for small pictures between a net from random weights and a pretrained one that enlarges them.

What a net from scratch learns in a first short run says how much there is left to gain: where it makes far fewer mistakes than
a head on the pretrained net's features, the pictures are of another kind than photos, or are nearly known already. Figures:
docs/LOG.md, "Small pictures".
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from beholder.base import events
from beholder.base.deadline import Deadline
from beholder.base.errors import Interrupted
from beholder.base.order import stratified
from beholder.base.recipe import Recipe
from beholder.base.records import Parts
from beholder.bundle.config import Tried
from beholder.learn.train import train

TRAINING, STEP = 0.6, 3.0
"""Share of the time left that training will have, and how many times as long as its features a step of a picture takes."""

FEWEST = 2.5
"""Epochs of fine-tuning, as reckoned beforehand, from which on a pretrained net that enlarges small pictures is worth its
steps: the clock gives half as many again, for steps of a batch are quicker than those that are timed."""

SLICE = 0.12
"""Share of the time left that the short run takes."""

FEWER = 2 / 3
"""Share of the head's mistakes: a net from scratch that makes no more in a short run is the better one in a long run."""

TESTED = 64
"""Pictures of the test part by which the short run plans its end; none of them is read."""


@dataclass(frozen=True)
class Short:
    """What a short run reached on validation, None where it has no score, and how many pictures that were."""

    score: float | None
    n: int
    began: float
    seconds: float


def epochs(needed: float, n: int, train: int, until: Deadline) -> float:
    """Return for how many epochs of fine-tuning there would be time, where the features of n pictures take `needed` seconds."""
    return TRAINING * until.left / max(1e-9, STEP * needed * train / n)


def short(parts: Parts, recipe: Recipe, until: Deadline) -> Short:
    """Train the net from scratch that `recipe` chooses for a while. Raises `Interrupted` where somebody asks to stop."""
    began, seconds = time.monotonic(), SLICE * until.left
    few = parts.test.take(stratified(parts.test.targets)[:TESTED])
    with events.only("warn", "progress"), _unsaid():
        asked = recipe.set(minutes=seconds / 60, order="")
        config = train(replace(parts, test=few), recipe=asked, whole_run=True).config
    return Short(config.valid_score, len(parts.valid), began, time.monotonic() - began)


def row(found: Short, head: float, start: float) -> Tried:
    """Return what is to be said of the short run beside the score of a head; start: of the whole run."""
    what = "a net from random weights, in a short run"
    outcome = "kept" if rather(found, head) else "the pretrained net has more to gain"
    return Tried("short run", what, found.score, found.n, round(found.began - start, 2), round(found.seconds, 2), outcome)


def rather(found: Short, head: float) -> bool:
    """Return whether the net from scratch is to be trained, rather than the pretrained one whose head has the score `head`."""
    return found.score is not None and bool(1 - found.score <= FEWER * (1 - head)) and bool(np.isfinite(head))


@contextmanager
def _unsaid() -> Iterator[None]:
    """Say of an interruption only that it was one: of the short run nothing is kept, and nothing is lost."""
    try:
        yield
    except Interrupted as error:
        raise Interrupted(exit_code=error.exit_code) from error
