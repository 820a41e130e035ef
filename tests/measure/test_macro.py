"""Intervals of macro-F1 and balanced accuracy hold the truth all over the simplex of confusion, and are not wide."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import pytest

from beholder.base.records import Score
from beholder.measure.intervals import Share, proportion, share_of
from beholder.measure.macro import F1, RECALL, f1_score, joined_by_errors, joined_by_mistakes, mean_over
from beholder.measure.scores import multi, single

Floats = npt.NDArray[np.float64]
DRAWS = 250
KINDS = ("good", "any", "sharp", "collapsed", "perfect", "one for another", "some at random")


def rows(kind: str, k: int, rng: np.random.Generator) -> Floats:
    """Return a confusion, (K, K): how often a picture of a class is called each."""
    any_of = rng.dirichlet(np.ones(k), k)
    if kind == "good":
        return 0.9 * np.eye(k) + 0.1 * any_of
    if kind == "sharp":
        return rng.dirichlet(np.full(k, 0.2), k)
    if kind == "collapsed":
        return 0.02 * any_of + 0.98 * np.eye(k)[np.zeros(k, int)]
    if kind in ("perfect", "one for another"):
        rare = rng.choice([0.001, 0.005, 0.02])
        return (1 - rare) * np.roll(np.eye(k), kind != "perfect", axis=1) + rare * any_of
    if kind == "some at random":
        odd = rng.random(k)[:, None] < 0.5
        return 0.99 * np.where(odd, any_of, np.eye(k)) + 0.01 / k
    return any_of


def settings(count: int, seed: int) -> Iterator[tuple[str, npt.NDArray[np.int64], Floats, npt.NDArray[np.int64]]]:
    """Yield (kind, pictures of each class, confusion, tables int64 (DRAWS, K, K))."""
    rng = np.random.default_rng(seed)
    for i in range(count):
        kind, k, base = KINDS[i % len(KINDS)], int(rng.choice([2, 3, 5, 8])), int(rng.choice([8, 15, 30, 100]))
        sizes = np.full(k, base) if i % 2 else np.maximum(5, base * rng.choice([0.5, 1, 3], k)).astype(np.int64)
        table = rows(kind, k, rng)
        drawn = np.stack([rng.multinomial(n, row, DRAWS) for n, row in zip(sizes, table, strict=True)], axis=1)
        yield kind, sizes, table, drawn


def means(table: npt.NDArray[np.number]) -> tuple[float, float]:
    """Return (balanced accuracy, macro-F1) of a table of counts."""
    hits, truth, guessed = np.diagonal(table), table.sum(1), table.sum(0)
    return float((hits / truth).mean()), float((2 * hits / (truth + guessed)).mean())


def intervals(table: npt.NDArray[np.int64]) -> tuple[Score, Score]:
    """Return (balanced accuracy, macro-F1) with their intervals, as `single` makes them."""
    hits, truth, guessed = np.diagonal(table), table.sum(1), table.sum(0)

    def shares(of: npt.NDArray[np.int64]) -> list[Share]:
        return [Share(h / n, int(n), float(n), int(n)) for h, n in zip(hits, of, strict=True)]

    n = int(table.sum())
    second = mean_over(shares(truth + guessed - hits), F1, n, correlation=joined_by_mistakes(table))
    return mean_over(shares(truth), RECALL, n), second


def plain_widths(table: npt.NDArray[np.int64], sizes: npt.NDArray[np.int64]) -> Floats:
    """Return the widths of ± 1.96 standard errors that the table's own shares give (the bootstrap's): the yardstick."""
    k = len(table)
    share = table / sizes[:, None]
    both = table.sum(0) + sizes
    f1 = 2 * np.diagonal(table) / both
    found = []
    for gain in (np.eye(k) / sizes[:, None], (2 * np.eye(k) - f1) / both):
        mean = (share * gain).sum(1, keepdims=True)
        found.append(2 * 1.96 * math.sqrt(float((table * (gain - mean) ** 2).sum())) / k)
    return np.array(found)


def test_intervals_hold_the_truth_all_over_the_simplex() -> None:
    coverage: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    for kind, sizes, table, drawn in settings(56, seed=2):
        truth = means(table * sizes[:, None])
        held = np.array([[s.low <= t <= s.high for s, t in zip(intervals(one), truth, strict=True)] for one in drawn])
        coverage[kind].append(tuple(held.mean(axis=0)))
        assert held.mean(axis=0).min() > 0.93 - 3 * math.sqrt(0.93 * 0.07 / DRAWS), (kind, sizes)  # but for chance
    for kind, found in coverage.items():
        assert np.mean(found, axis=0).min() >= 0.94, kind


def test_intervals_of_healthy_classifiers_are_little_wider_than_the_spread_that_is_seen() -> None:
    rng = np.random.default_rng(0)
    ratios = []
    for k, n, accuracy in ((2, 50, 0.85), (3, 30, 0.9), (5, 30, 0.8), (10, 20, 0.9), (10, 100, 0.95), (20, 30, 0.9)):
        table = np.full((k, k), (1 - accuracy) / (k - 1))
        np.fill_diagonal(table, accuracy)
        drawn = np.stack([rng.multinomial(n, row, 100) for row in table], axis=1)
        ours = np.mean([[s.high - s.low for s in intervals(one)] for one in drawn], axis=0)
        ratios.append(ours / np.mean([plain_widths(one, np.full(k, n)) for one in drawn], axis=0))
        assert ratios[-1].max() < 1.3, (k, n, accuracy)
    assert np.mean(ratios, axis=0).max() < 1.15


def test_a_collapsed_classifier_has_a_width() -> None:
    for n in (10, 30, 100):
        y = np.repeat([0, 1, 2], n)
        found = single(np.tile([0.8, 0.1, 0.1], (3 * n, 1)), y, ("a", "b", "c"))
        for name in ("macro_f1", "balanced_accuracy", "accuracy"):
            score = found.headline[name]
            assert score.high - score.low > 0.3 / n, name
        assert found.classes["b"]["f1"].high > 0.5 / n
        labels = np.eye(3, dtype=np.uint8)[y]
        several = multi(np.tile([0.8, 0.1, 0.1], (3 * n, 1)), labels, ("a", "b", "c"))
        assert all(score.high - score.low > 0.3 / n for score in several.headline.values())


def test_single_gives_what_its_parts_give() -> None:
    rng = np.random.default_rng(3)
    y = rng.integers(0, 4, 120)
    guesses = np.where(rng.random(120) < 0.7, y, rng.integers(0, 4, 120))
    found = single(np.eye(4)[guesses], y, tuple("abcd")).headline
    table = np.zeros((4, 4), np.int64)
    np.add.at(table, (y, guesses), 1)
    assert (found["balanced_accuracy"], found["macro_f1"]) == intervals(table)
    assert (found["balanced_accuracy"].value, found["macro_f1"].value) == pytest.approx(means(table))


def test_f1_of_a_class_holds_the_truth() -> None:
    rng = np.random.default_rng(4)
    for hit, false in ((0.02, 0.0), (0.5, 0.1), (1.0, 0.0), (0.9, 0.02)):
        truth, held = 2 * hit * 30 / (30 + 30 * hit + 90 * false), []
        for _ in range(400):
            h, wrong = rng.binomial(30, hit), rng.binomial(90, false)
            score = f1_score(share_of(np.arange(30 + wrong) < h), 30)
            held.append(score.low - 1e-12 <= truth <= score.high + 1e-12)
        assert np.mean(held) > 0.92, (hit, false)


@pytest.mark.parametrize("groups", [6, 12, 40])
@pytest.mark.parametrize("together", [0.0, 0.4, 1.0])
def test_shares_of_groups_hold_the_truth(groups: int, together: float) -> None:
    rng = np.random.default_rng(5)
    for accuracy in (0.6, 0.9, 0.98):
        held = []
        for _ in range(150):
            clusters = np.repeat(np.arange(groups), rng.integers(2, 12, groups))
            own, alike = rng.random(len(clusters)) < accuracy, (rng.random(groups) < accuracy)[clusters]
            right = np.where(rng.random(len(clusters)) < together, alike, own)
            score = proportion(right, clusters)
            held.append(score.low <= accuracy <= score.high)
        assert np.mean(held) > 0.93 - 3 * math.sqrt(0.93 * 0.07 / 150), accuracy


def test_groups_count_for_the_means_over_classes_whether_a_class_has_its_own_or_not() -> None:
    rng = np.random.default_rng(6)
    table = np.array([[0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.3, 0.1, 0.6]])
    for nested in (True, False):
        held = []
        for _ in range(120):
            clusters = np.repeat(np.arange(18), 6)
            y = clusters % 3 if nested else rng.integers(0, 3, len(clusters))
            one = np.array([[rng.choice(3, p=row) for row in table] for _ in range(18)])
            own = np.array([rng.choice(3, p=table[c]) for c in y])
            guesses = np.where(rng.random(len(y)) < 0.7, one[clusters, y], own)
            found = single(np.eye(3)[guesses], y, tuple("abc"), groups=clusters).headline
            held.append(
                [
                    found[name].low <= t <= found[name].high
                    for name, t in zip(("balanced_accuracy", "macro_f1"), means(table), strict=True)
                ]
            )
        assert np.mean(held, axis=0).min() > 0.9, nested


def test_what_varies_not_at_all_varies_with_nothing() -> None:
    errors = np.array([[1.0, 0.0, 1.0], [-1.0, 0.0, -1.0]])
    assert joined_by_errors(errors) == pytest.approx(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]]))
    one = joined_by_mistakes(np.array([[9, 1], [0, 10]]))
    assert one[0, 1] > 0
    assert np.diagonal(one).tolist() == pytest.approx([1, 1])
