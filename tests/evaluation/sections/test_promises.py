"""The sections `calibration` and `selective`: plain JSON that agrees with what is known of a simulated recogniser."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from tests.configs import config
from torch import nn

import beholder
from beholder.base import events
from beholder.bundle.bundle import Bundle
from beholder.evaluation.evaluate import Evaluation
from beholder.evaluation.sections import chosen, examined
from beholder.evaluation.sections.calibration import calibration
from beholder.evaluation.sections.selective import selective
from beholder.learn.calibrate import fit
from beholder.measure.families import BERNOULLI, CATEGORICAL
from beholder.measure.scores import multi as multi_scores
from beholder.measure.scores import single

CLASSES = ("cat", "dog", "eel")


def told(n: int, *, multi: bool, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits twice too large, and targets."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 3)) * 2
    p = (BERNOULLI if multi else CATEGORICAL).probabilities(logits)
    targets = (rng.random((n, 3)) < p).astype(np.uint8) if multi else (rng.random((n, 1)) > p.cumsum(1)[:, :2]).sum(1)
    return (2 * logits).astype(np.float32), targets


def trial(*, multi: bool, n: int = 2000, fitted: bool = True, **fields: Any) -> tuple[Bundle, Evaluation]:
    bundle = Bundle(config(CLASSES, task="multi" if multi else "single"), nn.Linear(1, 1), beholder.Recipe().set(**fields))
    if fitted:
        logits, targets = told(4000, multi=multi, seed=0)
        with events.listen(alone=True):
            fit(bundle, logits, np.ones((4000, 2), np.float32), targets)
    logits, targets = told(n, multi=multi, seed=1)
    p = bundle.activated(logits)
    scores = (multi_scores if multi else single)(p, targets, CLASSES)
    return bundle, Evaluation(scores, p, targets, [str(i) for i in range(n)], (), 0.0, "s", logits=logits)


@pytest.mark.parametrize("multi", [False, True])
def test_calibration_says_what_it_was_worth(multi: bool) -> None:
    found = calibration(*trial(multi=multi))
    assert found is not None
    assert json.loads(json.dumps(found)) == found
    assert found["method"] == "temperature"
    assert found["temperature"] == pytest.approx(2.0, abs=0.15)
    assert found["n_fitted"] == 4000
    assert found["after"]["ece"]["value"] < 0.03 < 0.05 < found["before"]["ece"]["value"]
    assert found["difference"]["nll"]["high"] < 0
    assert sum(row["n"] for row in found["reliability"]["after"]) == (6000 if multi else 2000)


def test_an_older_bundle_has_none_and_says_so() -> None:
    bundle, evaluation = trial(multi=False, fitted=False)
    found = calibration(bundle, evaluation)
    assert found is not None
    assert (found["method"], found["n_fitted"]) == ("none", 0)
    assert found["before"]["ece"]["value"] == pytest.approx(found["after"]["ece"]["value"], abs=1e-5)
    assert "conformal" not in (selective(bundle, evaluation) or {})


@pytest.mark.parametrize("multi", [False, True])
def test_abstention_says_whether_promises_held(multi: bool) -> None:
    bundle, evaluation = trial(multi=multi, target_risk=0.1, sensitivity=0.9, positive="dog", coverage=0.9)
    found = selective(bundle, evaluation)
    assert found is not None
    assert json.loads(json.dumps(found)) == found
    assert found["curve"][-1]["coverage"] == 1.0
    assert len(found["curve"]) == 100
    assert found["aurc"]["low"] < found["aurc"]["value"] < found["curve"][-1]["risk"]
    assert found["sensitivity"]["label"] == "dog"
    assert found["sensitivity"]["sensitivity"]["value"] == pytest.approx(0.9, abs=0.05)
    assert 0 < found["sensitivity"]["specificity"]["value"] < 1
    assert found["conformal"]["coverage"]["value"] == pytest.approx(0.9, abs=0.025)
    assert sum(found["conformal"]["sizes"].values()) == 2000
    assert set(found["conformal"]["classes"]) == set(CLASSES)
    if not multi:
        assert found["risk"]["risk"]["value"] < 0.12
        assert found["risk"]["coverage"]["n"] == 2000
        assert found["risk"]["kept"] == (found["risk"]["risk"]["value"] <= 0.1)


def test_a_point_that_could_not_be_promised_has_its_reason() -> None:
    found = selective(*trial(multi=False, target_risk=0.0001))
    assert found is not None
    assert found["risk"]["threshold"] is None
    assert "takes 29956 validation pictures" in found["risk"]["reason"]
    assert "coverage" not in found["risk"]


def test_they_are_among_the_usual_sections() -> None:
    assert {"calibration", "selective"} <= set(chosen("usual"))
    bundle, evaluation = trial(multi=False, n=50)
    assert {"calibration", "selective"} <= examined(bundle, evaluation, ["calibration", "selective"]).sections.keys()
