"""Sentences say what the figures say, whatever these are."""

from __future__ import annotations

import numpy as np
import pytest

from beholder.evaluation.verdict import advice, confusions, findings, last_advice, weaknesses
from beholder.measure.scores import Scores, multi, single


def of_table(table: list[list[int]]) -> Scores:
    cells = np.array(table)
    rows, columns = np.nonzero(cells)
    targets, guesses = (np.repeat(side, cells[rows, columns]) for side in (rows, columns))
    return single(np.eye(len(table))[guesses], targets, [f"k{i}" for i in range(len(table))])


def test_confusions_come_largest_first_and_without_the_right_ones() -> None:
    found = confusions(of_table([[50, 3, 0], [9, 30, 1], [0, 0, 20]]), 5)
    assert [(c.truth, c.guess, c.count) for c in found] == [("k1", "k0", 9), ("k0", "k1", 3), ("k1", "k2", 1)]
    assert found[0].share == 9 / 40
    assert len(confusions(of_table([[50, 3, 0], [9, 30, 1], [0, 0, 20]]), 1)) == 1


@pytest.mark.parametrize(
    ("table", "end"),
    [
        ([[40, 0, 0], [6, 30, 2], [0, 0, 40]], "and most often takes them for “k0” (6 times)."),
        ([[40, 0, 0], [6, 30, 0], [0, 0, 40]], "it takes the other 6 for “k0”."),
        ([[40, 0, 0], [1, 30, 0], [0, 0, 40]], "it takes the other for “k0”."),
        ([[40, 0, 0], [1, 30, 1], [0, 0, 40]], "the others are predicted as 2 different classes."),
        ([[40, 0, 0], [0, 30, 0], [0, 0, 40]], "No picture of any class was missed."),
    ],
)
def test_the_weakest_class_is_described_as_it_is(table: list[list[int]], end: str) -> None:
    assert weaknesses(of_table(table))[0].endswith(end)


def test_advice_names_what_is_scarce_and_what_is_mixed_up() -> None:
    steps = " ".join(advice(of_table([[40, 0], [5, 8]]), bad=2))
    assert "Collect more pictures of “k1”: only 13 were tested" in steps
    assert "between “k1” and “k0”" in steps
    assert "2 pictures that could not be read" in steps
    assert "with 53 the interval is" in steps
    calm = advice(of_table([[400, 1], [1, 400]]))
    assert calm == []
    assert last_advice(of_table([[400, 1], [1, 400]]))[0].startswith("Try it on pictures from elsewhere")
    assert last_advice(of_table([[10, 10], [10, 10]])) == []


def test_multi_label_tells_misses_and_false_alarms() -> None:
    p = np.array([[0.9, 0.2], [0.8, 0.6], [0.2, 0.7], [0.1, 0.9], [0.7, 0.4]])
    y = np.array([[1, 1], [1, 0], [0, 1], [0, 1], [1, 0]])
    scores = multi(p, y, ["RBC", "WBC"])
    assert "random order gives about 60.0\u00a0%" in findings(scores)[0]
    text = weaknesses(scores)[0]
    assert "weakest on “WBC”" in text
    assert text.endswith("it finds 2 of 3 and raises 1 false alarm on 2 pictures without it.")
