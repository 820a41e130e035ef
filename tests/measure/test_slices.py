"""Slices: what is cut, and that chance finds nothing more often than it is allowed to."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from beholder.measure.intervals import wilson
from beholder.measure.slices import judged, kinds, quarters


def test_quarters_are_quarters_and_ties_stay_together() -> None:
    found = quarters(np.arange(100))
    assert [len(rows) for rows in found.values()] == [25, 25, 25, 25]
    assert list(found) == ["lowest quarter", "second quarter", "third quarter", "highest quarter"]
    assert quarters(np.full(50, 3.0)) == {}
    two = quarters(np.array([1.0] * 60 + [2.0] * 20 + [np.nan] * 20))
    assert sorted(len(rows) for rows in two.values()) == [20, 60]
    assert quarters([np.nan, np.nan]) == {}


def test_kinds_are_words_the_most_frequent_first() -> None:
    found = kinds(["b", "a", "b", "c"], most=2)
    assert list(found) == ["b", "a"]
    assert found["b"].tolist() == [0, 2]
    assert kinds(["x", "x"]) == {}


def test_a_bad_slice_is_found_and_its_interval_is_widened() -> None:
    values = np.ones(400)
    values[:50] = np.arange(50) % 2
    values[50::30] = 0
    names = {f"slice {k}": np.arange(k * 50, k * 50 + 50) for k in range(8)}
    found = judged(values, names)
    assert (found[0].name, len(found)) == ("slice 0", 8)
    assert found[0].p < 0.001
    assert found[1].p > 0.2
    assert found[0].score.value == 0.5
    assert found[0].score.low < wilson(25, 50).low
    assert found[0].rest == pytest.approx(values[50:].mean())


def test_for_one_slice_p_is_fishers() -> None:
    values = np.array([1] * 30 + [0] * 10 + [1] * 95 + [0] * 5, np.float64)
    found = judged(values, {"one": np.arange(40)}, permutations=20_000)
    expected = stats.fisher_exact([[10, 30], [5, 95]], alternative="greater").pvalue
    assert found[0].p == pytest.approx(expected, rel=0.15)


def test_false_alarms_are_as_rare_as_promised() -> None:
    rng, alarms = np.random.default_rng(0), 0
    for trial in range(200):
        columns = rng.normal(size=(6, 200))
        names = {f"{k} {name}": rows for k, column in enumerate(columns) for name, rows in quarters(column).items()}
        found = judged(rng.random(200) < 0.9, names, permutations=200, seed=trial)
        alarms += found[0].p <= 0.05
    assert alarms / 200 < 0.09


def test_groups_that_fail_together_are_no_proof() -> None:
    clusters = np.arange(200) // 10
    values = (clusters != 3).astype(np.float64)
    slices = {"half": np.arange(100)}
    assert judged(values, slices)[0].p < 0.01
    assert judged(values, slices, clusters=clusters)[0].p > 0.2


def test_small_slices_are_not_looked_at() -> None:
    values = np.r_[np.zeros(9), np.ones(91)]
    assert judged(values, {"nine": np.arange(9), "all": np.arange(100)}) == []


def test_a_perfect_score_has_no_bad_slice() -> None:
    assert judged(np.ones(40), {"half": np.arange(20)})[0].p == 1.0


def test_a_slice_with_the_same_share_of_every_cluster_says_nothing_and_takes_nothing_from_the_others() -> None:
    rng = np.random.default_rng(0)
    clusters = np.repeat(np.arange(24), 4)
    values = (rng.random(96) < 0.8).astype(float)
    names = {"first frames": np.arange(0, 96, 4), "some tracks": np.arange(48)}
    even, some = sorted(judged(values, names, clusters=clusters), key=lambda one: one.name)
    assert even.p > 0.3
    assert some.p > 0.05
    values[:48] = np.arange(48) % 2
    values[48:] = 1
    found = judged(values, names, clusters=clusters)
    assert (found[0].name, found[1].name) == ("some tracks", "first frames")
    assert found[0].p < 0.01
    assert found[1].p > 0.3
