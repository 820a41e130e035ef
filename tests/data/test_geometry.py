"""Moving pixels: against torch.flip, torch.rot90, NumPy's symmetric padding, Pillow and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from beholder.data import geometry

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(height: int = 48, width: int = 40) -> Tensor:
    """Two pictures with no detail finer than the distance of two pixels, so that sampling twice loses little."""
    y, x = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([(0.5 + 0.4 * torch.sin(4 * x + k) * torch.cos(5 * y))[None] for k in range(2)])


def both(*values: float) -> tuple[Tensor, ...]:
    return tuple(torch.full((2,), float(value)) for value in values)


def no() -> Tensor:
    return torch.zeros(2, dtype=torch.bool)


def inner(images: Tensor, edge: int = 10) -> Tensor:
    return images[..., edge:-edge, edge:-edge]


def test_no_matrix_returns_the_images_themselves() -> None:
    images = noise(2, 3, 5, 6)
    assert geometry.warp(images) is images


@pytest.mark.parametrize(
    "matrix",
    [
        geometry.rotation(*both(0)),
        geometry.scaling(*both(1, 1)),
        geometry.cropping(*both(1, 0.3, 0.9), height=7, width=9),
        geometry.flipping(no(), no()),
        geometry.translation(*both(0, 0)),
    ],
    ids=["rotate", "scale", "crop", "flip", "translate"],
)
def test_a_change_of_nothing_changes_nothing(matrix: Tensor) -> None:
    images = noise(2, 3, 7, 9)
    assert torch.allclose(geometry.warp(images, matrix), images, atol=1e-5)


def test_quarter_turns_are_rot90_and_four_are_none() -> None:
    images = noise(2, 3, 8, 8)
    quarter = geometry.rotation(*both(90))
    assert torch.allclose(geometry.warp(images, quarter), torch.rot90(images, 1, (2, 3)), atol=1e-4)
    assert torch.allclose(geometry.warp(images, *[quarter] * 4), images, atol=1e-4)


@pytest.mark.parametrize("degrees", [-20.0, 7.5, 33.0])
def test_rotation_agrees_with_pillow(degrees: float) -> None:
    images = smooth(48, 40)
    turned = geometry.warp(images, geometry.rotation(*both(degrees)))
    expected = np.asarray(Image.fromarray(images[0, 0].numpy()).rotate(degrees, resample=Image.Resampling.BILINEAR))
    # Pillow leaves black outside: compare where both saw the picture.
    assert np.abs(inner(turned)[0, 0].numpy() - expected[10:-10, 10:-10])[expected[10:-10, 10:-10] > 0].max() < 0.01


def test_scaling_and_cropping_show_the_part_they_say() -> None:
    images = noise(2, 1, 8, 8)
    middle = torch.nn.functional.interpolate(images[..., 2:6, 2:6], scale_factor=2, mode="bilinear")
    zoomed = geometry.warp(images, geometry.scaling(*both(2, 2)))
    assert torch.allclose(zoomed[..., 1:-1, 1:-1], middle[..., 1:-1, 1:-1], atol=1e-5)
    corner = torch.nn.functional.interpolate(images[..., 4:, :4], scale_factor=2, mode="bilinear")
    cropped = geometry.warp(images, geometry.cropping(*both(0.25, 0, 1), height=8, width=8))
    assert torch.allclose(cropped[..., 1:-1, 1:-1], corner[..., 1:-1, 1:-1], atol=1e-5)


@given(sizes, st.booleans(), st.booleans())
def test_flip_is_torch_flip_and_twice_is_none(size: tuple[int, int], horizontal: bool, vertical: bool) -> None:
    images = noise(2, 3, *size)
    across, over = torch.tensor([horizontal, False]), torch.tensor([vertical, True])
    flipped = geometry.shift(images, across, over, *both(0, 0))
    for k in range(2):
        axes = [axis for axis, on in ((1, over[k]), (2, across[k])) if on]
        assert torch.equal(flipped[k], images[k].flip(axes))
    assert torch.equal(geometry.shift(flipped, across, over, *both(0, 0)), images)


@given(sizes, st.integers(-9, 9), st.integers(-9, 9))
def test_moving_by_whole_pixels_is_a_shift_over_mirrored_edges(size: tuple[int, int], right: int, down: int) -> None:
    images = noise(2, 2, *size)
    height, width = size
    moved = geometry.shift(images, no(), no(), *both(right, down))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (9, 9), (9, 9)), mode="symmetric")
    assert np.array_equal(moved.numpy(), padded[..., 9 - down : 9 - down + height, 9 - right : 9 - right + width])


@given(st.integers(2, 9), st.integers(2, 9), st.integers(-3, 3), st.integers(-3, 3), st.booleans(), st.booleans())
def test_index_and_sampling_agree(height: int, width: int, right: int, down: int, across: bool, over: bool) -> None:
    images = noise(2, 2, height, width)
    horizontal, vertical = torch.tensor([across, True]), torch.tensor([over, False])
    matrices = geometry.flipping(horizontal, vertical), geometry.translation(*both(right, down))
    by_index = geometry.shift(images, horizontal, vertical, *both(right, down))
    assert torch.allclose(by_index, geometry.warp(images, *matrices), atol=1e-4)


def test_shift_keeps_bytes() -> None:
    images = (noise(2, 3, 6, 5) * 255).to(torch.uint8)
    moved = geometry.shift(images, no(), no(), *both(1, 0))
    assert moved.dtype == torch.uint8
    assert torch.equal(moved[..., 1:], images[..., :-1])


def test_one_sampling_equals_one_after_the_other() -> None:
    images = smooth()
    height, width = images.shape[-2:]
    steps = [
        geometry.cropping(*both(0.8, 0.3, 0.6), height=height, width=width),
        geometry.scaling(*both(1.1, 0.95)),
        geometry.rotation(torch.tensor([12.0, -9.0])),
        geometry.flipping(torch.tensor([True, False]), no()),
        geometry.translation(*both(2, -1)),
    ]
    one_by_one = images
    for step in steps:
        one_by_one = geometry.warp(one_by_one, step)
    together = geometry.warp(images, *steps)
    assert float((inner(together) - inner(one_by_one)).abs().max()) < 0.01
    wrong_order = geometry.warp(images, *steps[::-1])
    assert float((inner(together) - inner(wrong_order)).abs().max()) > 0.05


def test_turns_keep_shapes_of_pictures_that_are_not_square() -> None:
    """A disc in the middle of a 48 × 24 picture stays a disc; farther out its mirror images come into sight."""
    y, x = torch.meshgrid(torch.arange(24.0) - 11.5, torch.arange(48.0) - 23.5, indexing="ij")
    radius = (x**2 + y**2).sqrt()
    disc = (radius < 8).float()[None, None].expand(2, 1, 24, 48)
    turned = geometry.warp(disc, geometry.rotation(torch.tensor([45.0, 90.0]))) * (radius < 11)
    assert float((turned - disc).abs().mean()) < 0.02
    assert float(turned[0].sum()) == pytest.approx(math.pi * 64, rel=0.05)
