"""Scores against scikit-learn and torchmetrics, and what holds whatever the figures."""

from __future__ import annotations

import json
import math
import time
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score, multilabel_average_precision

from beholder.base.errors import UsageError
from beholder.base.records import Score
from beholder.measure.intervals import wilson
from beholder.measure.scores import multi, single


def names(k: int) -> list[str]:
    return [f"c{i}" for i in range(k)]


def problem(n: int, k: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, k) that favour the true class, and targets in which every class occurs."""
    rng = np.random.default_rng(seed)
    targets = np.concatenate([np.arange(k), rng.integers(0, k, n - k)])
    p = rng.random((n, k)) + 0.5 * np.eye(k)[targets]
    return p / p.sum(1, keepdims=True), targets


def labels(n: int, k: int, *, seed: int = 0, steps: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Multi-label probabilities and targets; `steps` > 0 rounds the probabilities so that many are equal."""
    rng = np.random.default_rng(seed)
    targets = (rng.random((n, k)) < 0.3).astype(np.uint8)
    p = rng.random((n, k)) * 0.7 + 0.3 * targets
    return (np.round(p * steps) / steps if steps else p), targets


@pytest.mark.parametrize(("n", "k"), [(40, 2), (200, 3), (500, 10), (900, 60)])
def test_single_is_scikit_learns(n: int, k: int) -> None:
    p, y = problem(n, k)
    scores = single(p, y, names(k))
    guesses = p.argmax(1)
    headline = {name: score.value for name, score in scores.headline.items()}
    assert headline["accuracy"] == pytest.approx(metrics.accuracy_score(y, guesses))
    assert headline["macro_f1"] == pytest.approx(metrics.f1_score(y, guesses, average="macro"))
    assert headline["balanced_accuracy"] == pytest.approx(metrics.balanced_accuracy_score(y, guesses))
    areas = [metrics.roc_auc_score(y == i, p[:, i]) for i in range(k)]
    assert headline["auroc"] == pytest.approx(np.mean(areas))
    assert [of["auroc"].value for of in scores.classes.values()] == pytest.approx(areas)
    assert ("top5" in headline) == (k > 5)
    if k > 5:
        assert headline["top5"] == pytest.approx(metrics.top_k_accuracy_score(y, p, k=5, labels=range(k)))
    assert scores.confusion is not None
    np.testing.assert_array_equal(scores.confusion, metrics.confusion_matrix(y, guesses, labels=range(k)))
    expected = metrics.precision_recall_fscore_support(y, guesses, labels=range(k), zero_division=np.nan)
    for i, of in enumerate(scores.classes.values()):
        got = [of["precision"].value, of["recall"].value, of["f1"].value, of["f1"].n]
        np.testing.assert_allclose(got, [column[i] for column in expected], equal_nan=True)
        rest = metrics.recall_score(y != i, guesses != i)
        assert of["specificity"].value == pytest.approx(rest)


def test_single_is_torchmetrics() -> None:
    p, y = problem(300, 7)
    scores = single(p, y, names(7))
    tensors = torch.from_numpy(p), torch.from_numpy(y)
    assert scores.headline["accuracy"].value == pytest.approx(float(multiclass_accuracy(*tensors, 7, average="micro")))
    assert scores.headline["macro_f1"].value == pytest.approx(float(multiclass_f1_score(*tensors, 7, average="macro")))
    assert scores.headline["top5"].value == pytest.approx(float(multiclass_accuracy(*tensors, 7, average="micro", top_k=5)))


@pytest.mark.parametrize("steps", [0, 5])
def test_multi_is_scikit_learns_and_torchmetrics(steps: int) -> None:
    p, y = labels(150, 4, steps=steps)
    scores = multi(p, y, names(4))
    guesses = p >= 0.5
    assert scores.headline["map"].value == pytest.approx(metrics.average_precision_score(y, p, average="macro"))
    tensors = torch.from_numpy(p), torch.from_numpy(y.astype(np.int64))
    assert scores.headline["map"].value == pytest.approx(float(multilabel_average_precision(*tensors, 4)), abs=1e-6)
    assert scores.headline["micro_f1"].value == pytest.approx(metrics.f1_score(y, guesses, average="micro"))
    assert scores.headline["macro_f1"].value == pytest.approx(metrics.f1_score(y, guesses, average="macro"))
    assert scores.confusion is None
    for i, of in enumerate(scores.classes.values()):
        assert of["average_precision"].value == pytest.approx(metrics.average_precision_score(y[:, i], p[:, i]))
        assert of["average_precision"].n == y[:, i].sum()
        assert of["precision"].value == pytest.approx(metrics.precision_score(y[:, i], guesses[:, i]))
        assert of["recall"].value == pytest.approx(metrics.recall_score(y[:, i], guesses[:, i]))
        assert of["specificity"].value == pytest.approx(metrics.recall_score(1 - y[:, i], ~guesses[:, i]))


def test_of_two_classes_the_recall_of_one_is_the_specificity_of_the_other() -> None:
    sick, well = single(*problem(120, 2), ["sick", "well"]).classes.values()
    assert sick["specificity"] == well["recall"]
    assert well["specificity"] == sick["recall"]


def test_precision_and_recall_are_wilsons() -> None:
    p, y = problem(200, 3)
    scores = single(p, y, names(3))
    table = scores.confusion
    assert table is not None
    assert scores.classes["c1"]["recall"] == wilson(int(table[1, 1]), int(table[1].sum()))
    assert scores.classes["c1"]["precision"] == wilson(int(table[1, 1]), int(table[:, 1].sum()))
    assert scores.headline["accuracy"] == wilson(int(np.trace(table)), 200)


@given(st.integers(1, 60), st.integers(2, 8), st.integers(0, 1000), st.booleans())
def test_every_value_lies_in_its_interval_and_order_does_not_matter(n: int, k: int, seed: int, grouped: bool) -> None:
    rng = np.random.default_rng(seed)
    p, y = rng.random((n, k)), rng.integers(0, k, n)
    groups = rng.integers(-1, 4, n) if grouped else None
    scores = single(p, y, names(k), groups=groups)
    rows = [*scores.headline.values(), *(score for of in scores.classes.values() for score in of.values())]
    for score in rows:
        assert math.isnan(score.low) or 0 <= score.low <= score.value <= score.high <= 1
    order = rng.permutation(n)
    again = single(p[order], y[order], names(k), groups=None if groups is None else groups[order])
    if grouped:  # the draws differ then, the values do not
        values = [s.value for s in scores.headline.values()]
        assert [s.value for s in again.headline.values()] == pytest.approx(values, nan_ok=True)
    else:
        assert json.dumps(again.json()) == json.dumps(scores.json())


@given(st.integers(1, 40), st.integers(1, 5), st.integers(0, 1000))
def test_every_multi_label_value_lies_in_its_interval(n: int, k: int, seed: int) -> None:
    scores = multi(*labels(n, k, seed=seed, steps=4), names(k), seed=seed)
    for score in [*scores.headline.values(), *(score for of in scores.classes.values() for score in of.values())]:
        assert math.isnan(score.low) or 0 <= score.low <= score.value <= score.high <= 1


def test_a_class_without_pictures_is_undefined_and_left_out_of_the_means() -> None:
    p, y = problem(90, 3)
    padded = np.hstack([p, np.zeros((90, 1))])
    scores, without = single(padded, y, [*names(3), "ghost"]), single(p, y, names(3))
    assert math.isnan(scores.classes["ghost"]["recall"].value)
    assert math.isnan(scores.classes["ghost"]["f1"].value)
    assert scores.headline["macro_f1"].value == without.headline["macro_f1"].value
    assert scores.headline["balanced_accuracy"].value == without.headline["balanced_accuracy"].value
    assert scores.notes == ("No picture here is of ghost: left out of the means over classes.",)
    assert scores.json()["classes"]["ghost"]["recall"] == {"value": None, "low": None, "high": None, "n": 0}
    assert "NaN" not in json.dumps(scores.json(), allow_nan=False)


def test_a_label_that_no_picture_has_is_left_out_of_the_mean() -> None:
    p, y = labels(80, 3)
    y[:, 2] = 0
    scores = multi(p, y, names(3))
    assert scores.headline["map"].value == pytest.approx(metrics.average_precision_score(y[:, :2], p[:, :2], average="macro"))
    assert math.isnan(scores.classes["c2"]["average_precision"].value)
    assert "c2" in scores.notes[0]


def test_no_pictures_give_undefined_scores() -> None:
    for scores in (
        single(np.zeros((0, 3)), np.zeros(0, np.int64), names(3)),
        multi(np.zeros((0, 3)), np.zeros((0, 3), np.uint8), names(3)),
    ):
        assert scores.n == 0
        assert all(math.isnan(score.value) for score in scores.headline.values())


def test_a_perfect_test_is_not_a_perfect_recogniser() -> None:
    y = np.repeat([0, 1, 2], 8)
    scores = single(np.eye(3)[y], y, names(3))
    assert scores.headline["accuracy"] == wilson(24, 24)
    for score in scores.headline.values():
        assert (score.value, score.high) == (1.0, 1.0)
        assert wilson(8, 8).low < score.low < wilson(24, 24).low + 1e-9
    assert any("Fewer than 10 pictures of c0 (8), c1 (8), c2 (8)" in note for note in scores.notes)


def width(score: Score) -> float:
    return score.high - score.low


def test_groups_widen_the_intervals_and_are_said() -> None:
    rng = np.random.default_rng(5)
    person = np.repeat(np.arange(30), 10)
    y = person % 3
    skill = np.repeat(rng.random(30) < 0.7, 10)
    p = np.where(skill[:, None], np.eye(3)[y], np.eye(3)[(y + 1) % 3])
    loose, grouped = single(p, y, names(3)), single(p, y, names(3), groups=person)
    for name in ("accuracy", "macro_f1", "balanced_accuracy"):
        assert grouped.headline[name].value == loose.headline[name].value
        assert grouped.headline[name].high - grouped.headline[name].low > 2 * (
            loose.headline[name].high - loose.headline[name].low
        )
    one, other = grouped.classes["c0"]["recall"], loose.classes["c0"]["recall"]
    assert one.high - one.low > 2 * (other.high - other.low)
    assert grouped.notes == ("Intervals rest on 30 groups of pictures, not on single pictures.",)


def test_of_fewer_than_five_groups_nothing_is_estimated_and_that_is_said() -> None:
    p, y = problem(60, 3)
    for scores in (
        single(p, y, names(3), groups=np.arange(60) % 4),
        multi(*labels(60, 3), names(3), groups=np.arange(60) % 4),
    ):
        for name, score in scores.headline.items():
            assert not math.isnan(score.value), name
            assert math.isnan(score.low), name
            assert math.isnan(score.high), name
        assert any("Of fewer than 5 groups no interval can be estimated" in note for note in scores.notes)
        assert "[interval not estimable]" in str(scores)
        assert scores.json()["scores"]["macro_f1"]["low"] is None
    assert not math.isnan(single(p, y, names(3), groups=np.arange(60) % 5).headline["macro_f1"].low)


def test_groups_of_one_picture_each_are_no_groups() -> None:
    p, y = problem(50, 3)
    assert single(p, y, names(3), groups=np.full(50, -1)).json() == single(p, y, names(3)).json()


@pytest.mark.parametrize("name", ["macro_f1", "balanced_accuracy"])
def test_intervals_of_means_over_classes_hold_the_truth(name: str) -> None:
    rng = np.random.default_rng(11)
    table = np.array([[0.95, 0.03, 0.02], [0.04, 0.9, 0.06], [0.02, 0.1, 0.88]])
    sizes = np.array([80, 50, 30])
    expected = table * sizes[:, None]
    truth = {
        "balanced_accuracy": float(np.diag(table).mean()),
        "macro_f1": float((2 * np.diag(expected) / (expected.sum(0) + expected.sum(1))).mean()),
    }[name]
    y, held = np.repeat(np.arange(3), sizes), []
    for seed in range(200):
        guesses = (rng.random(160)[:, None] > table[y].cumsum(1)).sum(1)
        score = single(np.eye(3)[guesses], y, names(3), seed=seed).headline[name]
        held.append(score.low <= truth <= score.high)
    assert 0.90 <= np.mean(held) <= 0.99


def test_equal_probabilities_go_to_the_first_class_and_to_the_first_five() -> None:
    scores = single(np.full((6, 6), 1 / 6), np.arange(6), names(6))
    assert scores.headline["accuracy"].value == pytest.approx(1 / 6)
    assert scores.headline["top5"].value == pytest.approx(5 / 6)


def test_thresholds_may_differ_by_class_and_are_reached_at_equality() -> None:
    p, y = np.array([[0.5, 0.5], [0.4, 0.9]]), np.array([[1, 1], [0, 1]])
    scores = multi(p, y, names(2), thresholds=[0.5, 0.6])
    assert scores.classes["c0"]["recall"].value == 1.0
    assert scores.classes["c1"]["recall"].value == 0.5


def test_the_text_begins_with_the_main_score_and_lists_few_classes_only() -> None:
    p, y = problem(480, 3)
    scores = single(p, y, names(3))
    lines = str(scores).splitlines()
    assert lines[0] == f"accuracy {scores.headline['accuracy']}"
    assert any(line.startswith("c2 ") and str(scores.classes["c2"]["recall"].n) in line for line in lines)
    assert "specificity" not in str(scores)
    assert "specificity" in str(single(*problem(50, 2), names(2)))
    assert "specificity" in str(multi(*labels(50, 4), names(4)))
    assert "c7" not in str(single(*problem(300, 21), names(21)))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"probabilities": np.zeros((4, 3))}, "bad-probabilities"),
        ({"probabilities": np.full((4, 2), np.nan)}, "bad-probabilities"),
        ({"classes": ["a", "a"]}, "bad-probabilities"),
        ({"targets": np.array([0, 1, 2, 0])}, "bad-targets"),
        ({"targets": np.array([0, 1, -1, 0])}, "bad-targets"),
        ({"targets": np.array([0.0, 1.0, 1.0, 0.0])}, "bad-targets"),
        ({"targets": np.array([0, 1])}, "bad-targets"),
        ({"groups": np.array([0, 1])}, "bad-shape"),
    ],
)
def test_what_does_not_fit_is_refused(changes: dict[str, Any], code: str) -> None:
    fitting = {"probabilities": np.full((4, 2), 0.5), "targets": np.array([0, 1, 1, 0]), "classes": ["a", "b"]}
    with pytest.raises(UsageError) as caught:
        single(**{**fitting, **changes})
    assert caught.value.code == code
    assert caught.value.hint


def test_multi_refuses_targets_that_are_not_zero_or_one() -> None:
    with pytest.raises(UsageError, match="multi-label targets"):
        multi(np.full((2, 2), 0.5), np.array([[0, 2], [1, 0]]), names(2))


def test_ten_thousand_pictures_of_ten_classes_are_scored_within_a_second() -> None:
    p, y = problem(10_000, 10)
    best = min(_seconds(p, y) for _ in range(3))
    assert best < 1.0


def _seconds(p: np.ndarray, y: np.ndarray) -> float:
    """The time that this thread computes: other work on the machine does not count."""
    began = time.thread_time()
    single(p, y, names(10))
    return time.thread_time() - began


def test_of_many_classes_a_note_says_what_holds_for_all_at_once() -> None:
    p, y = problem(400, 20)
    scores = single(p, y, names(20))
    assert any("of 20 recalls about 1 may lie outside" in note for note in scores.notes)
    assert not any("at once" in note for note in single(*problem(100, 4), names(4)).notes)
