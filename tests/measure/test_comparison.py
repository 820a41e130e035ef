"""Comparisons against statsmodels and enumeration, and what they promise: few false alarms, and the power that they name."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.records import Score
from beholder.measure import comparison
from beholder.measure.comparison import apart, difference, flips, holm, mcnemar, needed, paired, power
from beholder.measure.intervals import wilson

statsmodels = pytest.importorskip("statsmodels.stats.contingency_tables", reason="statsmodels is not installed")


@given(st.integers(0, 60), st.integers(0, 60))
def test_the_exact_test_is_statsmodels(lost: int, won: int) -> None:
    expected = statsmodels.mcnemar([[7, lost], [won, 3]], exact=True).pvalue if lost + won else 1.0
    assert mcnemar(lost, won, mid=False) == pytest.approx(expected, abs=1e-9)
    assert mcnemar(lost, won) <= mcnemar(lost, won, mid=False) + 1e-12


def test_mid_p_is_the_published_one() -> None:
    # Fagerland et al. 2013, table 2: 1 and 7 discordant pairs, exact p 0.0703, mid-p 0.0391.
    assert float(mcnemar(1, 7, mid=False)) == pytest.approx(0.0703, abs=5e-5)
    assert float(mcnemar(1, 7)) == pytest.approx(0.0391, abs=5e-5)


@given(st.lists(st.integers(-3, 3), min_size=1, max_size=9))
def test_flips_count_all_signs(sums: list[int]) -> None:
    change = np.concatenate([np.full(abs(s), np.sign(s)) for s in sums] + [np.zeros(1, int)]).astype(np.int64)
    clusters = np.concatenate([np.full(abs(s), i) for i, s in enumerate(sums)] + [[len(sums)]]).astype(np.int64)
    sizes = [abs(s) for s in sums if s]
    totals = np.array(
        [abs(sum(a * b for a, b in zip(sizes, signs, strict=True))) for signs in product((1, -1), repeat=len(sizes))]
    )
    seen = abs(sum(sums))
    expected = (totals > seen).mean() + (totals == seen).mean() / 2 if seen else 1.0
    assert flips(change, clusters) == pytest.approx(expected)


def test_flips_of_single_pictures_are_mcnemars() -> None:
    change = np.repeat([-1, 0, 1], [9, 80, 21]).astype(np.int64)
    assert flips(change) == pytest.approx(float(mcnemar(9, 21)))
    assert flips(change, np.arange(110)) == pytest.approx(float(mcnemar(9, 21)))


def test_the_interval_is_tangos() -> None:
    # Tango 1998, table II, cross-over study of soft contact lenses: a 43, b 0, c 1, d 0, and the ends he gives.
    score = difference(1, 0, 44)
    assert (score.low, score.high) == pytest.approx((-0.118, 0.060), abs=0.002)
    # Where 0 is an end of the interval, the score of McNemar's test is the normal quantile.
    assert difference(40, 62, 1000, level=0.97057).low == pytest.approx(0, abs=1e-4)
    assert difference(3, 12, 100).value == pytest.approx(0.09)
    mirrored = difference(12, 3, 100)
    assert (mirrored.low, mirrored.high) == pytest.approx((-difference(3, 12, 100).high, -difference(3, 12, 100).low))


def test_holm_is_statsmodels() -> None:
    multitest = pytest.importorskip("statsmodels.stats.multitest")
    for seed in range(20):
        p = np.random.default_rng(seed).random(seed + 1) ** 3
        assert holm(p.tolist()) == pytest.approx(multitest.multipletests(p, method="holm")[1].tolist())
    assert holm([]) == []


def test_false_alarms_are_at_most_five_in_a_hundred() -> None:
    rng = np.random.default_rng(0)
    for n, share in ((100, 0.1), (400, 0.05), (1000, 0.2)):
        changed = rng.binomial(n, share, 20_000)
        won = rng.binomial(changed, 0.5)
        alarms = (mcnemar(changed - won, won) <= 0.05).mean()
        assert alarms <= 0.052
        assert alarms > 0.01


@pytest.mark.parametrize(("n", "lost", "won"), [(300, 0.02, 0.06), (1000, 0.05, 0.08), (60, 0.1, 0.4)])
def test_power_is_what_simulation_finds(n: int, lost: float, won: float) -> None:
    drawn = np.random.default_rng(1).multinomial(n, [lost, won, 1 - lost - won], size=20_000)
    found = (mcnemar(drawn[:, 0], drawn[:, 1]) <= 0.05).mean()
    assert power(n, lost, won) == pytest.approx(found, abs=0.012)


def test_needed_gives_the_power_that_is_aimed_at() -> None:
    n = needed(0.04, 0.06)
    assert n is not None
    assert power(n, 0.04, 0.06) == pytest.approx(0.8, abs=0.01)
    twice = needed(0.04, 0.06, effect=2.0)
    assert twice is not None
    assert twice == pytest.approx(2 * n, abs=1)
    assert needed(0.05, 0.05) is None
    assert needed(0.1, 0.1 + 1e-6) is None


def test_ten_photos_of_one_person_are_one_difference() -> None:
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(40), 10)
    first, second = (np.repeat(rng.random(40) < share, 10) for share in (0.6, 0.8))
    loose, grouped = paired(first, second), paired(first, second, clusters=person)
    assert grouped.effect == pytest.approx(10, rel=0.1)
    assert grouped.p > loose.p
    assert grouped.difference.high - grouped.difference.low > 2 * (loose.difference.high - loose.difference.low)
    assert grouped.difference.value == loose.difference.value
    only = int((first & ~second).sum()), int((second & ~first).sum())
    assert (loose.first_only, loose.second_only) == (grouped.first_only, grouped.second_only) == only
    assert comparison.POWER == 0.8


def test_equal_recognisers_are_not_told_apart() -> None:
    same = paired(np.ones(20, bool), np.ones(20, bool))
    assert (same.p, same.needed, same.difference.value) == (1.0, None, 0.0)
    assert same.difference.low < 0 < same.difference.high


def test_squares_are_added_as_newcombe_did() -> None:
    # Newcombe 1998 (unpaired, method 10 of independent shares): 56/70 and 48/80, difference 0.2, 0.0524 to 0.3339.
    score = apart(wilson(48, 80), wilson(56, 70), 0.0)
    assert (score.value, score.low, score.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    assert apart(wilson(9, 9), wilson(9, 9), 0.0).low < 0
    close = apart(wilson(48, 80), wilson(50, 80), 0.9)
    assert close.high - close.low < 0.5 * (apart(wilson(48, 80), wilson(50, 80), 0.0).high - close.low)


def test_of_scores_without_an_interval_the_difference_has_none() -> None:
    few = Score(0.7, math.nan, math.nan, 40)
    for first, second in ((few, Score(0.8, 0.7, 0.9, 40)), (Score(0.6, 0.5, 0.7, 40), few), (few, few)):
        found = apart(first, second, 0.3)
        assert found.value == pytest.approx(second.value - first.value)
        assert math.isnan(found.low)
        assert math.isnan(found.high)
