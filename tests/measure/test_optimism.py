from __future__ import annotations

import numpy as np
import pytest

from beholder.measure.optimism import better, expected
from beholder.tasks.single import objective


def told(right: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return logits of two classes that are right where `right` says so."""
    answer = np.where(right, targets, 1 - targets)
    return np.eye(2)[answer]


def best_first(outputs: list[np.ndarray], targets: np.ndarray) -> list[np.ndarray]:
    return sorted(outputs, key=lambda each: -objective(each, np.eye(2)[targets]))


def test_the_best_of_equals_is_worth_what_they_all_are() -> None:
    draws = np.random.default_rng(0)
    found, plain = [], []
    for seed in range(40):
        targets = draws.integers(0, 2, 300)
        outputs = [told(draws.random(300) < 0.8, targets) for _ in range(15)]
        one = expected(best_first(outputs, targets), np.eye(2)[targets], objective, tested=300, proportion=True, seed=seed)
        found.append(one.value)
        plain.append(one.score)
    assert np.mean(plain) > 0.83, "the best of fifteen looks three points better than it is"
    assert abs(np.mean(found) - 0.8) < 0.012


def test_a_test_lies_in_the_interval_of_the_best_of_several() -> None:
    draws, held, widths = np.random.default_rng(1), 0, []
    for seed in range(200):
        targets = draws.integers(0, 2, 200)
        shares = [0.8, 0.85, 0.88, 0.88, 0.88]
        outputs = [told(draws.random(200) < share, targets) for share in shares]
        ordered = best_first(outputs, targets)
        one = expected(ordered, np.eye(2)[targets], objective, tested=200, proportion=True, seed=seed, draws=40)
        best = shares[int(np.argmax([objective(each, np.eye(2)[targets]) for each in outputs]))]
        held += one.low <= draws.binomial(200, best) / 200 <= one.high
        widths.append(one.high - one.low)
    assert held / 200 >= 0.93
    assert np.mean(widths) < 1.5 * 2 * 1.96 * np.sqrt(0.88 * 0.12 / 200)


@pytest.mark.parametrize("proportion", [True, False])
def test_one_candidate_was_not_chosen(proportion: bool) -> None:
    targets = np.arange(100) % 2
    outputs = [told(np.arange(100) % 10 > 0, targets)]
    one = expected(outputs, np.eye(2)[targets], objective, tested=100, proportion=proportion)
    assert one.score == one.value == pytest.approx(0.9)
    assert one.low < 0.9 < one.high <= 1
    assert (one.n, one.tested, one.candidates) == (100, 100, 1)


def test_of_few_pictures_chance_alone_is_no_proof() -> None:
    targets = np.arange(40) % 2
    base = np.arange(40) % 4 > 0
    one_more, many_more = base.copy(), base.copy()
    one_more[0], one_more[[4, 5]] = True, [True, False]  # three pictures changed, one more is right
    many_more[[0, 4, 8, 12]] = True
    hot = np.eye(2)[targets]
    first = told(base, targets)
    assert 0.5 < better(first, told(one_more, targets), hot, objective) < 0.8
    assert better(first, told(many_more, targets), hot, objective) > 0.95
    assert better(first, first, hot, objective) == 0.5
