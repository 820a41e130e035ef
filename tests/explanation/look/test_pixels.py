"""The picture before and after the policy: what was cut and scaled is said with its numbers."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image
from tests.explanation.look.pages import bundle, picture

from beholder.base.records import PixelPolicy
from beholder.explanation.look.blob import Blob
from beholder.explanation.look.pixels import cropped, facts, preview, steps


@pytest.mark.parametrize(("height", "width", "box"), [(40, 50, [5, 0, 40, 40]), (50, 40, [0, 5, 40, 40]), (8, 8, [0, 0, 8, 8])])
def test_crop_keeps_the_middle(height: int, width: int, box: list[float]) -> None:
    assert cropped(height, width, PixelPolicy(16, 16, fit="crop")) == box


def test_what_crop_keeps_is_what_the_net_is_given() -> None:
    whole = np.zeros((40, 60, 3), np.uint8)
    left, top, wide, tall = (round(v) for v in cropped(40, 60, PixelPolicy(10, 10, fit="crop")))
    whole[top : top + tall, left : left + wide] = 255
    made = bundle("cnn", size=10)
    made.config = dataclasses.replace(made.config, pixels=PixelPolicy(10, 10, fit="crop"))
    found = made.pixels(whole)  # the filter that scales reaches a little over the edge
    assert found[:, :, 1:-1].min() == 255
    assert found.min() > 200


def test_every_way_of_fitting_is_said_with_its_numbers() -> None:
    assert "stays as it is" in steps(16, 16, PixelPolicy(16, 16))[1]
    assert steps(40, 50, PixelPolicy(16, 16))[1].startswith("Resize: it becomes 16 × 16 pixels")
    crop = steps(40, 50, PixelPolicy(16, 16, fit="crop"))
    assert "the middle 40 × 40 pixels" in crop[1]
    pad = steps(40, 50, PixelPolicy(16, 16, fit="pad", background=(1, 2, 3)))
    assert "16 × 13 pixels" in pad[1]
    assert "(1, 2, 3)" in pad[2]
    assert "0.299" in steps(16, 16, PixelPolicy(16, 16, 1))[-1]


@pytest.mark.parametrize("channels", [1, 3])
def test_facts_have_the_pixels_and_their_range(channels: int) -> None:
    made = bundle("cnn", channels=channels)
    image = made.pixels(picture())
    told = facts(made, picture(), image, Blob())
    assert [one["name"] for one in told["channels"]] == (["grey"] if channels == 1 else ["red", "green", "blue"])
    assert [(one["low"], one["high"]) for one in told["channels"]] == [(plane.min(), plane.max()) for plane in image]
    assert (told["width"], told["height"], told["size"]) == (50, 40, [channels, 16, 16])
    assert told["box"] is None


def test_small_pictures_are_shown_without_loss_and_large_ones_small() -> None:
    import base64
    import io

    def read(uri: str) -> Image.Image:
        return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))

    assert np.array_equal(np.asarray(read(preview(picture()))), picture())
    large = preview(picture(height=900, width=1200))
    assert read(large).size == (480, 360)
    assert len(large) < 60_000
