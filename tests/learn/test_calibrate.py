"""What is fitted on validation is kept in the bundle, and asked for in words that make sense."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.configs import config
from torch import nn

import beholder
from beholder.base import events
from beholder.base.errors import UsageError
from beholder.bundle.bundle import Bundle, load
from beholder.learn import calibrate
from beholder.learn.calibrate import check, fit
from beholder.measure.conformal import Sets, spread
from beholder.measure.families import BERNOULLI, CATEGORICAL
from beholder.tasks.single import SINGLE

CLASSES = ("cat", "dog", "eel")


def bundle(task: str = "single", **fields: object) -> Bundle:
    return Bundle(config(CLASSES, task=task), nn.Linear(1, 1), beholder.Recipe().set(**fields))


def told(n: int = 3000, factor: float = 2.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits that are `factor` times too large, and targets drawn as the true ones say."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 2
    p = CATEGORICAL.probabilities(logits).cumsum(axis=1)
    return (factor * logits).astype(np.float32), (rng.random((n, 1)) > p[:, :2]).sum(axis=1)


def calibrated(task: str = "single", n: int = 3000, **fields: object) -> Bundle:
    made = bundle(task, **fields)
    logits, targets = told(n)
    truth = np.eye(3, dtype=np.uint8)[targets] if task == "multi" else targets
    with events.listen(alone=True):
        fit(made, logits, np.ones((n, 2), np.float32), truth)
    return made


def test_probabilities_are_calibrated_from_then_on() -> None:
    made = calibrated()
    assert made.config.calibration.method == "temperature"
    assert made.config.calibration.temperature == pytest.approx(2.0, abs=0.1)
    assert made.config.calibration.n == 3000
    logits = np.array([[2.0, 0.0, -2.0]], np.float32)
    scale = made.config.calibration.scale[0]
    assert np.allclose(made.activated(logits), CATEGORICAL.probabilities(logits * scale), atol=1e-6)
    assert np.allclose(bundle().activated(logits), CATEGORICAL.probabilities(logits), atol=1e-6), "an older bundle is as before"


def test_answers_chosen_by_an_objective_that_was_asked_for_stay() -> None:
    logits, targets = told()
    logits[:, 2] += 1.5  # the third class is said too often: its bias lowers the loss
    for objective, method in (("auto", "vector"), ("macro_f1", "temperature")):
        made = bundle(objective=objective)
        with events.listen(alone=True):
            fit(made, logits, np.ones((3000, 2), np.float32), targets)
        assert made.config.calibration.method == method
        same = made.activated(logits).argmax(axis=1) == logits.argmax(axis=1)
        assert same.all() == (objective == "macro_f1")


def test_pictures_of_one_person_stay_in_one_fold() -> None:
    """Twelve people with 25 much alike pictures each: what is learnt of a person holds for that person alone."""
    rng = np.random.default_rng(2)
    groups = np.repeat(np.arange(12), 25)
    logits = np.repeat(rng.normal(size=(12, 3)), 25, axis=0) + 0.3 * rng.normal(size=(300, 3))
    targets = rng.integers(0, 3, 12)[groups]
    for given, method in ((groups, "none"), (None, "vector"), (np.full(300, -1), "vector")):
        made = bundle()
        with events.listen(alone=True):
            fit(made, logits.astype(np.float32), np.ones((300, 2), np.float32), targets, groups=given)
        assert made.config.calibration.method == method


def test_what_is_not_asked_for_is_not_there() -> None:
    made = calibrated(coverage=0.0, calibrate="none")
    assert made.config.calibration.method == "none"
    assert (made.config.prediction_sets, made.config.operating_points) == (None, ())
    guess = made.guess(np.array([0.2, 0.7, 0.1], np.float32))
    assert (guess.abstain, guess.positive, guess.set) == (None, None, None)


def test_a_guess_abstains_and_names_its_set() -> None:
    made = calibrated(target_risk=0.2, sensitivity=0.9, positive="dog", coverage=0.9)
    point = made.operating("risk")
    assert point is not None
    assert point.threshold is not None
    assert 0.4 < point.threshold < 0.95
    sure, torn = (made.guess(np.array(row, np.float32)) for row in ([0.01, 0.98, 0.01], [0.32, 0.36, 0.32]))
    assert (sure.abstain, sure.positive, sure.set) == (False, True, ("dog",))
    assert torn.abstain is True
    assert torn.set == CLASSES
    assert made.guess(np.array([0.99, 0.005, 0.005], np.float32)).positive is False


def test_labels_of_their_own_have_temperatures_of_their_own() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    truth = (rng.random((4000, 3)) < BERNOULLI.probabilities(logits)).astype(np.uint8)
    made = bundle("multi")
    factors = np.array([0.5, 1.0, 3.0])
    with events.listen(alone=True):
        fit(made, (logits * factors).astype(np.float32), np.ones((4000, 2), np.float32), truth)
    assert np.allclose(np.array(made.config.calibration.scale) * factors, 1.0, atol=0.12)
    assert made.config.prediction_sets.per_class is True
    assert made.guess(np.array([0.9, 0.9, 0.001], np.float32)).set == ("cat", "dog")


def test_what_cannot_be_promised_is_said_with_the_number_that_it_takes() -> None:
    heard: list[events.Event] = []
    made = bundle(target_risk=0.01, sensitivity=0.95, positive="eel")
    logits, targets = told(60)
    with events.listen(heard.append, alone=True):
        fit(made, logits, np.ones((60, 2), np.float32), targets)
    warned = " ".join(event.message for event in heard if event.kind == "warn")
    assert "takes 299 validation pictures, there are 60" in warned
    assert "takes 59 validation pictures of eel" in warned
    assert made.guess(np.array([0.9, 0.05, 0.05], np.float32)).abstain is None


def test_half_a_wish_is_refused() -> None:
    for fields in ({"sensitivity": 0.9}, {"positive": "cat"}, {"sensitivity": 0.9, "positive": "cta"}):
        with pytest.raises(UsageError) as caught:
            check(beholder.Recipe().set(**fields), CLASSES, SINGLE)
        assert caught.value.hint
    check(beholder.Recipe().set(sensitivity=0.9, positive="cat"), CLASSES, SINGLE)


def test_training_settles_and_the_bundle_keeps_it(leaves: Path, tmp_path: Path) -> None:
    parts = beholder.split(beholder.scan(leaves), seed=0)
    out = tmp_path / "leaves.beholder"
    with events.listen(alone=True):
        made = beholder.train(parts, net="logistic", epochs=2, out=out, coverage=0.6)
    kept = load(out)
    assert kept.config.calibration.n == len(parts.valid)
    assert kept.config.prediction_sets.coverage == 0.6
    image = np.zeros((1, *made.pixels(leaves / "rust" / "00.png").shape), np.uint8)
    assert np.array_equal(kept.probabilities(image), made.probabilities(image))
    assert next(made.net.parameters()).device == torch.device("cpu")
    with pytest.raises(UsageError, match="no class 'moss'"):
        beholder.train(parts, sensitivity=0.9, positive="moss")


@pytest.mark.parametrize(
    ("per_class", "thresholds", "each", "always"),
    [
        (False, (0.9, 0.99), "", ""),
        (True, (0.9, 0.99), " for each class", ""),
        (True, (0.9, 1.0), " for each class", "c1"),
        (True, (1.0,) * 5, " for each class", "c0, c1, c2, c3, c4"),
        (True, (1.0,) * 7, " for each class", "c0, c1, c2, c3, c4 and 2 more"),
    ],
)
def test_what_sets_promise_is_said_and_which_classes_they_always_have(
    per_class: bool, thresholds: tuple[float, ...], each: str, always: str
) -> None:
    """A threshold of 1 leaves nothing out."""
    heard: list[events.Event] = []
    with events.listen(heard.append, alone=True):
        names = [f"c{k}" for k in range(len(thresholds))]
        calibrate._tell_sets(Sets("least", 0.9, thresholds, 100, (100,) * len(thresholds), per_class), names)
    low, high = spread(100, 0.9)
    promise = f"prediction sets: coverage 0.9{each}, fitted on 100 pictures (within {low:.3f} to {high:.3f})"
    some = [f"too few validation pictures to ever leave out {always}: in every set"] if always else []
    assert [event.message for event in heard] == [promise, *some]


def test_what_a_task_has_not_is_refused_by_the_name_of_its_field() -> None:
    poor = replace(SINGLE, calibrations=("none", "temperature"), operating=("sets",))
    for fields, names in (
        ({"target_risk": 0.1}, "test.target_risk"),
        ({"sensitivity": 0.9, "positive": "cat"}, "test.sensitivity"),
        ({"calibrate": "vector"}, "test.calibrate"),
        ({"calibrate": "vector", "target_risk": 0.1}, "test.calibrate, test.target_risk"),
    ):
        with pytest.raises(UsageError, match=f"takes no {names}\n") as caught:
            check(beholder.Recipe().set(**fields), CLASSES, poor)
        assert (caught.value.code, caught.value.hint) == ("unused-field", "it has none, temperature, sets")
    check(beholder.Recipe().set(calibrate="temperature"), CLASSES, poor)
    for name in ("auto", "none", *SINGLE.calibrations):
        check(beholder.Recipe().set(calibrate=name), CLASSES, SINGLE)


def test_the_hint_names_the_class_that_was_meant() -> None:
    with pytest.raises(UsageError) as caught:
        check(beholder.Recipe().set(sensitivity=0.9), CLASSES, SINGLE)
    assert (caught.value.code, "--positive cat" in caught.value.hint) == ("half-asked", True)
    assert "not of which class" in caught.value.message
    with pytest.raises(UsageError) as caught:
        check(beholder.Recipe().set(positive="dog"), CLASSES, SINGLE)
    assert (caught.value.code, "--positive dog" in caught.value.hint) == ("half-asked", True)
    assert "no sensitivity" in caught.value.message
    with pytest.raises(UsageError) as caught:
        check(beholder.Recipe().set(sensitivity=0.9, positive="dgo"), CLASSES, SINGLE)
    assert (caught.value.code, "dog" in caught.value.hint) == ("unknown-class", True)


def test_operating_points_are_said_with_their_thresholds() -> None:
    heard: list[events.Event] = []
    made = bundle(target_risk=0.2, sensitivity=0.9, positive="dog")
    logits, targets = told()
    with events.listen(heard.append, alone=True):
        fit(made, logits, np.ones((3000, 2), np.float32), targets)
    said = [event.fields for event in heard if event.name == "operating-point"]
    points = made.config.operating_points
    assert [row["what"] for row in said] == ["risk 0.2", "sensitivity 0.9 of dog"]
    assert [row["threshold"] for row in said] == [point.threshold for point in points]
    assert [(point.kind, point.label) for point in points] == [("risk", ""), ("sensitivity", "dog")]
    assert points[1].n == int((targets == 1).sum())
    assert any(event.message.startswith("calibration: temperature") for event in heard)
