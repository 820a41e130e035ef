"""What is settled about labels: planted noise at known shares, clean sets, and how true the probability is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from tests.quality.checks.test_labels import judged

from beholder.quality.checks import Marks
from beholder.quality.checks.certainty import settled
from beholder.quality.checks.labels import LABEL, SURE, SURE_OF_TWO, beliefs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def wrong(p: Floats, given: Ints) -> Floats:
    return np.asarray(1 - settled(p, given)[np.arange(len(given)), given])


def erring(n: int, *, classes: int, flipped: float, seed: int) -> tuple[Floats, Ints, Ints]:
    """The same of a net like those of photos: it errs in one picture of seven, mostly between the classes of a pair."""
    rng = np.random.default_rng(seed)
    rows, true = np.arange(n), rng.integers(0, classes, n)
    logits = rng.normal(0, 1, (n, classes))
    logits[rows, true] += rng.normal(4.0, 2.2, n)
    logits[rows, true ^ 1] += rng.normal(0.5, 1.2, n)
    p = np.exp(1.2 * logits)
    given = np.where(rng.random(n) < flipped, (true + rng.integers(1, classes, n)) % classes, true)
    return p / p.sum(axis=1, keepdims=True), given, true


def suggestions(marks: Marks, least: float = 0.0) -> Ints:
    return np.array(sorted(row for row in marks.suggest if marks.scores[row] >= least), np.int64)


@pytest.mark.parametrize("classes", [2, 6, 10])
@pytest.mark.parametrize("n", [300, 1500, 6000])
def test_of_right_labels_at_most_one_in_five_hundred_is_doubted_aloud(n: int, classes: int) -> None:
    made = [erring(n, classes=classes, flipped=0.0, seed=seed) for seed in range(4)]
    found = [judged(given, p) for p, given, _ in made]
    assert sum(len(suggestions(marks)) for marks in found) <= 4 * n / 500
    assert np.mean([np.mean(marks.scores >= LABEL.limit) for marks in found]) < 0.05


@pytest.mark.parametrize("flipped", [0.01, 0.03, 0.1])
def test_what_is_suggested_at_ninety_per_cent_is_right_and_what_is_wrong_is_found(flipped: float) -> None:
    right, sure, found, turned = 0, 0, 0, 0
    for seed in range(4):
        p, given, true = erring(1500, classes=10, flipped=flipped, seed=100 + seed)
        marks, bad = judged(given, p), given != true
        assert marks.relabel is not None
        rows = suggestions(marks, 0.9)
        right += int(np.where(marks.relabel[rows] >= 0, marks.relabel[rows] == true[rows], bad[rows]).sum())
        sure += len(rows)
        found += int((marks.scores[bad] >= LABEL.limit).sum())
        turned += int(bad.sum())
        assert (marks.scores[beliefs(p, given).wrong >= 0.5] >= LABEL.limit).all(), "no suspect is lost"
    assert sure >= 0.05 * turned or flipped < 0.02, "and something is suggested"
    assert right >= 0.8 * sure
    assert found >= (0.6 if flipped < 0.02 else 0.75) * turned


@pytest.mark.parametrize("flipped", [0.003, 0.01, 0.03, 0.1, 0.3])
def test_the_score_is_as_probable_as_it_says(flipped: float) -> None:
    made = [erring(3000, classes=6, flipped=flipped, seed=200 + seed) for seed in range(4)]
    said = np.concatenate([wrong(p, given) for p, given, _ in made])
    bad = np.concatenate([given != true for _, given, true in made])
    assert said.sum() <= 1.3 * bad.sum() + 0.003 * len(bad)
    assert said.sum() >= 0.7 * bad.sum()
    for low, high in ((0.3, 0.6), (0.6, 0.9), (0.9, 1.01)):
        rows = (said >= low) & (said < high)
        if rows.sum() >= 40:
            assert bad[rows].mean() > said[rows].mean() - 0.15, (low, high)


def test_in_small_sets_a_wrong_label_is_for_a_person_to_look_at() -> None:
    found, wrongly = 0, 0
    for seed in range(10):
        p, given, true = erring(80, classes=4, flipped=0.0, seed=300 + seed)
        sure = int(np.argmax(p[np.arange(80), true]))
        given[sure] = (given[sure] + 2) % 4
        marks = judged(given, p)
        found += bool(marks.scores[sure] >= LABEL.limit)
        wrongly += len(set(marks.suggest) - {sure})
    assert found >= 8
    assert wrongly <= 4


def test_labels_that_are_turned_to_the_next_class_are_for_a_person_to_look_at() -> None:
    p, given, _ = erring(1500, classes=6, flipped=0.0, seed=13)
    bad = np.random.default_rng(0).random(1500) < 0.1
    given[bad] = (given[bad] + 1) % 6
    marks = judged(given, p)
    assert np.mean(marks.scores[bad] >= LABEL.limit) > 0.65
    rows = suggestions(marks)
    assert bad[rows].sum() >= 0.75 * len(rows)


def test_of_two_classes_one_is_suggested_only_when_it_is_nearly_certain() -> None:
    p, given, _ = erring(3000, classes=2, flipped=0.1, seed=14)
    marks = judged(given, p)
    rows = suggestions(marks)
    assert len(rows)
    assert marks.scores[rows].min() >= SURE_OF_TWO
    assert (np.delete(marks.scores, rows) >= SURE).any(), "of three classes it would be suggested"


def test_order_of_classes_makes_no_difference() -> None:
    p, given, _ = erring(800, classes=4, flipped=0.2, seed=5)
    turned = np.array([2, 0, 3, 1])  # new class k is old class turned[k]
    assert np.allclose(wrong(p, given), wrong(p[:, turned], np.argsort(turned)[given]))


def test_a_net_that_knows_nothing_settles_nothing() -> None:
    rng = np.random.default_rng(0)
    given = rng.choice(4, 2000, p=[0.7, 0.1, 0.1, 0.1])
    p = np.tile([0.7, 0.1, 0.1, 0.1], (2000, 1)) * rng.uniform(0.9, 1.1, (2000, 4))
    assert (wrong(p / p.sum(axis=1, keepdims=True), given) < 0.5).all()


def test_what_is_impossible_by_the_net_is_no_error() -> None:
    p = np.tile([1.0, 0.0, 0.0], (60, 1))
    p[20:40], p[40:] = [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]
    given = np.repeat([0, 1, 2], 20)
    given[0] = 1
    assert np.isfinite(settled(p, given)).all()
    assert int(np.argmax(wrong(p, given))) == 0
