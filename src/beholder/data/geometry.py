"""Geometric augmentation: one matrix per picture, all changes composed into one resampling.

A matrix, float32 (B, 3, 3), takes a point (x, y, 1) of the result to the point of the source that is seen there, in pixels
from the centre of the picture. What lies outside is the picture's mirror image.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from beholder.machine.devices import sent


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Return the matrix that enlarges by the factors `x` and `y`, float32 (B,) each; 2 shows the middle half twice as large."""
    return _matrix(1 / x, 0, 0, 0, 1 / y, 0)


def cropping(area: Tensor, across: Tensor, down: Tensor, *, height: int, width: int) -> Tensor:
    """Return the matrix that shows a part of the picture at full size.

    area: the part's share of the picture, float32 (B,) in (0, 1]; across, down: where it lies, in [0, 1] from left and top
    """
    side = area.sqrt()
    room = 1 - side
    return _matrix(side, 0, (across - 0.5) * room * width, 0, side, (down - 0.5) * room * height)


def rotation(degrees: Tensor) -> Tensor:
    """Return the matrix that turns the picture anticlockwise by `degrees`, float32 (B,)."""
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    return _matrix(cos, -sin, 0, sin, cos, 0)


def flipping(horizontal: Tensor, vertical: Tensor) -> Tensor:
    """Return the matrix that mirrors left-right where `horizontal` and top-bottom where `vertical`, bool (B,)."""
    return _matrix(1 - 2 * horizontal.float(), 0, 0, 0, 1 - 2 * vertical.float(), 0)


def translation(right: Tensor, down: Tensor) -> Tensor:
    """Return the matrix that moves the picture by `right` and `down` pixels, float32 (B,)."""
    return _matrix(1, 0, -right, 0, 1, -down)


def warp(images: Tensor, *matrices: Tensor) -> Tensor:
    """Apply the matrices one after the other, in one bilinear sampling.

    images: float32 (B, C, H, W); without a matrix they come back as they are.
    """
    return sampled(images, composed(*matrices)) if matrices else images


def composed(*matrices: Tensor) -> Tensor:
    """Return the one matrix that applies all of them, the first one first, float32 (B, 3, 3)."""
    whole = matrices[0]
    for matrix in matrices[1:]:
        whole = whole @ matrix
    return whole


def sampled(images: Tensor, whole: Tensor, *, outside: float | None = None) -> Tensor:
    """Return images float32 (B, C, H, W) as seen through a matrix each, float32 (B, 3, 3), by bilinear sampling.

    outside: the value of what lies outside the picture; None: its mirror image
    """
    if outside is not None:
        return _sampled(images - outside, whole, "zeros") + outside
    return _sampled(images, whole, "reflection")


def _sampled(images: Tensor, whole: Tensor, padding: str) -> Tensor:
    height, width = images.shape[-2:]
    # grid_sample counts from -1 to 1 across the picture, whatever its shape.
    unit = sent(torch.tensor([width / 2, height / 2, 1.0]), whole.device)
    theta = (whole * unit / unit[:, None])[:, :2]
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode=padding, align_corners=False)


def moved(corners: Tensor, whole: Tensor, *, height: int, width: int) -> Tensor:
    """Return where boxes lie in pictures that are seen through a matrix each: the smallest upright box around each.

    corners: float32 (B, G, 4), left, top, right, bottom in pixels; whole: float32 (B, 3, 3), as `sampled` takes it
    """
    middle = sent(torch.tensor([width / 2, height / 2]), corners.device)
    ways = sent(torch.tensor([[0, 1], [2, 1], [2, 3], [0, 3]]), corners.device)
    points = corners[..., ways] - middle
    inverse = torch.linalg.inv(whole)  # whole takes a point of the result to that of the source
    found = points @ inverse[:, None, :2, :2].transpose(-1, -2) + inverse[:, None, None, :2, 2] + middle
    return torch.cat([found.amin(-2), found.amax(-2)], -1)


def shift(images: Tensor, horizontal: Tensor, vertical: Tensor, right: Tensor, down: Tensor) -> Tensor:
    """Mirror, then move by whole pixels, by index: exact, and many times cheaper than `warp`.

    images: (B, C, H, W) of any dtype; horizontal, vertical: bool (B,); right, down: (B,) whole numbers of pixels.
    """
    number, channels, height, width = images.shape
    rows = _places(height, vertical, down)
    columns = _places(width, horizontal, right)
    flat = (rows[:, :, None] * width + columns[:, None, :]).reshape(number, 1, height * width)
    moved = images.reshape(number, channels, height * width).gather(2, flat.expand(-1, channels, -1))
    return moved.reshape(images.shape)


def _places(size: int, mirrored: Tensor, move: Tensor) -> Tensor:
    """Return int64 (B, size): which row or column of the source is seen at each of the result."""
    place = torch.arange(size, device=move.device) - move.to(torch.int64)[:, None]
    place = torch.where(mirrored[:, None], size - 1 - place, place) % (2 * size)
    return torch.where(place < size, place, 2 * size - 1 - place)


def _matrix(*entries: Tensor | float) -> Tensor:
    like = next(entry for entry in entries if isinstance(entry, Tensor))
    columns = [e if isinstance(e, Tensor) else torch.full_like(like, e) for e in (*entries, 0.0, 0.0, 1.0)]
    return torch.stack(columns, dim=1).reshape(-1, 3, 3)
