from __future__ import annotations

import numpy as np

from beholder.base.records import Score
from beholder.measure.power_law import fitted
from beholder.study.gains import NOTHING, ahead, band, by_class, gain_of, measured
from beholder.study.growth import Halved

SIZES = (100, 200, 400, 800)


def replicates(value: float, away: np.ndarray) -> np.ndarray:
    return np.concatenate([[value], value + away])


def grown(rng: np.random.Generator, *, noise: float = 0.01, spread: float = 0.02) -> dict[int, list[np.ndarray]]:
    """Subsets whose scores have, between them, the variance spread² · 100 · (1 / size − 1 / 800)."""
    found, away = {}, rng.normal(0, noise / np.sqrt(40), 40)
    for size in SIZES:
        draws = 1 if size == 800 else 5
        score = 1 - 0.2 * (0.3 + 0.7 * (size / 800) ** -0.5)
        varied = score + rng.normal(0, spread * np.sqrt(100 / size - 100 / 800), draws)
        found[size] = [replicates(float(value), away) for value in varied]
    return found


def test_the_interval_of_a_size_holds_both_what_is_scored_and_what_is_learnt_from() -> None:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(40):
        grew = measured(grown(rng), largest=800, n=500)
        pairs.append(np.diag(grew.cover))
    expected = 0.01**2 + 0.02**2 * ((100 / np.array(SIZES) - 100 / 800) / np.array([5, 5, 5, 1]) + 100 / 800)
    assert np.abs(np.mean(pairs, axis=0) / expected - 1).max() < 0.3
    points = measured(grown(rng), largest=800, n=500).points()
    assert [(p.pictures, p.subsets, p.score.n) for p in points] == [(100, 5, 500), (200, 5, 500), (400, 5, 500), (800, 1, 500)]
    assert all(p.score.low < p.score.value < p.score.high for p in points)


def test_one_subset_of_each_size_is_enough_for_a_wider_interval() -> None:
    rng = np.random.default_rng(0)
    found = grown(rng, spread=0.001)
    few = {size: rows[:1] for size, rows in found.items()}
    spread = [np.diag(measured(some, largest=800, n=500).cover)[0] for some in (few, found)]
    assert spread[0] > 1.5 * spread[1]
    found[100][2][0] = np.nan  # a size at which the score is undefined is no size
    assert len(measured(found, largest=800, n=500).points()) == 3


def test_what_is_ahead_rises_and_is_less_sure() -> None:
    law = measured(grown(np.random.default_rng(0)), largest=800, n=500).law()
    twice, four = ahead(law, Score(0.8, 0.78, 0.82, 500))
    assert (twice.times, twice.pictures, four.times, four.pictures) == (2, 1600, 4, 3200)
    assert 0 < twice.gain.value < four.gain.value
    assert four.gain.high - four.gain.low > twice.gain.high - twice.gain.low
    assert 0 < gain_of(law, 50, 500).value < twice.gain.value
    along = band(law, 100)
    assert (along[0][0], round(along[-1][0])) == (100.0, 3200)
    assert all(low <= value <= high for _, value, low, high in along)


def halves(drop: float, noise: float, *, pictures: int = 100) -> Halved:
    away = np.random.default_rng(1).normal(0, noise / np.sqrt(40), 40)
    rows = np.array([replicates(drop + shift, away) for shift in (-0.001, 0.001, 0.0005, -0.0005)])
    return Halved(pictures, rows, 5 * rows)


def test_a_class_gains_gains_nothing_or_cannot_be_told() -> None:
    law = fitted(np.array(SIZES, float), 0.2 * (0.3 + 0.7 * (np.array(SIZES) / 800) ** -0.5), np.diag(np.full(4, 0.003**2)))
    given = {0: halves(0.03, 0.002), 1: halves(0.0, 0.0005), 2: halves(0.01, 0.02), 3: halves(0.03, 0.002, pictures=1000)}
    found = {row.name: row for row in by_class(given, law, ["rare", "full", "vague", "common"], more=50, n=2000)}
    assert {name: row.verdict for name, row in found.items()} == {
        "rare": "gains",
        "full": "nothing",
        "vague": "unclear",
        "common": "gains",
    }
    assert next(iter(found)) == "rare"
    assert found["rare"].gain.value > 3 * found["common"].gain.value  # 50 more of 1,000 are not what 50 more of 100 are
    assert found["full"].gain.high < NOTHING
    assert 0 < found["rare"].gain.low < found["rare"].gain.value < found["rare"].drop.value
    assert found["vague"].drop.low < 0 < found["vague"].drop.high
