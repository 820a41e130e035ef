"""Intervals against their closed form, SciPy, and what they promise: to hold the truth about 95 times of 100."""

from __future__ import annotations

import math
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, quantile_test
from scipy.stats import bootstrap as scipy_bootstrap

from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.measure.intervals import (
    at_level,
    bootstrap,
    by_variance,
    cluster_numbers,
    interval,
    joint,
    mean_variance,
    quantile,
    resamples,
    wilson,
)


@given(st.integers(1, 5000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_is_scipys(counts: tuple[int, int], level: float) -> None:
    successes, n = counts
    expected = binomtest(successes, n).proportion_ci(level, method="wilson")
    score = wilson(successes, n, level=level)
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= score.low <= score.value <= score.high <= 1
    assert (score.value, score.n) == (successes / n, n)


def test_wilson_of_nothing_is_undefined_and_of_nonsense_an_error() -> None:
    score = wilson(0, 0)
    assert math.isnan(score.value)
    assert math.isnan(score.low)
    assert math.isnan(score.high)
    assert score.json() == {"value": None, "low": None, "high": None, "n": 0}
    with pytest.raises(UsageError, match="5 of 3"):
        wilson(5, 3)
    with pytest.raises(UsageError, match="level"):
        wilson(1, 3, level=95)


def test_bootstrap_of_a_mean_agrees_with_scipy() -> None:
    values = np.random.default_rng(3).gamma(2.0, size=200)
    expected = scipy_bootstrap((values,), np.mean, n_resamples=4000, method="percentile", rng=0).confidence_interval
    score = bootstrap(lambda w: float(np.average(values, weights=w)), 200, repeats=4000)
    assert score.value == values.mean()
    assert (score.low, score.high) == pytest.approx((expected.low, expected.high), abs=0.02)


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.arange(30.0)

    def run(seed: int) -> object:
        return bootstrap(lambda w: float(np.average(values, weights=w)), 30, seed=seed)

    assert run(1) == run(1)
    assert run(1) != run(2)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.integers(0, 5))
def test_strata_keep_their_size(strata: list[int], seed: int) -> None:
    expected = np.bincount(strata, minlength=4)
    for weights in resamples(len(strata), strata=strata, seed=seed, repeats=5):
        assert np.bincount(strata, weights, minlength=4).tolist() == expected.tolist()


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=40), st.integers(0, 5))
def test_clusters_are_drawn_whole(clusters: list[int], seed: int) -> None:
    given_ = np.array(clusters)
    units = cluster_numbers(len(clusters), clusters)
    count = len(np.unique(given_[given_ >= 0])) + int((given_ < 0).sum())
    assert units.max() + 1 == count
    for weights in resamples(len(clusters), clusters=clusters, seed=seed, repeats=5):
        drawn = [np.unique(weights[units == u]) for u in range(count)]
        assert all(len(values) == 1 for values in drawn)
        assert sum(int(values[0]) for values in drawn) == count


def test_clusters_within_one_stratum_keep_the_number_of_clusters_of_it() -> None:
    strata, clusters = np.repeat([0, 1], [12, 20]), np.repeat(np.arange(8), 4)
    for weights in resamples(32, strata=strata, clusters=clusters, repeats=20):
        assert weights[:12:4].sum() == 3
        assert weights[12::4].sum() == 5


def test_every_row_is_drawn_once_on_average() -> None:
    total = sum(islice(resamples(50, seed=1, repeats=2000), 2000))
    assert np.abs(np.asarray(total) / 2000 - 1).max() < 0.12


def test_ten_photos_of_one_person_are_one_observation() -> None:
    person = np.repeat(np.arange(20), 10)
    right = (np.arange(20) % 4 > 0).astype(float)[person]
    loose = bootstrap(lambda w: float(np.average(right, weights=w)), 200)
    clustered = bootstrap(lambda w: float(np.average(right, weights=w)), 200, clusters=person)
    # Cluster variance is ten times that of independent photos: √10 = 3.16 in width.
    assert (clustered.high - clustered.low) / (loose.high - loose.low) == pytest.approx(3.16, rel=0.15)


def test_a_share_without_spread_gets_the_width_of_its_units() -> None:
    score = interval(1.0, np.ones(100), 480, units=48)
    assert (score.low, score.high) == (wilson(48, 48).low, 1.0)
    assert interval(1.0, np.ones(100), 480).low == 1.0


def test_undefined_draws_are_left_out() -> None:
    draws = np.array([0.2, np.nan, 0.4] * 50)
    assert interval(0.3, draws, 7).json() == {"value": 0.3, "low": 0.2, "high": 0.4, "n": 7}
    assert math.isnan(interval(0.3, np.full(9, np.nan), 7).low)
    assert math.isnan(interval(math.nan, draws, 7).value)


@pytest.mark.parametrize(("n", "p"), [(25, 0.9), (100, 0.97), (400, 0.6)])
def test_intervals_from_draws_hold_the_truth_where_percentiles_of_few_mistakes_do_not(n: int, p: float) -> None:
    rng = np.random.default_rng(7)
    seen = rng.binomial(n, p, size=1500)
    held = []
    for count in seen.tolist():
        score = interval(count / n, rng.binomial(n, count / n, size=300) / n, n, units=n)
        held.append(score.low <= p <= score.high)
    assert 0.925 <= np.mean(held) <= 0.985


@pytest.mark.parametrize("bad", [np.zeros(4, np.int64), np.zeros((5, 1), np.int64), np.zeros(5)])
def test_columns_that_do_not_fit_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(UsageError) as caught:
        list(resamples(5, clusters=bad))
    assert caught.value.code == "bad-shape"


def test_the_variance_of_a_mean_is_that_of_the_bootstrap_of_its_clusters() -> None:
    rng = np.random.default_rng(5)
    person = cluster_numbers(300, rng.integers(0, 60, 300))
    right = rng.random(300) < rng.random(60)[person]
    draws = [np.average(right, weights=w) for w in resamples(300, clusters=person, repeats=1000)]
    assert mean_variance(right, person) == pytest.approx(np.var(draws), rel=0.12)
    assert mean_variance(right) == pytest.approx(right.var(ddof=1) / 300)
    assert math.isnan(mean_variance([True]))


def test_an_interval_by_variance_is_wilsons_of_as_many_pictures() -> None:
    found, expected = by_variance(0.8, 0.002, 100, units=10), wilson(64, 80)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_of_a_quantile_is_scipys(share: float) -> None:
    values = np.random.default_rng(2).gamma(2, size=300)
    score = quantile(values, share)
    expected = quantile_test(values, p=share).confidence_interval()
    assert (score.low, score.high) == (expected.low, expected.high)
    assert math.isnan(quantile(values[:30], 0.99).high)
    assert quantile([3, 1, 2], 0.5).value == 2


def test_an_interval_at_another_level_is_that_of_the_same_pictures() -> None:
    share = wilson(48, 50)
    wider = at_level(share, 0.99)
    exact = wilson(48, 50, level=0.99)
    assert (wider.value, wider.n) == (share.value, share.n) == (0.96, 50)
    assert (wider.low, wider.high) == (pytest.approx(exact.low, abs=1e-9), pytest.approx(exact.high, abs=1e-9))
    kappa = at_level(Score(2 * share.value - 1, 2 * share.low - 1, 2 * share.high - 1, 50), 0.99, least=-1.0)
    assert (kappa.value, kappa.low, kappa.high) == (
        2 * share.value - 1,
        pytest.approx(2 * exact.low - 1, abs=1e-9),
        pytest.approx(2 * exact.high - 1, abs=1e-9),
    )
    few = Score(0.5, math.nan, math.nan, 4)
    assert at_level(few, 0.99) is few


def test_joint_levels_multiply_to_the_level() -> None:
    assert joint(7) ** 7 == pytest.approx(0.95)
    assert joint(1) == 0.95


@pytest.mark.parametrize(("n", "share", "covered"), [(30, 0.9, 0.9742), (100, 0.99, 0.9206), (1000, 0.5, 0.9463)])
def test_the_coverage_of_wilson_is_what_the_document_says(n: int, share: float, covered: float) -> None:
    held = [k for k in range(n + 1) if (score := wilson(k, n)).low <= share <= score.high]
    assert binom.pmf(held, n, share).sum() == pytest.approx(covered, abs=1e-4)
