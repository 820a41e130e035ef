from __future__ import annotations

import numpy as np
import pytest

from beholder.base.deadline import Deadline
from beholder.measure.jackknife import left_out
from beholder.study.growth import DRAWS, HALVES, Fits, Grounds, grown, halved
from beholder.study.judge import Judge, prior_adjusted
from beholder.tasks.single import SINGLE

TARGETS = np.arange(400) % 4
UNITS = np.arange(400) // 4 * 4 + TARGETS  # each picture alone
PAIRS = np.where(np.arange(400) < 40, np.arange(400) % 20, np.arange(400))  # twenty pairs of one class


def grounds(units: np.ndarray = UNITS) -> Grounds:
    rows = np.arange(400)
    return Grounds(TARGETS, units, [(rows[rows % 5 != k], rows[rows % 5 == k]) for k in range(5)], seed=1)


class Clock:
    """A learner that knows the classes of which it was shown enough, and a clock on which a picture takes a second."""

    def __init__(self, enough: int = 1, *, only: int | None = None) -> None:
        self.time, self.seen = 0.0, []
        self.enough, self.only = enough, only

    def __call__(self, rows: np.ndarray, scored: np.ndarray) -> np.ndarray:
        self.time += len(rows)
        self.seen.append(rows)
        counts = np.bincount(TARGETS[rows], minlength=4)
        known = counts >= self.enough
        if self.only is not None:
            known = (np.arange(4) != self.only) | known
        answers = np.where(known[TARGETS[scored]], TARGETS[scored], scored // 4 % 4)
        return 20 * np.eye(4)[answers]

    def now(self) -> float:
        return self.time


def judge(at: Grounds) -> Judge:
    scored = at.scored
    return Judge(SINGLE, np.eye(4, dtype=np.float32)[TARGETS[scored]], left_out(at.units[scored], TARGETS[scored]))


def fits(learn: Clock, at: Grounds, monkeypatch: pytest.MonkeyPatch, seconds: float = np.inf) -> Fits:
    monkeypatch.setattr("beholder.study.growth.time.monotonic", learn.now)
    return Fits(learn, at, Deadline(seconds, learn.now))


def test_sizes_double_up_to_all_pictures() -> None:
    assert grounds().sizes(4) == [20, 40, 80, 160, 320]
    assert grounds().sizes(30) == [160, 320]


def test_subsets_are_nested_stratified_and_keep_units_together() -> None:
    at = grounds(PAIRS)
    small, large = (at.subset(0, size=size, draw=2) for size in (80, 160))
    assert set(small) < set(large) <= set(at.rounds[0][0])
    assert np.ptp(np.bincount(TARGETS[large])) <= 4
    pool = at.rounds[0][0]
    inside = np.isin(pool, large)
    torn = [unit for unit in range(20) if 0 < inside[PAIRS[pool] == unit].sum() < (PAIRS[pool] == unit).sum()]
    assert len(torn) <= 1
    assert set(at.subset(0, size=80, draw=3)) != set(small)
    assert (at.subset(0, size=80, draw=2) == small).all()


def test_a_curve_has_several_subsets_of_each_size_but_one_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    at = grounds()
    learn = Clock(enough=30)
    found = grown(fits(learn, at, monkeypatch), judge(at), at.sizes(4), until=Deadline())
    assert {size: len(rows) for size, rows in found.items()} == {20: DRAWS, 40: DRAWS, 80: DRAWS, 160: DRAWS, 320: 1}
    assert [round(float(rows[0][0]), 2) for rows in found.values()] == [0.25, 0.25, 0.25, 1.0, 1.0]
    assert all(not set(rows) & set(at.rounds[number % 5][1]) for number, rows in enumerate(learn.seen))


def test_a_short_budget_leaves_sizes_out_and_the_first_of_each_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    at = grounds()
    found = grown(fits(Clock(), at, monkeypatch, 1000), judge(at), at.sizes(4), until=Deadline())
    assert list(found) == [20, 40, 80]
    learn = Clock()
    late = grown(fits(learn, at, monkeypatch, 3700), judge(at), at.sizes(4), until=Deadline(3650, learn.now))
    assert list(late) == [20, 40, 80, 160, 320]
    assert [len(rows) for rows in late.values()] == [2, 2, 1, 1, 1]
    assert learn.time < 3650


def test_halving_the_class_that_lacks_pictures_costs_and_no_other_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """80 pictures of each class; the learner forgets class 2 with fewer than 60 of it."""
    at = grounds()
    learn = Clock(enough=60, only=2)
    found = halved(fits(learn, at, monkeypatch), judge(at), at.largest, 4)
    assert [found[k].pictures for k in range(4)] == [80, 80, 80, 80]
    assert found[2].drops.shape == (HALVES, 41)
    assert np.allclose(found[2].drops[:, 0], 0.25 * 0.75)  # a quarter is right by chance
    assert np.allclose(found[2].own[:, 0], 0.75)
    assert all(np.allclose(found[k].drops, 0) for k in (0, 1, 3))
    for whole, one, other in zip(learn.seen[:5], learn.seen[5:10], learn.seen[10:15], strict=True):  # both halves of class 0
        gone = [set(whole) - set(half) for half in (one, other)]
        assert gone[0] | gone[1] == {row for row in whole if TARGETS[row] == 0}
        assert not gone[0] & gone[1]


@pytest.mark.parametrize(("seconds", "told"), [(4000, []), (9000, [0, 1])])
def test_of_classes_for_which_there_is_no_time_nothing_is_said(
    seconds: float, told: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All rounds with all pictures take 1,600 s, and 2,080 s are counted on; both halves of a class take 2,800 s and more."""
    at = grounds()
    learn = Clock()
    ready = fits(learn, at, monkeypatch, seconds)
    ready.each = 1.0
    assert list(halved(ready, judge(at), at.largest, 4)) == told
    assert learn.time < seconds


def test_with_the_prior_adjusted_answers_are_as_frequent_as_the_classes() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(500, 3)) + np.array([2.0, 0.0, -1.0])
    found = prior_adjusted(logits, np.array([0.2, 0.3, 0.5]))
    p = np.exp(found) / np.exp(found).sum(axis=1, keepdims=True)
    assert np.allclose(p.mean(axis=0), [0.2, 0.3, 0.5], atol=1e-4)
    assert np.allclose(np.ptp(found - logits, axis=0), 0)  # one offset a class
    assert np.isfinite(prior_adjusted(logits, np.array([0.5, 0.5, 0.0]))).all()
