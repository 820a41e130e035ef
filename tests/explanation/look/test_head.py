"""The head in numbers: logits as sums of products, calibrated as predictions are, however many classes there are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from tests.explanation.look.pages import bundle, close, picture, temperature
from torch import Tensor, nn

from beholder.bundle.bundle import Bundle
from beholder.explanation.look import head, look
from beholder.explanation.look.blob import Blob
from beholder.measure.calibration import Calibration
from beholder.nets.features import Net


def told(made: Bundle, **fields: Any) -> dict[str, Any]:
    logits, features = (rows[0] for rows in made.outputs(made.pixels(picture())[None]))
    return head.facts(made, features, head.logits_of(made, features, logits), **{"first": 0, "blob": Blob()} | fields)


@pytest.mark.parametrize("net", ["cnn", "fastnet"])
def test_a_logit_is_the_sum_of_what_is_shown_of_it(net: str) -> None:
    found = told(bundle(net))
    for row in found["rows"]:
        assert all(product == pytest.approx(f * w, rel=1e-12) for _, f, w, product in row["terms"])
        whole = found["scale"] * (sum(term[3] for term in row["terms"]) + row["rest"] + row["bias"])
        assert row["logit"] == pytest.approx(whole, rel=1e-9, abs=1e-12)
        sizes = [abs(term[3]) for term in row["terms"]]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) == head.TERMS


def test_the_answer_for_picture_and_mirror_image_is_that_of_the_mean_features() -> None:
    made = bundle("cnn", mirror=True)
    logits, features = (rows[0] for rows in made.outputs(made.pixels(picture())[None]))
    assert close(head.logits_of(made, features, logits), logits)
    assert not np.allclose(features, bundle("cnn").outputs(made.pixels(picture())[None])[1][0])
    assert told(made)["mirror"]


@pytest.mark.parametrize(
    "calibration",
    [
        None,
        temperature(4),
        Calibration("vector", (0.5, 1.0, 2.0, 1.5), (0.1, 0.0, -0.2, 0.3), 90),
        Calibration("none", (1.0,) * 4, (0.0,) * 4, 9),
    ],
)
def test_probabilities_are_those_of_predictions(calibration: Calibration | None) -> None:
    made = bundle("cnn", calibration=calibration)
    found = told(made)
    p = made.probabilities(made.pixels(picture())[None])[0]
    assert np.abs([one["p"] for one in sorted(found["classes"], key=lambda one: one["at"])] - p).max() < 1e-6
    assert (found["calibration"] is None) == (calibration is None or calibration.method == "none")
    if found["calibration"]:
        assert found["calibration"]["one"] == (calibration is not None and calibration.method == "temperature")
    for one in found["classes"]:
        assert one["p"] == pytest.approx(one["exp"] / found["sum"], rel=1e-9)


def test_of_many_classes_the_most_probable_are_listed_and_the_others_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "CLASSES", 5)
    monkeypatch.setattr(head, "ROWS", 3)
    made = bundle("logistic", classes=9)
    p = made.probabilities(made.pixels(picture())[None])[0]
    least = int(p.argmin())
    found = told(made, first=least)
    assert {one["at"] for one in found["classes"]} == {least, *np.argsort(-p)[:4].tolist()}
    assert found["others"]["count"] == 4
    assert found["others"]["p"] + sum(one["p"] for one in found["classes"]) == pytest.approx(1)
    assert [row["at"] for row in found["rows"]] == [least, *np.argsort(-p)[:2].tolist()]


class Headless(Net):
    """Two logits out of no dense layer."""

    head = None

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def body(self, images: Tensor) -> Tensor:
        return self.conv(images).mean(dim=(2, 3))


def test_a_net_without_head_says_so_and_has_its_logits() -> None:
    made = bundle(Headless(), names=("a", "b"))
    page = look(made, picture()).facts["head"]
    assert not page["head"]
    assert page["rows"] == []
    assert close(
        [one["logit"] for one in sorted(page["classes"], key=lambda one: one["at"])],
        made.outputs(made.pixels(picture())[None])[0][0],
    )


def test_features_that_are_maps_in_a_row_have_their_places() -> None:
    assert told(bundle("logistic"))["shape"] == [3, 16, 16]
    assert told(bundle("cnn"))["shape"] == [8, 7, 7]
    assert told(bundle("mlp"))["shape"] is None
    assert told(bundle("resnet"))["shape"] is None


def test_the_units_of_a_net_that_is_one_layer_are_its_classes() -> None:
    found = look(bundle("logistic", names=("a", "b", "c")), picture(), label="b").facts["first"]
    assert found["names"] == ["a", "b", "c"]
    assert found["start"][0] == 1
    assert "names" not in look(bundle("mlp"), picture()).facts["first"]


def test_weights_without_bias_have_one_of_zeros() -> None:
    weight, bias = head.weights(nn.Linear(3, 2, bias=False))
    assert weight.shape == (2, 3)
    assert not bias.any()
    assert head.scale_of(torch.nn.Identity()) == 1.0
