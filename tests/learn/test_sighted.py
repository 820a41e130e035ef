"""How large the pictures of a detector are, by the size of its boxes."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from beholder.base.boxes import Boxes, Drawn
from beholder.base.errors import UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import PixelPolicy
from beholder.data.augment import Augment
from beholder.learn import sighted
from beholder.learn.sighted import _side, plan_of


def boxes(sides: Sequence[float], crowd: Sequence[bool] = ()) -> Boxes:
    """Square boxes of these sides."""
    each = np.array(sides, np.float64).reshape(-1, 1)
    corners = np.concatenate([np.full_like(each, 7), np.full_like(each, 3), each + 7, each + 3], axis=1)
    flags = np.array(crowd or [False] * len(sides), bool)
    return Boxes.of([Drawn(corners, np.zeros(len(sides), np.int64), flags)])


@pytest.mark.parametrize(
    ("longest", "sides", "crowd", "side"),
    [
        (1000, [], [], 416),
        (200, [], [], 320),  # enlarged by 1.6
        (100, [], [], 256),  # the least
        (1000, [500] * 5, [], 416),  # large boxes need no more
        (1000, [20] * 5, [], 608),  # 12 pixels of 20 in 1000: 600
        (1000, [10] * 5, [], 640),  # the most
        (1000, [0.1] * 5, [], 640),
        (300, [5] * 5, [], 480),  # 1.6 times as large as they are
        (1000, [4, *[20] * 10], [], 608),  # the smallest tenth may be smaller
        (1000, [*[20] * 10, *[4] * 5], [False] * 10 + [True] * 5, 608),  # a crowd is no box
        (1000, [4] * 5, [True] * 5, 416),
    ],
)
def test_pictures_are_as_large_as_the_boxes_need(longest: int, sides: list[float], crowd: list[bool], side: int) -> None:
    for height, width in ((longest, longest // 2), (longest // 2, longest)):
        looked: Any = SimpleNamespace(height=height, width=width)
        assert _side(looked, boxes(sides, crowd)) == side


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Pictures of 1000 × 500 pixels with large boxes."""
    monkeypatch.setattr(sighted, "survey", lambda pictures: SimpleNamespace(height=500, width=1000))
    monkeypatch.setattr(sighted, "upright", lambda pictures: np.array([[1000, 500]]))
    monkeypatch.setattr(sighted, "choose_policy", lambda looked, data, **how: ((data, how), "why"))
    return SimpleNamespace(train=SimpleNamespace(boxes=boxes([400] * 3)))


@pytest.mark.parametrize(
    ("size", "channels", "height", "width", "depth"),
    [(0, 0, 192, 416, 3), (640, 1, 320, 640, 1), (64, 0, 64, 64, 3), (2048, 0, 1024, 2048, 3)],
)
def test_the_net_sees_the_shape_of_the_pictures_in_multiples_of_32(
    parts: Any, size: int, channels: int, height: int, width: int, depth: int
) -> None:
    said: list[str] = []
    recipe = Recipe().set(size=size, channels=channels)
    (data, how), *_ = [sighted.policy_of(parts, recipe, said.append)]  # type: ignore[misc]
    assert how == {"size": (height, width), "channels": depth}
    assert data.size == 0, "the size is in the shape"
    assert said == ["pixels: why"]


@pytest.mark.parametrize(
    ("fields", "code"), [({"size": 63}, "bad-size"), ({"size": 2049}, "bad-size"), ({"fit": "crop"}, "bad-value")]
)
def test_pictures_that_a_detector_cannot_see_are_refused(parts: Any, fields: dict[str, Any], code: str) -> None:
    with pytest.raises(UsageError) as error:
        sighted.policy_of(parts, Recipe().set(**fields), lambda _: None)
    assert error.value.code == code
    assert error.value.hint


POLICY = PixelPolicy(64, 96)


@pytest.mark.parametrize(
    ("flip", "horizontal", "vertical"), [("auto", 0.5, 0.0), ("horizontal", 0.5, 0.0), ("both", 0.5, 0.5), ("none", 0.0, 0.0)]
)
def test_boxes_are_mirrored_as_the_recipe_says(flip: str, horizontal: float, vertical: float) -> None:
    made = plan_of(Recipe().set(flip=flip, augment="auto"), POLICY)
    assert (made.horizontal, made.vertical) == (horizontal, vertical)


def test_the_strength_of_what_is_varied() -> None:
    usual, strong = (plan_of(Recipe().set(augment="auto", strength=strength), POLICY) for strength in (1.0, 4.0))
    assert (usual.scale, usual.crop, usual.aspect, usual.translate) == pytest.approx((0.5, 0.4, 0.15, 0.1))
    assert (usual.brightness, usual.contrast, usual.saturation) == pytest.approx((0.2, 0.2, 0.2))
    assert (strong.scale, strong.crop, strong.aspect, strong.translate) == pytest.approx((2.0, 0.8, 0.6, 0.4))
    assert (strong.brightness, strong.contrast, strong.saturation) == pytest.approx((0.8, 0.8, 0.8))
    assert plan_of(Recipe().set(augment="none"), POLICY) == Augment()
    for fields in ({"mixup": 0.2}, {"cutmix": 0.2}):
        with pytest.raises(UsageError) as error:
            plan_of(Recipe().set(**fields), POLICY)
        assert error.value.code == "unused-field"


@pytest.mark.parametrize(
    ("net", "weights", "name", "why"),
    [
        ("auto", "none", "timm:usual", "from random weights, as the recipe asks"),
        ("auto", "auto", "timm:photo", "of photos"),
        ("auto", "w.safetensors", "timm:arch of w.safetensors", "w.safetensors holds its weights"),
        ("timm:x", "auto", "timm:x", "as the recipe asks"),
    ],
)
def test_the_backbone_is_the_one_asked_for_or_whose_weights_there_are(
    monkeypatch: pytest.MonkeyPatch, net: str, weights: str, name: str, why: str
) -> None:
    monkeypatch.setattr(sighted, "known", lambda net: net)
    monkeypatch.setattr(sighted.onboard, "USUAL", "usual")
    monkeypatch.setattr(sighted, "photos", lambda on, *, fetch: ("timm:photo", "of photos") if fetch else None)
    monkeypatch.setattr(sighted.pretrained, "architecture", lambda weights: f"arch of {weights}")
    recipe, reason = sighted.backbone_of(Recipe().set(net=net, weights=weights), "cpu")  # type: ignore[arg-type]
    assert (recipe.net.name, recipe.net.weights, reason) == (name, weights, why)


def test_a_net_that_cannot_find_boxes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as error:
        sighted.backbone_of(Recipe().set(net="cnn"), "cpu")  # type: ignore[arg-type]
    assert error.value.code == "no-pyramid"


@pytest.mark.parametrize(("channels", "found"), [(3, ((0.1,) * 3, (0.2,) * 3)), (4, ((0.5,) * 4, (0.25,) * 4))])
def test_pictures_are_normalised_as_the_backbone_was_trained(
    monkeypatch: pytest.MonkeyPatch, channels: int, found: tuple[Any, Any]
) -> None:
    asked: list[Any] = []
    want = SimpleNamespace(normalisation=lambda channels: ((0.1,) * 3, (0.2,) * 3) if channels == 3 else None)
    monkeypatch.setattr(sighted.pretrained, "wants", lambda *given: asked.append(given) or want)
    assert sighted.normal_of(Recipe().set(net="timm:x", weights="w"), channels) == found
    assert asked == [("x", "w")]
