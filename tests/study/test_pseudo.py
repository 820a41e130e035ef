"""Pseudo-labels on plain features: smoothing, what is agreed on, and a judgement that adopts what helps and nothing else."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from beholder.base.deadline import Deadline
from beholder.base.records import Score
from beholder.study.pseudo import Judgement, Pseudo, _surest, around, judged, labelled, smoothed
from beholder.tasks.multi import MULTI
from beholder.tasks.ordinal import ORDINAL
from beholder.tasks.single import SINGLE

NEVER = Deadline()


def clusters(n: int, seed: int, *, classes: int = 4, apart: float = 0.8, features: int = 60) -> tuple[Any, Any]:
    """Pictures as points: a class is a long, thin cloud, so that few labels say little of where it lies, and many points do."""
    draws = np.random.default_rng(seed)
    centres = np.random.default_rng(7).normal(0, apart / np.sqrt(features), (classes, features))
    y = np.arange(n) % classes
    x = centres[y] * 3 + draws.normal(0, 1, (n, features)) * np.linspace(2, 0.3, features)
    return x.astype(np.float32), y


def hot(y: Any, classes: int = 4) -> Any:
    return np.eye(classes, dtype=np.float32)[y]


def given(x: Any, y: Any, pool: Any, *, task: Any = SINGLE, decay: float = 0.01) -> Pseudo:
    whole = np.concatenate([x, pool])
    mine, theirs = np.arange(len(x)), np.arange(len(x), len(whole))
    even = smoothed(whole, around(whole), np.ones(len(whole), bool))
    return labelled(whole, even, y, mine, theirs, task=task, decay=decay)


def test_a_feature_is_averaged_with_known_neighbours_half_and_half_twice() -> None:
    x, near = np.array([[0.0], [4.0], [8.0]], np.float32), np.array([[1, 2], [0, 2], [1, 0]])
    assert smoothed(x, near, np.ones(3, bool)).ravel().tolist() == [3.75, 4.0, 4.25]
    assert smoothed(x, near, np.array([True, False, True])).ravel().tolist() == [4.0, 4.0, 4.0]
    assert smoothed(x, near, np.zeros(3, bool)).tolist() == x.tolist(), "without neighbours it stays as it is"


def test_what_is_not_known_changes_the_smoothed_features_of_no_other() -> None:
    x = clusters(60, 3)[0]
    known, moved = np.arange(60) < 40, x.copy()
    moved[~known] *= 2
    even, again = (smoothed(each, around(x), known) for each in (x, moved))
    assert np.array_equal(even[known], again[known])
    assert not np.array_equal(even[~known], again[~known])


def test_neighbours_are_others_the_nearest_by_cosine() -> None:
    near = around(clusters(200, 0)[0])
    assert near.shape == (200, 10)
    assert not (near == np.arange(200)[:, None]).any()
    assert around(np.array([[1.0, 0], [2, 0.1], [0, 3]], np.float32)).tolist() == [[1, 2], [0, 2], [1, 0]]


def test_what_both_heads_agree_on_is_labelled_and_the_rest_is_not() -> None:
    x = np.array([[-3.0, 0], [3, 0]], np.float32)
    pool = np.array([[-4, 0], [-2, 0], [4, 0], [2, 0], [-1, 0.2]], np.float32)
    whole, y = np.concatenate([x, pool]), hot(np.array([0, 1]), 2)
    even = whole.copy()
    even[-1, 0] = 1  # its neighbours are of the other class
    found = labelled(whole, even, y, np.arange(2), np.arange(2, 7), task=SINGLE, decay=0.01)
    assert found.rows.tolist() == [0, 1, 2, 3]
    assert found.hot.argmax(1).tolist() == [0, 0, 1, 1]


def test_the_surest_of_each_class_are_taken_of_none_more_than_of_the_median_class() -> None:
    classes = np.array([0] * 10 + [1] * 4 + [2] * 2)
    sure = np.linspace(0.4, 0.9, 16)
    rows = np.setdiff1d(np.arange(16), [9])
    assert _surest(rows, classes, sure, 0.5).tolist() == [7, 8, 12, 13, 15]
    assert _surest(rows[:0], classes, sure, 0.5).tolist() == []


@pytest.mark.parametrize("task", [MULTI, ORDINAL], ids=lambda task: task.name)
def test_several_labels_and_grades_get_what_their_task_answers(task: Any) -> None:
    x, y = clusters(200, 0)
    targets = np.maximum(hot(y), hot((y + 1) % 4)) if task is MULTI else hot(y)
    pool, truth = clusters(80, 1)
    found = given(x, targets, pool, task=task, decay=0.005)
    expected = np.maximum(hot(truth), hot((truth + 1) % 4)) if task is MULTI else hot(truth)
    assert len(found.rows) > 20
    assert set(found.hot.sum(1).tolist()) <= ({0.0, 1.0, 2.0, 3.0, 4.0} if task is MULTI else {1.0})
    assert (found.hot == expected[found.rows]).all(1).mean() > 0.7


def outcome(seed: int, pool: Any, *, labels: int = 40) -> Judgement:
    x, y = clusters(labels, seed)
    found, given = judged(x, hot(y), np.arange(labels) // 4 % 5, np.ones(labels, bool), pool, task=SINGLE, until=NEVER)
    assert found is not None
    assert found.n == labels
    assert given.hot.shape == (len(given.rows), 4)
    return found


def test_real_pictures_that_were_held_back_help_and_noise_is_refused() -> None:
    real = [outcome(seed, clusters(1200, 100 + seed)[0]) for seed in range(8)]
    gain = np.mean([found.after - found.before for found in real])
    assert gain > 0.03, [(found.before, found.after) for found in real]
    assert sum(found.helps for found in real) >= 3
    noise = [outcome(seed, np.random.default_rng(seed).normal(0, 3, (600, 60)).astype(np.float32)) for seed in range(8)]
    assert sum(found.helps for found in noise) == 0
    assert all(found.after >= found.before for found in (*real, *noise) if found.helps)


def test_the_precision_is_that_of_pictures_whose_labels_are_known() -> None:
    pool, truth = clusters(1200, 50)
    x, y = clusters(400, 3)
    found, given = judged(x, hot(y), np.arange(400) // 4 % 5, np.ones(400, bool), pool, task=SINGLE, until=NEVER)
    assert found is not None
    right = (given.hot.argmax(1) == truth[given.rows]).mean()
    assert found.precision.low - 0.03 < right < found.precision.high + 0.03


def test_pseudo_labels_follow_from_the_pictures_that_are_told_alone() -> None:
    pool, (x, y) = clusters(300, 9)[0], clusters(100, 4)
    own = np.arange(100) % 10 != 0
    fold = np.arange(100) // 4 % 5
    _, given = judged(x, hot(y), fold, own, pool, task=SINGLE, until=NEVER)
    assert len(given.rows)
    assert len(given.rows) == len(np.unique(given.rows))
    late, none = judged(x, hot(y), fold, own, pool, task=SINGLE, until=Deadline(0.0))
    assert late is None
    assert not len(none.rows)
    assert judged(x, hot(y), np.zeros(100, int), own, pool, task=SINGLE, until=NEVER)[0] is None
    assert judged(x, hot(y), fold, own, pool[:0], task=SINGLE, until=NEVER)[0] is None


@pytest.mark.parametrize(("won", "lost"), [(3, 0), (4, 0), (5, 0), (5, 1), (6, 1), (7, 1), (12, 5), (13, 4), (0, 9)])
def test_adopted_is_what_a_paired_test_calls_better(won: int, lost: int) -> None:
    found = Judgement(0.5, 0.6, 0.99, won, lost, 100, Score(0.9, 0.8, 0.95, 50))
    tie = math.comb(won + lost, won) / 2 ** (won + lost)
    p = binomtest(won, won + lost, alternative="greater").pvalue - tie / 2
    assert found.significant == (won > lost and p <= 0.05)
    assert found.telling == (won + lost >= 4)
    assert found.helps == found.significant
    assert not Judgement(0.5, 0.6, 0.9, won, lost, 100, found.precision).helps
