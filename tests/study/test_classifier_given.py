"""What `ImageClassifier` is given: pictures and labels in every form, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import clone
from tests.digits import QUICK
from tests.digits import digits as digits
from tests.digits import fitted as fitted
from tests.digits import said as said

import beholder
from beholder import ImageClassifier


def test_every_form_of_picture_gets_the_same_answer(digits: tuple[Any, Any], fitted: ImageClassifier, tmp_path: Path) -> None:
    x = digits[0][:12]
    paths = [tmp_path / f"{row}.png" for row in range(12)]
    for path, picture in zip(paths, x, strict=True):
        Image.fromarray(picture).save(path)
    wanted = fitted.predict_proba(x)
    for given in (
        [Image.fromarray(picture) for picture in x],
        paths,
        np.array([str(path) for path in paths]),
        np.array([str(path) for path in paths], object)[:, None],
        pd.DataFrame({"path": [str(path) for path in paths]}),
        pd.Series([str(path) for path in paths]),
        [path.read_bytes() for path in paths],
        [x[0], str(paths[1]), Image.fromarray(x[2]), *paths[3:]],
        x[..., None],
        x[:, None],
        list(x),
        x.tolist(),
    ):
        assert (fitted.predict_proba(given) == wanted).all()


def test_numbers_of_any_kind_are_levels(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    wanted = fitted.predict_proba(x)
    for given in (x / 255, x.astype(np.int64), (x / 255).astype(np.float32)):
        assert (fitted.predict_proba(given) == wanted).all()
        assert (clone(QUICK).fit(given, y).predict_proba(given) == wanted).all()
    with pytest.raises(ValueError, match="it was fitted on levels from 0 to 255"):
        fitted.predict(x * 10.0 - 700)
    deep = clone(QUICK).fit(x * 10.0 - 700, y)
    assert deep.score(x * 10.0 - 700, y) >= 0.9
    assert deep.predict(x[:1] * 10.0 - 700) == deep.predict(np.where(x[:1] == 0, -9e9, x[:1] * 10.0 - 700)), "clipped"


def test_rows_of_numbers_are_pictures_of_a_shape(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    rows = x.reshape(120, 64)
    square = clone(QUICK).set_params(shape=(8, 8)).fit(rows, y)
    assert (square.predict_proba(rows) == fitted.predict_proba(x)).all()
    assert square.n_features_in_ == 64
    flat = clone(QUICK).fit(pd.DataFrame(rows).add_prefix("pixel"), y)
    assert (flat.bundle_.policy.height, flat.bundle_.policy.width) == (1, 64)
    assert flat.feature_names_in_[1] == "pixel1"


def test_paths_may_be_repeated_and_pictures_of_any_size(digits: tuple[Any, Any], tmp_path: Path) -> None:
    x, y = digits
    paths = []
    for row, picture in enumerate(x):
        paths.append(str(tmp_path / f"{row}.png"))
        Image.fromarray(picture[: 6 + row % 3]).save(paths[-1])
    chosen = np.random.default_rng(0).integers(0, 120, 150)
    model = clone(QUICK).fit([paths[row] for row in chosen], y[chosen])
    assert model.score(paths, y) >= 0.8
    assert not hasattr(model, "n_features_in_")


@pytest.mark.parametrize("count", [2, 3, 5])
def test_very_few_pictures_are_learnt_and_it_is_said(count: int, digits: tuple[Any, Any], said: list[str]) -> None:
    x, y = digits
    model = clone(QUICK).set_params(epochs=40).fit(x[:count], y[:count])
    assert (model.predict(x[:count]) == y[:count]).all()
    assert any("weights are chosen on those that were trained on" in words for words in said) == (count < 5)


def test_pictures_that_are_all_the_same_do_no_harm(digits: tuple[Any, Any], said: list[str]) -> None:
    x, _ = digits
    model = clone(QUICK).set_params(epochs=2).fit(np.repeat(x[:1], 20, axis=0), np.arange(20) % 2)
    np.testing.assert_allclose(model.predict_proba(x[:1]), 0.5, atol=0.2)
    assert any("weights are chosen on those that were trained on" in words for words in said)
    one_each = clone(QUICK).set_params(epochs=20).fit(np.repeat(x[:2], 10, axis=0), np.repeat([4, 7], 10))
    assert one_each.predict(x[:2]).tolist() == [4, 7]


def test_pictures_that_cannot_be_read(digits: tuple[Any, Any], tmp_path: Path, said: list[str]) -> None:
    x, y = digits
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"no picture")
    opened: list[Any] = [Image.fromarray(picture) for picture in x]
    model = clone(QUICK).fit([*opened, str(bad)], [*y, 0])
    assert any("bad.png" in words for words in said)
    with pytest.raises(beholder.PictureError, match=r"bad\.png") as caught:
        model.predict([*opened[:3], str(bad)])
    assert isinstance(caught.value, ValueError)
    with pytest.raises(beholder.DataError, match="not one picture of 3 can be read"):
        clone(QUICK).fit([*opened, str(bad)], [*y, 3])


# --- what it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"net": "resnte"}, "there is no net named 'resnte'"),
        ({"recipe": "quck"}, "there is no recipe 'quck'"),
        ({"epochs": "many"}, "train.epochs takes a whole number"),
        ({"lr": -1}, "train.lr cannot be -1"),
        ({"random_state": -1}, "seed cannot be -1"),
        ({"random_state": "x"}, "cannot be used to seed"),
        ({"class_weight": {0: 2}}, "class_weight cannot be"),
        ({"validation_fraction": 0}, "validation_fraction lies between 0 and 1"),
        ({"validation_fraction": "x"}, "validation_fraction lies between 0 and 1"),
        ({"fields": [1]}, "fields is a dict, not list"),
        ({"fields": {"train.lr": 1}}, "given twice"),
        ({"fields": {"lrr": 1}}, "no recipe field is called 'lrr'"),
        ({"fields": {"val": 0.2}}, "no effect in train: data.val"),
    ],
)
def test_parameters_are_checked_by_fit(wrong: dict[str, Any], says: str, digits: tuple[Any, Any]) -> None:
    made = clone(QUICK).set_params(**wrong)
    with pytest.raises(ValueError, match=says):
        made.fit(*digits)


@pytest.mark.parametrize(
    ("x", "y", "says"),
    [
        ("one.png", [1], "X is one picture, not several"),
        (np.zeros((4, 8, 8)), [0, 1, 0], "inconsistent numbers of samples"),
        (np.zeros((4, 8, 8)), [0, 0, 0, 0], "only 1 class"),
        (np.zeros((4, 8, 8)), None, "y is None"),
        (np.zeros((4, 8, 8)), ["a", None, "a", "b"], "neither all text nor all numbers"),
        (np.full((4, 8, 8), np.nan), [0, 1, 0, 1], "Input X contains NaN"),
        (np.zeros((0, 8, 8)), [], "0 sample"),
        ([], [], "Expected 2D array"),
        (np.zeros((4, 2, 8, 8, 3)), [0, 1, 0, 1], "dim"),
    ],
)
def test_pictures_and_labels_are_checked_by_fit(x: Any, y: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        clone(QUICK).fit(x, y)


def test_rows_and_pictures_are_not_mixed_up(digits: tuple[Any, Any], fitted: ImageClassifier) -> None:
    x, y = digits
    with pytest.raises(ValueError, match="X holds rows of numbers, and it was fitted on pictures"):
        fitted.predict(x[0])
    rows = clone(QUICK).set_params(epochs=1).fit(x.reshape(120, 64), y)
    with pytest.raises(ValueError, match="X holds pictures, and it was fitted on rows of numbers"):
        rows.predict(x)
    with pytest.raises(ValueError, match="8 features, but ImageClassifier is expecting 64"):
        rows.predict(x[0])
    for shape in ((8, 9), (8,), "8x8"):
        with pytest.raises(ValueError, match="shape"):
            clone(QUICK).set_params(shape=shape).fit(x.reshape(120, 64), y)
