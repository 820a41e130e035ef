"""Light, contrast, colour and boxes: against Pillow and by their invariants."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch import Tensor

from beholder.data import colour

factors = st.floats(0, 3)


def noise(*shape: int, seed: int = 0, low: float = 0.0, high: float = 1.0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * (high - low) + low


def all_of(value: float, number: int = 2) -> Tensor:
    return torch.full((number,), value)


@pytest.mark.parametrize("change", [colour.brightness, colour.contrast, colour.saturation])
def test_factor_one_changes_nothing_and_all_stays_in_range(change: object) -> None:
    assert callable(change)
    images = noise(2, 3, 6, 5)
    before = images.clone()
    assert torch.allclose(change(images, all_of(1.0)), images, atol=1e-6)
    wild = change(images, all_of(5.0))
    assert 0 <= wild.min() <= wild.max() <= 1
    assert torch.equal(images, before), "the input is not written to"


@given(factors, factors)
def test_brightness_grows_with_its_factor(low: float, high: float) -> None:
    images = noise(2, 3, 4, 4)
    low, high = min(low, high), max(low, high)
    assert (colour.brightness(images, all_of(low)) <= colour.brightness(images, all_of(high))).all()


@given(st.floats(0, 1.9))
def test_contrast_keeps_the_mean_where_nothing_is_clamped(factor: float) -> None:
    images = noise(2, 3, 8, 8, low=0.3, high=0.7)
    changed = colour.contrast(images, all_of(factor))
    assert torch.allclose(changed.mean((1, 2, 3)), images.mean((1, 2, 3)), atol=1e-5)
    assert torch.allclose(changed.std((1, 2, 3)), images.std((1, 2, 3)) * factor, atol=1e-5)


@pytest.mark.parametrize("factor", [0.0, 0.4, 1.6])
def test_brightness_and_saturation_agree_with_pillow(factor: float) -> None:
    pixels = (noise(1, 3, 16, 16) * 255).to(torch.uint8)
    picture = Image.fromarray(pixels[0].permute(1, 2, 0).numpy())
    for ours, theirs in ((colour.brightness, ImageEnhance.Brightness), (colour.saturation, ImageEnhance.Color)):
        expected = np.asarray(theirs(picture).enhance(factor), dtype=np.float32)
        got = ours(pixels / 255, all_of(factor, 1))[0].permute(1, 2, 0).numpy() * 255
        assert np.abs(got - expected).max() <= 2, theirs.__name__


def test_no_saturation_is_grey_and_grey_pictures_have_none() -> None:
    grey = colour.saturation(noise(2, 3, 5, 5), all_of(0.0))
    assert torch.allclose(grey[:, 0], grey[:, 1], atol=1e-6)
    assert torch.allclose(grey[:, 1], grey[:, 2], atol=1e-6)
    single = noise(2, 1, 5, 5)
    assert colour.saturation(single, all_of(0.0)) is single


@given(
    st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 1), st.floats(0.2, 5),
    st.floats(0, 0.999), st.floats(0, 0.999),
)  # fmt: skip
def test_boxes_lie_inside_and_are_as_large_as_asked(
    height: int, width: int, area: float, ratio: float, across: float, down: float
) -> None:
    values = (torch.tensor([v], dtype=torch.float32) for v in (area, ratio, across, down))
    top, left, tall, wide = colour.boxes(*values, height=height, width=width)[0].tolist()
    assert 0 <= top <= top + tall <= height
    assert 0 <= left <= left + wide <= width
    assert tall >= 1
    assert wide >= 1
    # The width is rounded to whole pixels: half a pixel of each of its rows, or the one pixel that is the least.
    assert abs(tall * wide - area * height * width) <= max(tall / 2, 1) * 1.001 + (tall if wide == 1 else 0)


def test_erase_fills_the_box_with_the_mean_and_nothing_else() -> None:
    images = noise(2, 3, 10, 8)
    erased = colour.erase(images, torch.tensor([[2, 3, 4, 5], [0, 0, 0, 5]]))
    changed = (erased != images).any(1)
    assert int(changed[0].sum()) == 20
    assert changed[0, 2:6, 3:8].all()
    assert torch.allclose(erased[0, :, 3, 4], images[0].mean((1, 2)))
    assert torch.equal(erased[1], images[1])
