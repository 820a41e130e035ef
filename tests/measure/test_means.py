from __future__ import annotations

import numpy as np
import pytest

from beholder.base.errors import UsageError
from beholder.measure.intervals import wilson
from beholder.measure.means import mean_score


def test_lone_pictures_have_wilson_s_interval() -> None:
    found, expected = mean_score([1] * 470 + [0] * 30), wilson(470, 500)
    assert (found.value, found.n) == (expected.value, 500)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=2e-4)


def test_without_a_mistake_the_clusters_count() -> None:
    assert mean_score(np.ones(40)).low == wilson(40, 40).low
    assert mean_score(np.ones(40), clusters=np.arange(40) // 4).low == wilson(10, 10).low


def test_pictures_that_repeat_each_other_count_once() -> None:
    values = np.random.default_rng(0).random(60) < 0.8
    alone, repeated = mean_score(values), mean_score(np.repeat(values, 5), clusters=np.repeat(np.arange(60), 5))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    assert repeated.n == 300


@pytest.mark.parametrize("share", [0.6, 0.95])
def test_intervals_of_clustered_means_hold_the_truth(share: float) -> None:
    rng, held = np.random.default_rng(1), 0
    clusters = np.arange(400) // 4
    for _ in range(1000):
        skill = rng.beta(4 * share, 4 * (1 - share), 100)
        found = mean_score(rng.random(400) < skill[clusters], clusters=clusters)
        held += found.low <= share <= found.high
    assert 0.93 <= held / 1000 <= 0.975


def test_empty_and_wrong() -> None:
    assert mean_score([]).n == 0
    with pytest.raises(UsageError):
        mean_score([1.5])
