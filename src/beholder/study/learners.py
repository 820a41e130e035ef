"""Ways to learn from some of the pictures and answer for others: a head on frozen features, or a whole training run."""

from __future__ import annotations

import numpy as np
import torch

from beholder.base import events
from beholder.base.arrays import F32, I64
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, Pictures
from beholder.data.cache import cached
from beholder.data.folds import folds
from beholder.learn.material import targets_of
from beholder.learn.probe import DECAYS
from beholder.learn.train import train
from beholder.machine.pace import restored
from beholder.nets.head import fit
from beholder.runtime.inference import outputs
from beholder.study.folded import SMALL
from beholder.study.growth import Learner
from beholder.tasks.task import Task

TENTH = 10
"""One picture in so many of those to learn from chooses the weights of a training run."""


def by_head(features: F32, pictures: Pictures, task: Task, *, balanced: bool) -> Learner:
    """Return the learner that fits the head of `train`'s first step: a logistic regression on features, float32 (N, F).

    pictures: N, as the task learns them; balanced: whether classes weigh alike
    """
    x, y = torch.from_numpy(features), targets_of(pictures)

    def learn(rows: I64, scored: I64) -> F32:
        counts = pictures.take(rows).counts()
        weights = torch.from_numpy(task.balance(counts, len(rows))).float() if balanced else None
        with restored():
            if rows.size * x.shape[1] < SMALL:
                torch.set_num_threads(1)
            weight, bias = fit(x[rows], y[rows], task=task, decay=DECAYS[0], weights=weights)
        return np.asarray((x[scored] @ weight.T + bias).numpy())

    return learn


def by_training(pictures: Pictures, recipe: Recipe) -> Learner:
    """Return the learner that trains as the recipe says, on nine tenths of what it is given; the rest chooses the weights.

    pictures: with digests, all readable; the pictures to score are seen by nothing before.
    """

    def learn(rows: I64, scored: I64) -> F32:
        theirs = pictures.take(rows)
        tenth = folds(theirs, count=TENTH, seed=recipe.seed) == 0
        parts = Parts(theirs.take(np.flatnonzero(~tenth)), theirs.take(np.flatnonzero(tenth)), pictures.take(scored))
        with events.only("warn", "progress"):
            bundle = train(parts, recipe=recipe, whole_run=True)
            logits, _ = outputs(bundle, cached(parts.test, bundle.policy))
        return logits

    return learn
