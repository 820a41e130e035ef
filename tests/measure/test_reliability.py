"""Calibration error, Brier score and loss against scikit-learn and against what is known of simulated recognisers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.calibration import calibration_curve
from sklearn.metrics import brier_score_loss, log_loss

from beholder.measure.families import BERNOULLI, CATEGORICAL
from beholder.measure.reliability import calibration_error, certainties, diagram, measures


def told(n: int, k: int = 4, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a perfectly calibrated recogniser, and targets drawn as they say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, k)) * 2
    below = CATEGORICAL.probabilities(logits).cumsum(axis=1)[:, :-1]
    return logits, (rng.random((n, 1)) > below).sum(axis=1)


def test_the_plain_error_is_that_of_scikit_learns_quantile_bins() -> None:
    logits, targets = told(997)
    certainty, right = certainties(CATEGORICAL.probabilities(logits * 1.7), targets, family=CATEGORICAL)
    share, said = calibration_curve(right[:, 0], certainty[:, 0], n_bins=15, strategy="quantile")
    edges = np.quantile(certainty[:, 0], np.linspace(0, 1, 16))
    counts = np.bincount(np.searchsorted(edges[1:-1], certainty[:, 0]), minlength=15)
    expected = float((np.abs(share - said) * counts).sum() / counts.sum())
    assert calibration_error(certainty, right, debiased=False) == pytest.approx(expected, abs=2e-3)


def test_brier_score_and_loss_are_those_of_scikit_learn() -> None:
    logits, targets = told(500)
    p = CATEGORICAL.probabilities(logits)
    found = measures([(p, CATEGORICAL.losses(logits, targets))], targets, family=CATEGORICAL).scores(0)
    assert found["brier"].value == pytest.approx(brier_score_loss(targets, p, labels=range(4), scale_by_half=False))
    assert found["nll"].value == pytest.approx(log_loss(targets, p, labels=range(4)))
    truth = np.eye(4, dtype=np.uint8)[targets]
    q = BERNOULLI.probabilities(logits)
    found = measures([(q, BERNOULLI.losses(logits, truth))], truth, family=BERNOULLI).scores(0)
    assert found["brier"].value == pytest.approx(np.mean([brier_score_loss(truth[:, c], q[:, c]) for c in range(4)]))
    assert found["nll"].value == pytest.approx(sum(log_loss(truth[:, c], q[:, c]) for c in range(4)))


def test_chance_alone_is_taken_off() -> None:
    plain, debiased = [], []
    for seed in range(60):
        logits, targets = told(1000, seed=seed)
        pair = certainties(CATEGORICAL.probabilities(logits), targets, family=CATEGORICAL)
        plain.append(calibration_error(*pair, debiased=False))
        debiased.append(calibration_error(*pair))
    assert np.mean(plain) > 0.035, "of a perfect recogniser"
    assert np.mean(debiased) == pytest.approx(np.mean(plain) * (2 - 2**0.5), rel=0.05), "as for normal gaps about 0"


@given(st.integers(0, 2**31), st.floats(0.05, 0.3))
def test_a_known_error_is_found(seed: int, off: float) -> None:
    rng = np.random.default_rng(seed)
    certainty = rng.uniform(off, 1, (20000, 1))
    right = rng.random((20000, 1)) < certainty - off
    assert calibration_error(certainty, right) == pytest.approx(off, abs=0.015)


def test_intervals_hold_a_known_error() -> None:
    held = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        p = rng.uniform(0.6, 1, 800)
        right = rng.random(800) < p - 0.1
        rows = np.stack([p, 1 - p], axis=1)
        score = measures([(rows, np.zeros(800))], np.where(right, 0, 1), family=CATEGORICAL, seed=seed).scores(0)["ece"]
        held += score.low <= 0.1 <= score.high
    assert 89 <= held <= 100


def test_draws_are_those_of_a_bootstrap_of_pictures_or_of_groups() -> None:
    logits, targets = told(400)
    p, cost = CATEGORICAL.probabilities(logits), CATEGORICAL.losses(logits, targets)
    alone = measures([(p, cost)], targets, family=CATEGORICAL).scores(0)["nll"]
    half = 1.96 * cost.std() / 20
    assert (alone.low, alone.high) == pytest.approx((cost.mean() - half, cost.mean() + half), abs=0.02)
    four = [np.repeat(values, 4, axis=0) for values in (p, cost, targets)]
    together = measures([(four[0], four[1])], four[2], family=CATEGORICAL, groups=np.repeat(np.arange(400), 4)).scores(0)["nll"]
    assert together.high - together.low == pytest.approx(alone.high - alone.low, rel=0.1), "four copies tell no more than one"


def test_the_difference_of_two_is_surer_than_each() -> None:
    logits, targets = told(2000)
    both = [(CATEGORICAL.probabilities(z), CATEGORICAL.losses(z, targets)) for z in (logits, 2 * logits)]
    found = measures(both, targets, family=CATEGORICAL)
    gain = found.difference(0, 1)["nll"]
    assert gain.high < 0
    assert gain.high - gain.low < found.scores(1)["nll"].high - found.scores(1)["nll"].low
    same = measures([both[0], both[0]], targets, family=CATEGORICAL).difference(0, 1)["ece"]
    assert same.value == 0
    assert same.high - same.low < 1e-6


def test_the_diagram_holds_every_picture_once() -> None:
    logits, targets = told(333)
    rows = diagram(*certainties(CATEGORICAL.probabilities(logits), targets, family=CATEGORICAL))
    assert sum(row["n"] for row in rows) == 333
    assert [row["low"] for row in rows] == sorted(row["low"] for row in rows)
    assert all(row["low"] <= row["certainty"] <= row["high"] for row in rows)
    assert all(row["right"]["low"] <= row["right"]["value"] <= row["right"]["high"] for row in rows)


def test_equal_certainties_and_no_pictures_at_all() -> None:
    certainty, right = np.full((100, 1), 0.7), np.arange(100)[:, None] < 60
    assert calibration_error(certainty, right, debiased=False) == pytest.approx(0.1)
    assert len(diagram(certainty, right)) == 1
    assert np.isnan(calibration_error(certainty[:0], right[:0]))
    assert diagram(certainty[:0], right[:0]) == []


def test_few_pictures_make_few_bins() -> None:
    rng = np.random.default_rng(0)
    for n, bins in ((40, 4), (100, 10), (1000, 15), (7, 2)):
        certainty = rng.uniform(0.3, 1.0, (n, 1))
        rows = diagram(certainty, rng.random((n, 1)) < certainty)
        assert len(rows) == bins
        assert sum(row["n"] for row in rows) == n


def few(n: int, p: float, *, wrong: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Probabilities of n pictures, all as certain; targets, all but `wrong` of them as told; losses."""
    rows = np.tile([p, (1 - p) * 0.9, (1 - p) * 0.1], (n, 1))
    targets = np.where(np.arange(n) < wrong, 1, 0)
    return rows, targets, -np.log(rows[np.arange(n), targets])


def test_seven_right_answers_of_seven_do_not_make_probabilities_exact() -> None:
    rows, targets, losses = few(7, 0.9999)
    found = measures([(rows, losses)], targets, family=CATEGORICAL).scores(0)
    for name in ("ece", "ece_plain"):
        assert found[name].value == pytest.approx(1e-4)
        assert found[name].low == 0
        assert found[name].high == pytest.approx(0.354, abs=0.001), "a model that errs in 35 % is right seven times in a row"
    assert found["brier"].high > 0.7
    assert found["nll"].high > 3
    wrong = measures([(rows, few(7, 0.9999, wrong=7)[2])], np.ones(7, np.int64), family=CATEGORICAL).scores(0)
    assert wrong["ece"].low == pytest.approx(0.646, abs=0.001)
    assert wrong["brier"].low < 1.4 < wrong["brier"].value
    many = measures([few(1000, 0.9999)[::2]], np.zeros(1000, np.int64), family=CATEGORICAL).scores(0)
    assert many["ece"].high == pytest.approx(0.004, abs=0.0005)


def test_several_labels_that_are_all_right_keep_an_interval() -> None:
    truth = np.eye(4, dtype=np.uint8)[np.arange(12) % 4]
    logits = np.where(truth, 12.0, -12.0)
    found = measures([(BERNOULLI.probabilities(logits), BERNOULLI.losses(logits, truth))], truth, family=BERNOULLI).scores(0)
    assert found["ece"].high == pytest.approx(0.2425, abs=0.001)
    assert found["brier"].high > 0.2
    assert found["nll"].high > 1


def test_of_fewer_than_five_groups_there_is_no_interval() -> None:
    rows, targets, losses = few(12, 0.8, wrong=3)
    groups = np.arange(12) % 4
    found = measures([(rows, losses), (rows, losses)], targets, family=CATEGORICAL, groups=groups)
    assert all(np.isnan(score.low) and np.isnan(score.high) for score in found.scores(0).values())
    assert all(np.isnan(score.low) for score in found.difference(0, 1).values())
    five = measures([(rows, losses)], targets, family=CATEGORICAL, groups=np.arange(12) % 5).scores(0)
    assert five["ece"].low < five["ece"].high


def test_a_difference_keeps_a_width_where_all_is_right() -> None:
    rows, targets, losses = few(7, 0.9999)
    found = measures([(rows, losses), few(7, 0.6)[::2]], targets, family=CATEGORICAL).difference(0, 1)
    assert found["ece"].value == pytest.approx(-0.4, abs=0.001)
    assert found["ece"].high > 0.3, "of a model that errs in 35 % the other would be the better calibrated"
    assert found["brier"].low < found["brier"].value < 0.1 < found["brier"].high


@pytest.mark.parametrize("n", [7, 20, 60])
def test_intervals_of_few_pictures_hold_the_truth(n: int) -> None:
    rng, held = np.random.default_rng(n), []
    p = np.array([0.95, 0.04, 0.01])
    for _ in range(200):
        targets = (rng.random((n, 1)) > p.cumsum()[:-1]).sum(axis=1)
        rows = np.tile(p, (n, 1))
        found = measures([(rows, -np.log(p[targets]))], targets, family=CATEGORICAL, repeats=200).scores(0)
        truths = {"ece": 0.0, "brier": float(1 - p @ p), "nll": float(-p @ np.log(p))}
        held.append([found[name].low <= truth <= found[name].high for name, truth in truths.items()])
    assert np.mean(held, axis=0).min() >= 0.9
