"""The risk-coverage curve against its definition, and promises against the truth of simulated recognisers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from beholder.measure.families import BERNOULLI, CATEGORICAL
from beholder.measure.selective import accepting, aurc, finding, mistakes, risk_coverage


def told(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Certainties in 0..1 that are wrong with probability (1 - s)²: above t the risk is (1 - t)² / 3."""
    rng = np.random.default_rng(seed)
    sure = rng.random(n)
    return sure, rng.random(n) < (1 - sure) ** 2


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_the_curve_is_its_definition(rows: list[tuple[int, bool]]) -> None:
    sure, wrong = np.array([s for s, _ in rows], float), np.array([w for _, w in rows])
    coverage, risk, threshold = risk_coverage(sure, wrong)
    assert threshold.tolist() == sorted(set(sure.tolist()), reverse=True)
    for c, r, t in zip(coverage, risk, threshold, strict=True):
        assert c == pytest.approx((sure >= t).mean())
        assert r == pytest.approx(wrong[sure >= t].mean())


def test_the_area_is_the_mean_risk_of_the_surest() -> None:
    sure, wrong = told(300, 0)
    order = np.argsort(-sure)
    expected = np.mean([wrong[order[:m]].mean() for m in range(1, 301)])
    assert aurc(sure, wrong).value == pytest.approx(expected)


def test_ties_come_in_random_order_and_extremes_are_known() -> None:
    rng = np.random.default_rng(0)
    sure, wrong = rng.integers(0, 4, 40).astype(float), rng.random(40) < 0.3
    shuffled = [rng.permutation(40) for _ in range(3000)]
    each = [aurc(sure[p] + np.arange(40, 0, -1) * 1e-9, wrong[p]).value for p in shuffled]
    assert aurc(sure, wrong).value == pytest.approx(np.mean(each), abs=0.003)
    assert aurc(np.zeros(50), np.arange(50) < 10).value == pytest.approx(0.2)
    perfect = aurc(-(np.arange(20000) < 2000).astype(float) - np.arange(20000) * 1e-9, np.arange(20000) < 2000)
    assert perfect.value == pytest.approx(0.1 + 0.9 * np.log(0.9), abs=1e-3)
    assert aurc(np.zeros(0), np.zeros(0, bool)).n == 0


def test_its_interval_holds_the_truth() -> None:
    """The risk at coverage c is c² / 3, so the true area is 1/9."""
    held = sum((s := aurc(*told(200, seed))).low <= 1 / 9 <= s.high for seed in range(400))
    assert 0.92 <= held / 400 <= 0.98
    none = aurc(np.arange(100.0), np.zeros(100, bool))
    assert (none.value, none.low) == (0.0, 0.0)
    assert 0.01 < none.high < 0.05


def test_groups_make_it_less_sure() -> None:
    sure, wrong = told(200, 0)
    four = np.repeat(np.arange(200), 4)
    alone, grouped = aurc(sure, wrong), aurc(sure[four], wrong[four], groups=four)
    assert grouped.high - grouped.low == pytest.approx(alone.high - alone.low, rel=0.1)


@pytest.mark.parametrize(("n", "risk"), [(200, 0.1), (1000, 0.1), (3000, 0.03)])
def test_accepted_risk_is_kept_as_often_as_promised(n: int, risk: float) -> None:
    points = [accepting(*told(n, seed), risk=risk) for seed in range(300)]
    broken = sum(p.threshold is not None and (1 - p.threshold) ** 2 / 3 > risk for p in points)
    assert broken <= 300 * 0.05 + 8
    answered = [1 - p.threshold for p in points if p.threshold is not None]
    assert len(answered) > 150, "a promise that is never made is of no use"
    assert np.mean(answered) > 0.4 * np.sqrt(3 * risk), "at best √(3 risk) are answered"


def test_a_threshold_is_what_clopper_and_pearson_allow() -> None:
    sure, wrong = told(2000, 1)
    point = accepting(sure, wrong, risk=0.1)
    assert point.threshold is not None
    taken = sure >= point.threshold
    upper = binomtest(int(wrong[taken].sum()), int(taken.sum()), alternative="less").proportion_ci(0.95, method="exact").high
    assert upper <= 0.1
    assert str(int(taken.sum())) in point.reason


def test_what_cannot_be_promised_has_no_threshold() -> None:
    few = accepting(*told(100, 0), risk=0.02)
    assert few.threshold is None
    assert "takes 149 validation pictures, there are 100" in few.reason
    hopeless = accepting(np.linspace(0, 1, 500), np.ones(500, bool), risk=0.1)
    assert hopeless.threshold is None
    assert "no threshold" in hopeless.reason
    assert accepting(np.ones(500), np.zeros(500, bool), risk=0.02).threshold == 1.0


@pytest.mark.parametrize("n", [59, 92, 93, 389])
def test_sensitivity_is_kept_as_often_as_promised(n: int) -> None:
    """Of uniform scores a threshold t finds 1 - t."""
    thresholds = [finding(np.random.default_rng(seed).random(n), sensitivity=0.95).threshold for seed in range(400)]
    assert all(t is not None for t in thresholds)
    broken = np.mean([1 - t < 0.95 for t in thresholds if t is not None])
    assert broken <= 0.05 + 0.025
    assert finding(np.ones(58), sensitivity=0.95).threshold is None
    assert "takes 59 validation pictures of cat, there are 58" in finding(np.ones(58), sensitivity=0.95, label="cat").reason


def test_certainty_and_mistakes_of_several_labels() -> None:
    p, truth = np.array([[0.9, 0.2], [0.6, 0.99]]), np.array([[1, 0], [0, 1]], np.uint8)
    assert BERNOULLI.certainty(p) == pytest.approx([0.8, 0.6])
    assert mistakes(BERNOULLI.answers(p), truth).tolist() == [False, True]
    assert mistakes(BERNOULLI.answers(p, [0.7, 0.5]), truth).tolist() == [False, False]
    assert CATEGORICAL.certainty(p / p.sum(1, keepdims=True)) == pytest.approx([9 / 11, 99 / 159])
    assert mistakes(CATEGORICAL.answers(p), np.array([0, 0])).tolist() == [False, True]


def test_several_starts_share_the_chance_of_a_false_promise() -> None:
    """What one start alone would promise is not promised where several were tried."""
    n, risk, level = 3000, 0.1, 0.05
    starts = round(np.log2(n / 29))
    first = int(np.ceil(np.log(level / starts) / np.log1p(-risk)))
    sure = np.arange(n, 0, -1.0)
    for right, wrong_among in ((29, 0), (first, 1)):
        assert binom.cdf(wrong_among, right, risk) <= level < starts * binom.cdf(wrong_among, right, risk)
        wrong = np.arange(n) >= right
        wrong[:wrong_among] = True
        assert accepting(sure, wrong, risk=risk).threshold is None
    assert accepting(sure, np.arange(n) >= first, risk=risk).threshold is not None
    assert accepting(sure[:29], np.zeros(29, bool), risk=risk).threshold is not None, "a single start has all of it"


def test_no_promise_is_made_more_often_than_allowed_where_certainty_tells_nothing() -> None:
    """At a risk of 0.1 everywhere, no threshold keeps 0.095: it may be promised in 5 of 100 draws, of 3000 pictures each."""
    rng = np.random.default_rng(0)
    made = [accepting(rng.random(3000), rng.random(3000) < 0.1, risk=0.095).threshold is not None for _ in range(400)]
    assert sum(made) <= 400 * 0.05
