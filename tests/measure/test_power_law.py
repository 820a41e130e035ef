from __future__ import annotations

import numpy as np
import pytest

from beholder.measure.power_law import fitted

SIZES = np.array([50.0, 100, 200, 400, 800, 1600])


def errors(share: float, exponent: float, level: float = 0.2, sizes: np.ndarray = SIZES) -> np.ndarray:
    return level * (share + (1 - share) * (sizes / SIZES[-1]) ** -exponent)


def between(values: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(values, [0.025, 0.975])
    return float(low), float(high)


@pytest.mark.parametrize(("share", "exponent"), [(0.0, 0.3), (0.3, 0.5), (0.6, 1.0)])
def test_a_power_law_is_found_again(share: float, exponent: float) -> None:
    law = fitted(SIZES, errors(share, exponent), np.diag(np.full(6, 0.002**2)))
    for times in (1, 2, 4):
        truth = float(errors(share, exponent, sizes=np.array([times * 1600.0]))[0])
        low, high = between(law.at(times * 1600.0))
        assert low <= truth <= high
        assert abs(float(np.median(law.at(times * 1600.0))) - truth) < 0.035


def test_a_flat_curve_promises_nothing() -> None:
    law = fitted(SIZES, np.full(6, 0.2), np.diag(np.full(6, 0.003**2)))
    gain = law.at(1600) - law.at(3200)
    assert float(np.median(gain)) < 0.006
    assert between(gain)[0] == 0
    assert between(gain)[1] < 0.04


def test_a_curve_that_grows_steeper_is_followed() -> None:
    """Exponents of 0.4, 0.5, 0.6 at the last doublings: the next is taken to be about as steep, not their mean."""
    steeper = 0.16 * 2 ** np.array([1.5, 1.1, 0.6, 0.0])
    law = fitted(SIZES[-4:], steeper, np.diag((0.02 * steeper) ** 2))
    assert 0.5 < float(np.median(law.exponent)) < 0.65
    low, high = between(law.at(3200))
    assert low < 0.16 * 2**-0.7 < 0.16 * 2**-0.5 < high


def test_what_is_not_known_is_not_promised() -> None:
    """Two noisy sizes leave the law open; six exact ones do not. Farther is less sure than near."""
    vague = fitted(SIZES[-2:], errors(0.3, 0.5)[-2:], np.diag([0.02**2, 0.02**2]))
    sure = fitted(SIZES, errors(0.3, 0.5), np.diag(np.full(6, 0.002**2)))
    width = {name: np.ptp(between(law.at(3200))) for name, law in (("vague", vague), ("sure", sure))}
    assert width["vague"] > 2 * width["sure"]
    assert np.ptp(between(sure.at(6400))) > np.ptp(between(sure.at(3200))) > np.ptp(between(sure.at(1600)))
    assert (sure.at(6400) <= sure.at(3200)).all()
    assert (sure.exponent >= 0).all()


def test_its_intervals_hold_as_often_as_they_say() -> None:
    rng = np.random.default_rng(0)
    common, own = 0.012, 0.006
    hits = []
    for _ in range(150):
        share, exponent = rng.uniform(0, 0.9), np.exp(rng.uniform(np.log(0.1), np.log(0.8)))
        noise = rng.normal(0, common) + rng.normal(0, own, 6)
        law = fitted(SIZES, errors(share, exponent) + noise, common**2 + np.diag(np.full(6, own**2)))
        low, high = between(law.at(6400))
        hits.append(low <= errors(share, exponent, sizes=np.array([6400.0]))[0] <= high)
    assert np.mean(hits) >= 0.9


def test_noise_that_all_sizes_share_hardly_widens_the_gain() -> None:
    shared = fitted(SIZES, errors(0.3, 0.5), np.full((6, 6), 0.02**2) + np.diag(np.full(6, 0.002**2)))
    alone = fitted(SIZES, errors(0.3, 0.5), np.diag(np.full(6, 0.02**2)))
    width = [np.ptp(between(law.at(1600) - law.at(3200))) for law in (shared, alone)]
    assert width[0] < 0.85 * width[1]
