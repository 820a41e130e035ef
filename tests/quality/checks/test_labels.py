"""Probable label errors: against hand-computed counts, planted flips, and what must not be found."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from beholder.base.records import Pictures
from beholder.duplicates.facts import FACTS
from beholder.quality.checks import Evidence, Marks
from beholder.quality.checks.labels import LABEL, LEAST, SURE, _bounded, beliefs, confident_joint, label
from beholder.sources.arrays import ArrayStore

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]


def planted(n: int, *, classes: int, flipped: float, seed: int, sure: float = 8.0) -> tuple[Floats, Ints, Ints]:
    """(probabilities of a net that is right nine times in ten and calibrated, given labels, true labels)."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, sure, (n, classes))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    true = (rng.random(n)[:, None] > p.cumsum(axis=1)[:, :-1]).sum(axis=1)
    given = np.where(rng.random(n) < flipped, (true + rng.integers(1, classes, n)) % classes, true)
    return p, given, true


def judged(targets: npt.NDArray[np.generic], probabilities: Floats, classes: int = 0) -> Marks:
    """What the check says of made-up probabilities; there are no files behind them."""
    k = classes or probabilities.shape[1]
    n = len(targets)
    nowhere = ArrayStore([])
    none = np.full(n, -1)
    names = tuple(f"c{i}" for i in range(k))
    pictures = Pictures(nowhere, [str(i) for i in range(n)], targets, names, none.astype(np.int8), none)  # type: ignore[arg-type]
    return label(Evidence(pictures, np.zeros(n, FACTS), probabilities=probabilities.astype(np.float32)))


def test_confident_joint_by_hand() -> None:
    # Mean own probability: class 0 (0.9 + 0.6 + 0.3) / 3 = 0.6; class 1 (0.8 + 0.4) / 2 = 0.6.
    p = np.array([[0.9, 0.1], [0.6, 0.4], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    given = np.array([0, 0, 0, 1, 1])
    assert confident_joint(p, given).tolist() == [[2, 1], [1, 1]]


def test_confident_joint_leaves_out_what_is_sure_of_nothing() -> None:
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    assert confident_joint(p, np.array([0, 1, 0])).sum() == 2  # 0.5 is below the mean of each class: 0.7 and 0.8


@pytest.mark.parametrize("flipped", [0.05, 0.2, 0.4])
def test_planted_flips_are_found(flipped: float) -> None:
    p, given, true = planted(3000, classes=5, flipped=flipped, seed=1)
    found = beliefs(p, given)
    bad = given != true
    order = np.argsort(-found.wrong)
    assert bad[order[: bad.sum()]].mean() > 0.75
    sure = found.wrong >= 0.5
    assert bad[sure].mean() > 0.8
    assert abs(found.wrong.mean() - flipped) < 0.06
    assert (found.classes[sure].argmax(axis=1) == true[sure]).mean() > 0.8


def test_rows_are_probabilities_and_scores_in_range() -> None:
    p, given, _ = planted(500, classes=4, flipped=0.1, seed=2)
    found = beliefs(p, given)
    assert np.allclose(found.classes.sum(axis=1), 1)
    assert np.allclose(found.noise.sum(axis=1), 1)
    assert found.wrong.min() >= 0
    assert found.wrong.max() <= 1


def test_right_labels_are_left_alone() -> None:
    p, given, _ = planted(3000, classes=5, flipped=0.0, seed=3)
    assert (beliefs(p, given).wrong >= 0.5).mean() < 0.01


def test_a_net_that_knows_nothing_accuses_nobody() -> None:
    rng = np.random.default_rng(0)
    given = rng.choice(4, 2000, p=[0.7, 0.1, 0.1, 0.1])
    p = np.tile([0.7, 0.1, 0.1, 0.1], (2000, 1)) * rng.uniform(0.9, 1.1, (2000, 4))
    found = beliefs(p / p.sum(axis=1, keepdims=True), given)
    assert (found.wrong >= SURE).mean() < 0.02


def test_temperature_sharpens_a_shy_net() -> None:
    p, given, _ = planted(3000, classes=5, flipped=0.1, seed=4)
    shy = np.sqrt(p) / np.sqrt(p).sum(axis=1, keepdims=True)
    assert beliefs(shy, given).temperature > beliefs(p, given).temperature


def test_order_of_classes_makes_no_difference() -> None:
    p, given, _ = planted(800, classes=4, flipped=0.2, seed=5)
    turned = np.array([2, 0, 3, 1])  # new class k is old class turned[k]
    back = np.argsort(turned)
    assert np.allclose(beliefs(p, given).wrong, beliefs(p[:, turned], back[given]).wrong)


def test_check_suggests_only_what_is_sure_and_asks_a_person_to_look_at_the_rest() -> None:
    p, given, true = planted(2000, classes=4, flipped=0.1, seed=6)
    marks = judged(given, p)
    assert marks.relabel is not None
    assert LABEL.suggestion == "review"
    some = marks.relabel >= 0
    assert some.any()
    assert (marks.relabel[some] == true[some]).mean() > 0.8
    assert (marks.relabel[some] != given[some]).all()
    assert {row for row, what in marks.suggest.items() if what == "relabel"} == set(np.flatnonzero(some).tolist())
    assert set(marks.suggest.values()) <= {"relabel", "drop"}
    assert (marks.scores[list(marks.suggest)] >= SURE).all()
    assert np.count_nonzero(marks.scores >= LABEL.limit) > len(marks.suggest)
    row = int(np.flatnonzero(some)[0])
    assert f"given 'c{given[row]}', looks like 'c{marks.relabel[row]}'" in marks.words[row]


def test_rare_classes_and_unreadable_pictures_get_no_score() -> None:
    p, given, _ = planted(400, classes=3, flipped=0.05, seed=7)
    given[given == 2] = 1
    given[: LEAST - 1] = 2
    p[50] = np.nan
    scores = judged(given, p, classes=3).scores
    assert np.isnan(scores[given == 2]).all()
    assert np.isnan(scores[50])
    assert np.isfinite(np.delete(scores, 50)[np.delete(given, 50) != 2]).all()


def test_several_labels_are_judged_class_by_class() -> None:
    p, given, true = planted(1500, classes=2, flipped=0.06, seed=8)
    q, always, _ = planted(1500, classes=2, flipped=0.0, seed=9)
    targets = np.column_stack([given, always]).astype(np.uint8)
    marks = judged(targets, np.column_stack([p[:, 1], q[:, 1]]))
    bad = given != true
    assert bad[np.argsort(-marks.scores)[: bad.sum()]].mean() > 0.7
    assert marks.relabel is None
    row = int(np.argmax(marks.scores))
    assert marks.words[row].startswith("'c0' is ")


def test_class_that_is_nearly_always_there_is_not_judged() -> None:
    p, given, _ = planted(300, classes=2, flipped=0.0, seed=10)
    targets = np.column_stack([given, np.ones(300)]).astype(np.uint8)
    marks = judged(targets, np.column_stack([p[:, 1], np.full(300, 0.01)]))
    assert (marks.scores < LABEL.limit).mean() > 0.98


def test_one_class_has_no_errors() -> None:
    marks = judged(np.zeros(30, np.int64), np.ones((30, 1)))
    assert np.isnan(marks.scores).all()


def test_a_poor_net_suggests_nothing() -> None:
    p, given, _ = planted(1500, classes=5, flipped=0.1, seed=11, sure=1.0)
    marks = judged(given, p)
    assert marks.relabel is not None
    assert (marks.relabel < 0).all()
    assert not marks.suggest


def test_a_net_that_is_sure_of_what_is_wrong_judges_nothing() -> None:
    rng = np.random.default_rng(0)
    given = np.repeat(np.arange(6), 20)
    said = np.where(rng.random(120) < 0.42, given, rng.integers(0, 6, 120))
    p = np.full((120, 6), 0.004)
    p[np.arange(120), said] = 0.98
    marks = judged(given, p)
    assert not marks.suggest
    assert np.isnan(marks.scores).all()


def test_noise_is_bounded_and_stays_a_share() -> None:
    noise = np.array([[0.5, 0.4, 0.1], [0.1, 0.9, 0.0], [0.0, 0.0, 1.0]])
    found = _bounded(noise, np.array([0.8, 0.5, 0.5]))
    assert np.allclose(found.sum(axis=1), 1)
    assert np.allclose(np.diag(found), [0.8, 0.9, 1.0])
    assert np.allclose(found[0], [0.8, 0.2 * 0.325 / 0.5, 0.2 * 0.175 / 0.5])  # half-way between (0.4, 0.1) and (0.25, 0.25)
