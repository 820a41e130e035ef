"""`ImageClassifier` under scikit-learn's own checks, in its tools, pickled, and beside `beholder.train`."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any, cast

import joblib
import numpy as np
import pytest
import torch
from sklearn import config_context
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks
from tests.digits import QUICK
from tests.digits import digits as digits
from tests.digits import fitted as fitted
from tests.digits import said as said
from torch import nn

import beholder
from beholder import ImageClassifier

EXPECTED = {
    "check_class_weight_classifiers": (
        "it gives each class a weight of its own; here class_weight is None or 'balanced', "
        "as the loss weighs classes by how rare they are"
    ),
}
"""Checks of scikit-learn that fail, and why; docs/SKLEARN.md says the same."""


# --- scikit-learn's checks -------------------------------------------------------------------------------------------


@parametrize_with_checks([QUICK], expected_failed_checks=lambda _: EXPECTED, xfail_strict=True)
def test_it_passes_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    """Strict: an expected failure that does not fail any more fails here."""
    check(estimator)


def test_the_page_names_the_checks_that_fail(root: Path) -> None:
    page = (root / "docs" / "SKLEARN.md").read_text("utf-8")
    rows = dict(line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| `check_"))
    assert {name.strip("`"): why for name, why in rows.items()} == {
        name: why.replace("class_weight", "`class_weight`").replace("None", "`None`").replace("'balanced'", '`"balanced"`')
        for name, why in EXPECTED.items()
    }


# --- its tools -------------------------------------------------------------------------------------------------------


def test_cross_validation_in_this_process(digits: tuple[Any, Any]) -> None:
    assert cross_val_score(QUICK, *digits, cv=2).min() >= 0.8


@pytest.mark.slow
def test_cross_validation_in_two_processes(digits: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """What the processes say, they say themselves; the scores are those of one process."""
    both = cross_val_score(QUICK, *digits, cv=2, n_jobs=2, error_score="raise")
    assert (both == cross_val_score(QUICK, *digits, cv=2)).all()


def test_cross_validation_in_two_threads(digits: tuple[Any, Any]) -> None:
    with joblib.parallel_backend("threading"):
        both = cross_val_score(QUICK, *digits, cv=2, n_jobs=2, error_score="raise")
    assert both.min() >= 0.8


def test_grid_search_over_fields_of_the_recipe(digits: tuple[Any, Any]) -> None:
    found = GridSearchCV(QUICK, {"lr": [1e-6, 0.1], "fields": [{"smoothing": 0.0}]}, cv=2, error_score="raise").fit(*digits)
    assert found.best_params_["lr"] == 0.1
    assert found.best_estimator_.bundle_.recipe.train.smoothing == 0.0
    assert found.cv_results_["mean_test_score"].argmax() == 1
    assert (found.predict(digits[0]) == found.best_estimator_.predict(digits[0])).all()


def test_groups_are_routed_to_fit_and_to_the_folds(digits: tuple[Any, Any]) -> None:
    x, y = digits
    groups = np.arange(120) // 6
    with config_context(enable_metadata_routing=True):
        model = clone(QUICK).set_params(epochs=1).set_fit_request(groups=True)
        found = cross_validate(model, x, y, cv=GroupKFold(2), params={"groups": groups}, return_estimator=True)
    pictures = beholder.scan((x, y))
    of = dict(zip(beholder.split(pictures, val=0.0, test=0.0).train.hexdigests, groups, strict=True))
    for model in found["estimator"]:
        parts = [{of[digest] for digest, part in model.bundle_.splits if part == name} for name in ("train", "valid")]
        assert parts[1]
        assert not parts[0] & parts[1]


def test_in_a_pipeline_behind_what_changes_pictures(digits: tuple[Any, Any]) -> None:
    x, y = digits
    model = make_pipeline(FunctionTransformer(lambda pictures: pictures[:, 1:7, 1:7]), clone(QUICK)).fit(x, y)
    assert model.score(x, y) >= 0.85
    assert model[-1].bundle_.policy.height == 6
    assert model.set_params(imageclassifier__epochs=2).get_params()["imageclassifier__epochs"] == 2


def test_clone_takes_the_parameters_and_nothing_learnt(fitted: ImageClassifier) -> None:
    recipe = beholder.Recipe().set(smoothing=0.2)
    made = clone(fitted.__class__(**{**fitted.get_params(), "recipe": recipe}))
    assert made.get_params() == {**fitted.get_params(), "recipe": recipe}
    with pytest.raises(NotFittedError):
        made.predict(np.zeros((1, 8, 8), np.uint8))


def test_calibrated_by_scikit_learn(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    for model in (CalibratedClassifierCV(QUICK, cv=2), CalibratedClassifierCV(FrozenEstimator(fitted))):
        p = model.fit(x, y).predict_proba(x)
        assert p.shape == (120, 3)
        np.testing.assert_allclose(p.sum(axis=1), 1)
        assert (model.predict(x) == y).mean() >= 0.8


def test_it_shows_its_parameters_as_html(fitted: ImageClassifier) -> None:
    page = estimator_html_repr(fitted)
    assert "ImageClassifier" in page
    assert "random_state" in page


# --- what it learns --------------------------------------------------------------------------------------------------


def test_it_is_the_training_of_beholder_train(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    parts = beholder.split(beholder.scan((x, y)), val=0.15, test=0.0, seed=0)
    model = beholder.train(parts, net="logistic", epochs=12, lr=0.1, augment="none", seed=0)
    assert model.recipe == fitted.bundle_.recipe
    assert sorted(model.splits) == sorted(fitted.bundle_.splits)
    images = np.stack([model.pixels(picture) for picture in x])
    np.testing.assert_allclose(model.probabilities(images), fitted.predict_proba(x), atol=1e-6)


def test_random_state_makes_it_reproducible(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    assert (clone(QUICK).fit(x, y).predict_proba(x) == fitted.predict_proba(x)).all()
    assert (clone(QUICK).set_params(random_state=1).fit(x, y).predict_proba(x) != fitted.predict_proba(x)).any()
    np.random.seed(5)
    seeds = [clone(QUICK).set_params(random_state=None, epochs=1).fit(x, y).bundle_.recipe.seed for _ in range(2)]
    np.random.seed(5)
    assert seeds == np.random.randint(2**31 - 1, size=2).tolist()


def test_answers_fit_together(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    p, logs = fitted.predict_proba(x), fitted.decision_function(x)
    assert fitted.score(x, y) >= 0.9
    assert (fitted.classes_ == [0, 1, 2]).all()
    assert (fitted.predict(x) == fitted.classes_[p.argmax(axis=1)]).all()
    np.testing.assert_allclose(np.exp(logs), p, atol=1e-6)
    two = clone(QUICK).fit(x[y < 2], np.array(["no", "yes"])[y[y < 2]])
    odds = two.decision_function(x)
    np.testing.assert_allclose(1 / (1 + np.exp(-odds)), two.predict_proba(x)[:, 1], atol=1e-6)
    assert (two.predict(x) == np.where(odds > 0, "yes", "no")).all()


def test_several_labels_a_picture(digits: tuple[Any, Any]) -> None:
    x, digit = digits
    y = np.stack([digit == 0, digit != 1], axis=1).astype(int)
    model = clone(QUICK).set_params(epochs=20).fit(x, y)
    assert (model.predict(x) == y).mean() >= 0.9
    np.testing.assert_allclose(1 / (1 + np.exp(-model.decision_function(x))), model.predict_proba(x), atol=1e-6)


def test_class_weight_is_that_of_the_recipe(digits: tuple[Any, Any]) -> None:
    x, y = digits
    rare = (y != 2) | (np.arange(120) % 6 == 0)
    plain, weighed = (clone(QUICK).set_params(class_weight=each, epochs=2).fit(x[rare], y[rare]) for each in (None, "balanced"))
    assert weighed.bundle_.recipe.train.class_weights == "balanced"
    assert weighed.predict_proba(x)[:, 2].mean() > plain.predict_proba(x)[:, 2].mean()


def test_groups_and_repeated_pictures_stay_in_one_part(digits: tuple[Any, Any]) -> None:
    x, y = digits
    groups = np.arange(120) // 6
    model = clone(QUICK).set_params(epochs=1).fit(x, y, groups=groups)
    part = dict(model.bundle_.splits)
    pictures = beholder.scan((x, y))
    found = [part[digest] for digest in beholder.split(pictures, val=0.0, test=0.0).train.hexdigests]
    assert {len({found[row] for row in np.flatnonzero(groups == group)}) for group in range(20)} == {1}
    twice = clone(QUICK).set_params(epochs=1).fit(np.concatenate([x, x]), np.concatenate([y, y]))
    digests = {name: {digest for digest, where in twice.bundle_.splits if where == name} for name in ("train", "valid")}
    assert digests["valid"]
    assert not digests["train"] & digests["valid"]


# --- pickled ---------------------------------------------------------------------------------------------------------


def test_pickled_it_is_the_bytes_of_a_bundle(digits: tuple[Any, Any], fitted: ImageClassifier, tmp_path: Path) -> None:
    x, _ = digits
    wanted = fitted.predict_proba(x)
    state = fitted.__getstate__()
    assert state["bundle_"][:2] == b"PK"
    assert state["bundle_"] == fitted.__getstate__()["bundle_"], "the same bytes each time"
    joblib.dump(fitted, tmp_path / "model.joblib")
    loaded = pickle.loads(pickle.dumps(fitted))  # noqa: S301
    for again in (loaded, copy.deepcopy(fitted), joblib.load(tmp_path / "model.joblib")):
        assert (again.predict_proba(x) == wanted).all()
        assert again.get_params() == fitted.get_params()
        assert again.bundle_.path is None
    assert fitted.bundle_.path is None


class Flat(nn.Module):
    """A net of one's own."""

    def __init__(self, size: tuple[int, int] = (8, 8), classes: int = 3) -> None:
        super().__init__()
        self.say = nn.Linear(size[0] * size[1], classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return cast(torch.Tensor, self.say(images.flatten(1)))


@pytest.mark.parametrize("net", [Flat, Flat()], ids=["class", "module"])
def test_a_net_of_ones_own_is_trained_cloned_and_pickled(net: Any, digits: tuple[Any, Any]) -> None:
    x, y = digits
    model = clone(clone(QUICK).set_params(net=net)).fit(x, y)
    assert model.score(x, y) >= 0.85
    again = pickle.loads(pickle.dumps(model))  # noqa: S301
    assert (again.predict_proba(x) == model.predict_proba(x)).all()


def test_parameters_that_are_changed_after_fit_change_nothing_that_is_pickled(digits: tuple[Any, Any]) -> None:
    x, y = digits
    for net, later in ((Flat(), "cnn"), ("logistic", Flat())):
        model = clone(QUICK).set_params(net=net, epochs=1).fit(x, y).set_params(net=later)
        again = pickle.loads(pickle.dumps(model))  # noqa: S301
        assert (again.predict_proba(x) == model.predict_proba(x)).all()
        assert type(again.net) is type(later)


def test_a_pickled_bundle_is_verified(fitted: ImageClassifier) -> None:
    state = fitted.__getstate__()
    data = state["bundle_"]
    at = data.index(b"model.safetensors") + len(b"model.safetensors") + 200
    changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
    for broken in (changed, data[:-30], b"", b"PK"):
        with pytest.raises(beholder.BundleError, match="damaged") as caught:
            ImageClassifier().__setstate__({**state, "bundle_": broken})
        assert caught.value.code == "damaged"
