"""Maps: where the answer is known to come from, every method must point."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beholder.base.errors import UsageError
from beholder.explanation import METHODS, log_odds, maps, resolved
from beholder.tasks.multi import MULTI
from beholder.tasks.single import SINGLE

SPOTS = [(slice(4, 12), slice(16, 24)), (slice(20, 28), slice(4, 12))]


@pytest.mark.parametrize("method", ["auto", "gradcam", "gradients", "occlusion"])
def test_the_warm_place_is_where_the_answer_comes_from(red, spotted, method: str) -> None:
    found = maps(red, spotted, method=method)
    assert found.shape == (2, 32, 32)
    assert found.dtype == np.float32
    for heat, (rows, columns) in zip(found, SPOTS, strict=True):
        assert heat.min() >= 0
        assert heat.max() == 1
        assert heat[rows, columns].sum() / heat.sum() > (0.8 if method == "gradients" else 0.5)
        assert heat[rows, columns].mean() > 5 * np.delete(heat.ravel(), np.flatnonzero(_inside(rows, columns))).mean()


def _inside(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((32, 32), bool)
    mask[rows, columns] = True
    return mask.ravel()


def test_a_class_may_be_asked_for_and_nothing_speaks_for_the_other(red, spotted) -> None:
    asked = maps(red, spotted, classes=np.array([1, 0]))
    assert np.array_equal(asked[0], maps(red, spotted)[0])
    assert not asked[1].any()


def test_a_map_does_not_depend_on_the_batch(make, spotted) -> None:
    bundle = make("resnet")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    for method in ("gradcam", "gradients"):
        np.testing.assert_allclose(maps(bundle, images, method=method, batch=2), maps(bundle, images, method=method), atol=2e-3)


def test_a_bundle_that_answers_for_the_mirror_image_too_has_a_map_that_mirrors(make) -> None:
    bundle = make("resnet", mirror=True)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    named = np.array([0, 1])
    there, back = maps(bundle, images, classes=named), maps(bundle, images[..., ::-1].copy(), classes=named)
    np.testing.assert_allclose(there, back[..., ::-1], atol=1e-4)


def test_no_picture_no_map(red) -> None:
    assert maps(red, np.zeros((0, 3, 32, 32), np.uint8)).shape == (0, 32, 32)


def test_log_odds_are_those_of_the_probability() -> None:
    logits = torch.tensor([[1.0, -2.0, 0.5], [3.0, 3.0, 3.0]])
    p = logits.softmax(dim=1)[[0, 1], [0, 2]]
    torch.testing.assert_close(log_odds(logits, torch.tensor([0, 2]), task=SINGLE), (p / (1 - p)).log())
    one = logits.sigmoid()[[0, 1], [1, 0]]
    torch.testing.assert_close(log_odds(logits, torch.tensor([1, 0]), task=MULTI), (one / (1 - one)).log())


@pytest.mark.parametrize(
    ("net", "size", "method"),
    [
        ("logistic", 16, "gradients"),
        ("mlp", 16, "gradients"),
        ("cnn", 16, "gradcam"),
        ("fastnet", 32, "gradcam"),
        ("resnet", 32, "gradcam"),
    ],
)
def test_the_method_is_chosen_from_the_net_and_said(make, net: str, size: int, method: str) -> None:
    bundle = make(net, size=size)
    name, reason = resolved(bundle, "auto")
    assert (name, bool(reason)) == (method, True)
    images = np.random.default_rng(1).integers(0, 256, (2, 3, size, size), dtype=np.uint8)
    assert maps(bundle, images).shape == (2, size, size)


def test_an_unknown_method_names_the_nearest(red, spotted) -> None:
    with pytest.raises(UsageError, match="no explanation named 'gradcma'") as caught:
        maps(red, spotted, method="gradcma")
    assert "gradcam" in caught.value.hint
    assert METHODS.names()[:4] == ["gradcam", "rollout", "gradients", "occlusion"]


@pytest.mark.parametrize(("method", "code"), [("gradcam", "no-map"), ("rollout", "no-attention")])
def test_a_method_that_the_net_does_not_allow_says_which_does(make, method: str, code: str) -> None:
    with pytest.raises(UsageError) as caught:
        maps(make("mlp", size=16), np.zeros((1, 3, 16, 16), np.uint8), method=method)
    assert caught.value.code == code
    assert "gradients" in caught.value.hint
