"""Pseudo-labels: labels for pictures that have none, where heads on frozen and on smoothed features agree on them.

Smoothed features are averages over the nearest neighbours, labelled or not: what is alike is told alike. Whether pseudo-labels
help is judged on labelled pictures that nothing behind them has learnt from.
Sources: D.-H. Lee, Pseudo-label: the simple and efficient semi-supervised learning method for deep neural networks (2013);
smoothing: F. Wu et al., Simplifying graph convolutional networks, ICML (2019); that it may do harm: A. Oliver et al., Realistic
evaluation of deep semi-supervised learning algorithms, NeurIPS (2018).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch

from beholder.base.arrays import F32, F64, I64, Bools
from beholder.base.deadline import Deadline
from beholder.base.records import Score
from beholder.machine.pace import restored
from beholder.measure.comparison import mcnemar
from beholder.measure.intervals import wilson
from beholder.measure.neighbours import nearest, unit
from beholder.measure.optimism import better
from beholder.nets.head import regressed
from beholder.study.folded import COMPONENTS, DECAYS, components
from beholder.tasks.task import Task

NEIGHBOURS, STEPS = 10, 2
"""Neighbours over which features are averaged, and how often."""

SHARE = 0.7
"""Share of what is agreed on that is labelled, the surest of each class (docs/LOG.md)."""

SURE, ALPHA = 0.95, 0.05
"""Share of resamples in which pseudo-labels have to be better by the objective, and the level of the paired test."""

LEAST = 2
"""Folds, and classes that each of them has, below which nothing can be judged."""


@dataclass(frozen=True, eq=False)
class Pseudo:
    """Pseudo-labels of M of the pictures without labels: rows int64 (M,), rising; hot: targets float32 (M, K)."""

    rows: I64
    hot: F32


@dataclass(frozen=True, eq=False)
class Judgement:
    """What pseudo-labels do for a head, on N labelled pictures in folds.

    before, after: the objective without and with them; ahead: share of resamples in which it is better with them
    won, lost: pictures that are right with them only, and without them only
    precision: share of right ones among labelled pictures that are treated as if they had no label, and are given one
    """

    before: float
    after: float
    ahead: float
    won: int
    lost: int
    n: int
    precision: Score

    @property
    def helps(self) -> bool:
        """Return whether they help for certain."""
        return self.ahead >= SURE and self.after > self.before and self.significant

    @property
    def telling(self) -> bool:
        """Return whether a paired test of so many changed answers can tell anything: if all were for the better, it would."""
        return bool(_p(self.won + self.lost, 0) <= ALPHA)

    @property
    def significant(self) -> bool:
        """Return whether the answers that changed were for the better by McNemar's test (mid-p), one-sided."""
        return self.won > self.lost and bool(_p(self.won, self.lost) <= ALPHA)


def _p(won: int, lost: int) -> float:
    return float(mcnemar(lost, won)) / 2


def smoothed(x: F32, near: I64, known: Bools) -> F32:
    """Return features (N, F) averaged with those of their neighbours, half and half, `STEPS` times.

    near: int64 (N, k), the neighbours of each; known: bool (N,), those that count as neighbours
    """
    weights = known[near].astype(np.float32)
    weights *= 0.5 / np.maximum(weights.sum(axis=1, keepdims=True), 1)
    for _ in range(STEPS):
        step = x * (1 - weights.sum(axis=1, keepdims=True))
        for place, weight in zip(near.T, weights.T, strict=True):
            step += x[place] * weight[:, None]
        x = step
    return x


def around(x: F32) -> I64:
    """Return the nearest neighbours of each row of x, (N, F), among the others, int64 (N, k)."""
    rows = unit(x)
    return nearest(rows, rows, NEIGHBOURS, itself=np.arange(len(x)))[1]


def labelled(x: F32, even: F32, y: F32, mine: I64, theirs: I64, *, task: Task, decay: float) -> Pseudo:
    """Return pseudo-labels for those of `theirs` on which two heads agree, the surest of each class; rows are places in it.

    x, even: features float32 (N, F), as they are and smoothed; y: targets (M, K) of the rows `mine`, int64 (M,)
    decay: of the heads
    """
    p, plain = (task.family.probabilities(_logits(z[mine], y, z[theirs], task=task, decay=decay)) for z in (even, x))
    answers, others = task.family.answers(p), task.family.answers(plain)
    same = np.asarray((answers == others).all(axis=1) if task.several else answers == others, bool)
    rows = _surest(np.flatnonzero(same), task.family.foremost(p), task.family.certainty(p), SHARE)
    hot = answers[rows].astype(np.float32) if task.several else np.eye(y.shape[1], dtype=np.float32)[answers[rows]]
    return Pseudo(rows, hot)


def _surest(rows: I64, classes: I64, sure: F64, share: float) -> I64:
    """Return the surest rows of each class, a share of them, rising; of a class with more than the median has, as of that one.

    rows: int64 (M,), of answers with their classes, int64 (P,), and how sure they are, float64 (P,)
    """
    names, counts = np.unique(classes[rows], return_counts=True)
    cap, found = float(np.median(counts)) if len(counts) else 0.0, [np.zeros(0, np.int64)]
    for name, count in zip(names.tolist(), counts.tolist(), strict=True):
        mine = rows[classes[rows] == name]
        found.append(mine[np.argsort(-sure[mine], kind="stable")[: math.ceil(share * min(count, cap))]])
    return np.sort(np.concatenate(found))


def _logits(x: F32, y: F32, pool: F32, *, task: Task, decay: float) -> F32:
    """Return what a head fitted on x, (N, F), says of the pool, logits float32 (P, W)."""
    weight, bias = regressed(torch.from_numpy(x), torch.from_numpy(y), task=task, decay=decay, steps=40)
    return np.asarray((torch.from_numpy(pool) @ weight.T + bias).numpy())


def judged(x: F32, y: F32, fold: I64, own: Bools, pool: F32, *, task: Task, until: Deadline) -> tuple[Judgement | None, Pseudo]:
    """Return what pseudo-labels do for a head in cross-fitting, None where there is no time or too little, and those to give.

    x: features float32 (N, F) of labelled pictures with targets y, (N, K), in folds, int64 (N,); pool: (P, F) of the others
    own: bool (N,), the pictures that the pseudo-labels to give follow from
    In each fold the heads, the smoothing and the pseudo-labels learn from the other folds alone.
    """
    with restored():
        torch.set_num_threads(1)  # many small products: threads that wait for each other cost more on a busy machine
        return _judged(x, y, fold, own, pool, task=task, until=until)


def _judged(
    x: F32, y: F32, fold: I64, own: Bools, pool: F32, *, task: Task, until: Deadline
) -> tuple[Judgement | None, Pseudo]:
    whole = components(torch.from_numpy(np.concatenate([x, pool])), COMPONENTS).numpy()
    n, places = len(x), np.arange(len(whole))
    names = np.unique(fold).tolist()
    given = Pseudo(np.zeros(0, np.int64), np.zeros((0, y.shape[1]), np.float32))
    if len(names) < LEAST or not len(pool) or (y[own].sum(axis=0) > 0).sum() < LEAST:
        return None, given
    near, x = around(whole), whole[:n]
    tried = [_out_of_fold(x, y, fold, task=task, decay=decay, names=names[:1]) for decay in DECAYS]
    held = fold == names[0]
    losses = [float(task.loss(torch.from_numpy(each[held]), torch.from_numpy(y[held]))) for each in tried]
    decay = DECAYS[int(np.argmin(losses))]
    before, after = _out_of_fold(x, y, fold, task=task, decay=decay, names=names), np.full_like(tried[0], np.nan)
    hits, cases = 0.0, 0

    def said(inside: Bools, *asked: I64) -> list[Pseudo]:
        even = smoothed(whole, near, np.concatenate([inside, np.ones(len(pool), bool)]))
        return [labelled(whole, even, y[inside], places[:n][inside], each, task=task, decay=decay) for each in asked]

    for name in names:
        if until.passed:
            return None, given
        inside, out = fold != name, fold == name
        found, checked = said(inside, places[n:], places[:n][out])
        learnt = np.concatenate([x[inside], whole[n:][found.rows]]), np.concatenate([y[inside], found.hot])
        after[out] = _logits(*learnt, x[out], task=task, decay=decay)
        hits += float((checked.hot == y[out][checked.rows]).all(axis=1).sum())
        cases += len(checked.rows)
    precision = wilson(hits, cases) if cases else Score(float("nan"), float("nan"), float("nan"), 0)
    return _judgement(before, after, y, precision, task), said(own, places[n:])[0]


def _judgement(before: F32, after: F32, y: F32, precision: Score, task: Task) -> Judgement:
    truth = task.targets(y)
    right = [_right(each, truth, task) for each in (before, after)]
    won, lost = int((right[1] > right[0]).sum()), int((right[1] < right[0]).sum())
    ahead = better(before, after, y, task.objective)
    return Judgement(task.objective(before, y), task.objective(after, y), ahead, won, lost, len(y), precision)


def _right(logits: F32, truth: np.ndarray, task: Task) -> np.ndarray:
    return np.asarray(task.family.right(task.family.probabilities(logits), truth), np.float64)


def _out_of_fold(x: F32, y: F32, fold: I64, *, task: Task, decay: float, names: list[int]) -> F32:
    """Return the logits float32 (N, W) of heads fitted on the other folds; rows of NaN for folds that are not in `names`."""
    found = np.full((len(x), task.width(y.shape[1])), np.nan, np.float32)
    for name in names:
        out = fold == name
        found[out] = _logits(x[~out], y[~out], x[out], task=task, decay=decay)
    return found
