"""`Features` under scikit-learn's own checks, in its pipelines, and beside the net that it runs."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils import estimator_html_repr
from sklearn.utils.estimator_checks import parametrize_with_checks

import beholder
from beholder import Features
from beholder.nets.build import create
from beholder.nets.features import features

PLAIN = Features("mlp", weights="none", random_state=0)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Silence, and no time for asking how busy the machine is."""
    monkeypatch.setattr("beholder.runtime.inference.slowness", lambda: 1.0)
    with beholder.listen(alone=True):
        yield


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """48 pictures uint8 (48, 8, 8) of the digits 0 and 1."""
    found = load_digits(n_class=2)
    return (found.images[:48] * 15.9).astype(np.uint8), found.target[:48]


@parametrize_with_checks([PLAIN])
def test_it_passes_the_checks_of_scikit_learn_without_exception(estimator: Any, check: Any) -> None:
    check(estimator)


def test_features_are_what_the_net_gives_its_head(digits: tuple[Any, Any]) -> None:
    x, _ = digits
    made = clone(PLAIN).fit(x)
    found = made.transform(x)
    net = create(made.backbone_.net, channels=1, size=(8, 8), classes=2, seed=0).net.eval()
    with torch.no_grad():
        wanted = features(net, (torch.from_numpy(x)[:, None].float() / 255 - 0.5) / 0.25)
    np.testing.assert_allclose(found, wanted.numpy(), atol=0.02 * float(wanted.abs().max()))
    assert found.dtype == np.float32
    assert made.n_features_in_ == 64
    other = clone(PLAIN).set_params(random_state=1).fit(x).transform(x)
    assert np.abs(other - found).max() > 0.1, "random weights follow from random_state"


def test_names_of_columns_and_tables(digits: tuple[Any, Any]) -> None:
    x, _ = digits
    made = clone(PLAIN).fit(x)
    plain = made.transform(x)
    names = made.get_feature_names_out()
    assert list(names[:2]) == ["features0", "features1"]
    assert len(names) == plain.shape[1] == 512
    table = made.set_output(transform="pandas").transform(x)
    assert list(table.columns) == list(names)
    assert (table.to_numpy() == plain).all()
    assert "Features" in estimator_html_repr(made)


def test_the_net_on_board_in_a_pipeline(digits: tuple[Any, Any]) -> None:
    x, y = digits
    model = make_pipeline(Features(), LogisticRegression())
    scores = cross_val_score(model, x, y, cv=2)
    assert scores.min() >= 0.9
    fitted = model.fit(x, y)[0]
    assert fitted.backbone_.net.name.startswith("timm:tf_efficientnet_lite")
    assert fitted.transform(x[:3]).shape == (3, 1280)


def test_every_form_of_picture_has_the_same_features(digits: tuple[Any, Any], tmp_path: Path) -> None:
    x, _ = digits
    made = clone(PLAIN).fit(x)
    paths = [str(tmp_path / f"{row}.png") for row in range(6)]
    for path, picture in zip(paths, x[:6], strict=True):
        Image.fromarray(picture).save(path)
    wanted = made.transform(x[:6])
    opened = [Image.fromarray(picture) for picture in x[:6]]
    assert (made.transform(paths) == wanted).all()
    assert (made.transform(opened) == wanted).all()
    assert (made.transform([paths[0], paths[0]]) == wanted[[0, 0]]).all()


def test_it_is_pickled_without_the_net_and_refuses_other_weights(digits: tuple[Any, Any]) -> None:
    x, _ = digits
    made = clone(PLAIN).fit(x)
    data = pickle.dumps(made)
    assert len(data) < 4096
    again = pickle.loads(data)  # noqa: S301
    assert (again.transform(x) == made.transform(x)).all()
    again.backbone_ = replace(
        again.backbone_, net=replace(again.backbone_.net, name="timm:tf_efficientnet_lite0", weights="auto")
    )
    with pytest.raises(ValueError, match="has other weights here than when it was fitted"):
        again.transform(x)


@pytest.mark.parametrize(
    ("made", "says"),
    [
        (Features("resnte"), "there is no net named 'resnte'"),
        (Features("fastnet"), "fastnet has no pretrained weights"),
        (Features(weights="none"), "weights='none' says no net"),
        (Features(size=-3), "data.size cannot be -3"),
        (Features(shape=(8, 8)), "X has rows of 60 numbers"),
    ],
)
def test_what_cannot_be_is_said_by_fit(made: Features, says: str, digits: tuple[Any, Any]) -> None:
    x, _ = digits
    rows = made.shape is not None
    with pytest.raises(ValueError, match=says):
        made.fit(x.reshape(48, -1)[:, :60] if rows else x).transform(x)


def test_a_picture_that_cannot_be_read_is_named(digits: tuple[Any, Any], tmp_path: Path) -> None:
    x, _ = digits
    path = tmp_path / "broken.png"
    path.write_bytes(b"no picture")
    made = clone(PLAIN).fit(x)
    with pytest.raises(beholder.PictureError, match=r"1 pictures cannot be read: .*broken\.png") as caught:
        made.transform([Image.fromarray(x[0]), str(path)])
    assert isinstance(caught.value, ValueError)
