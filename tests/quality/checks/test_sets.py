"""Faults of the whole set, from counts alone."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.base.records import Pictures
from beholder.duplicates.facts import FACTS
from beholder.quality.checks import Evidence
from beholder.quality.checks.sets import FEW, IMBALANCE, few, imbalance
from beholder.sources.arrays import ArrayStore


def counted(*counts: int, tests: tuple[int, ...] = ()) -> Evidence:
    """So many pictures of each class, of which the first `tests` are in the test part."""
    targets = np.repeat(np.arange(len(counts)), counts)
    parts = np.full(len(targets), -1, np.int8)
    for k, held in enumerate(tests):
        parts[np.flatnonzero(targets == k)] = 0
        parts[np.flatnonzero(targets == k)[:held]] = 2
    n, names = len(targets), tuple("abcdef"[: len(counts)])
    pictures = Pictures(ArrayStore([]), [str(i) for i in range(n)], targets, names, parts, np.full(n, -1))
    return Evidence(pictures, np.zeros(n, FACTS))


def marked(*columns: list[int]) -> Evidence:
    targets = np.array(columns, np.uint8).T
    n, none = len(targets), np.full(len(targets), -1)
    pictures = Pictures(ArrayStore([]), [str(i) for i in range(n)], targets, ("x", "y"), none.astype(np.int8), none)
    return Evidence(pictures, np.zeros(n, FACTS))


@pytest.mark.parametrize(("counts", "found"), [((100, 100), False), ((100, 11), False), ((100, 10), True), ((50, 0), True)])
def test_imbalance_is_ten_to_one(counts: tuple[int, ...], found: bool) -> None:
    [remark] = imbalance(counted(*counts))
    assert (remark.score >= IMBALANCE.limit) is found
    assert "'a'" in remark.verdict


def test_imbalance_of_several_labels_is_that_of_each() -> None:
    always, half = imbalance(marked([1] * 99 + [0], [0, 1] * 50))
    assert always.score >= IMBALANCE.limit
    assert "always says present" in always.verdict
    assert half.score == 0


def test_one_class_is_not_unequal() -> None:
    assert imbalance(counted(10)) == []


@pytest.mark.parametrize(("n", "found"), [(1, True), (40, True), (90, True), (110, False), (1000, False)])
def test_few_is_below_a_hundred(n: int, found: bool) -> None:
    assert (few(counted(500, n))[1].score >= FEW.limit) is found


def test_few_counts_the_given_test_part() -> None:
    large, small = few(counted(300, 300, tests=(100, 3)))
    assert large.score < FEW.limit <= small.score
    assert "about 3 of them" in small.verdict
