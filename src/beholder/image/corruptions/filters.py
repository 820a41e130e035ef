"""Filters for whole batches, by Fourier transform: any kernel costs the same, and every picture may have its own."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional


def smoothed(images: Tensor, sigma: float) -> Tensor:
    """Return float32 (B, C, H, W) after a Gaussian of `sigma` pixels; beyond the edge lies the mirror image."""
    if sigma < 0.1:  # a neighbour would weigh less than 10^-21
        return images
    for axis in (-2, -1):
        doubled = torch.cat([images, images.flip(axis)], dim=axis)
        n = doubled.shape[axis]
        away = torch.arange(n, device=images.device)
        kernel = torch.exp(-((torch.minimum(away, n - away) / sigma) ** 2) / 2)
        gain = torch.fft.rfft(kernel / kernel.sum())
        gain = gain[:, None] if axis == -2 else gain
        images = torch.fft.irfft(torch.fft.rfft(doubled, dim=axis) * gain, n=n, dim=axis).narrow(axis, 0, n // 2)
    return images


def convolved(images: Tensor, kernels: Tensor) -> Tensor:
    """Return float32 (B, C, H, W) convolved with `kernels` (B or 1, K, K), K odd; beyond the edge its last pixels go on."""
    reach = kernels.shape[-1] // 2
    height, width = images.shape[-2:]
    padded = functional.pad(images, (reach,) * 4, mode="replicate")
    tall, wide = padded.shape[-2:]
    spectrum = torch.fft.rfft2(padded) * torch.fft.rfft2(kernels[:, None], s=(tall, wide))
    whole: Tensor = torch.fft.irfft2(spectrum, s=(tall, wide))
    return whole[..., 2 * reach : 2 * reach + height, 2 * reach : 2 * reach + width]


def disk(radius: float, softness: float, device: torch.device) -> Tensor:
    """Return a kernel (1, K, K): a disk of `radius` pixels, antialiased, then blurred by a Gaussian of `softness` pixels.

    A disk of less than a pixel shares the middle pixel with its four neighbours by the area that it covers.
    """
    reach = math.ceil(radius) + 2
    fine = 9  # points a pixel and direction: the share of them inside stands for the area
    at = (torch.arange((2 * reach + 1) * fine, device=device) + 0.5) / fine - reach - 0.5
    inside = (at[:, None].square() + at.square() <= radius**2).float()
    covered = functional.avg_pool2d(inside[None, None], fine)
    soft = smoothed(functional.pad(covered, (2,) * 4), softness)[0].clamp(min=0)
    return soft / soft.sum()


def streaks(length: float, sigma: float, degrees: Tensor) -> Tensor:
    """Return kernels (B, K, K) of motion along `degrees` (B,), anticlockwise from the right: half Gaussians of `sigma` pixels.

    length: pixels after which they end, as ImageMagick's motion blur of radius length / 2 does. Points between pixels are
    shared by the four around them.
    """
    steps = torch.arange(max(1, round(length)), device=degrees.device)
    weights = torch.exp(-((steps.float() / sigma) ** 2) / 2)
    steps = steps[weights > 1e-3]
    weights = weights[: len(steps)] / weights[: len(steps)].sum()
    reach = len(steps)
    angle = degrees[:, None] * (math.pi / 180)
    across, down = steps * angle.cos() + reach, -steps * angle.sin() + reach
    kernels = torch.zeros(len(degrees), (2 * reach + 1) ** 2, device=degrees.device)
    for dx in (0, 1):
        for dy in (0, 1):
            left, top = across.floor() + dx, down.floor() + dy
            share = (1 - (across - left).abs()) * (1 - (down - top).abs()) * weights
            kernels.scatter_add_(1, (top * (2 * reach + 1) + left).long(), share)
    return kernels.reshape(-1, 2 * reach + 1, 2 * reach + 1)


def sampled(images: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Return float32 (B, C, H, W): what lies at `across`, `down` (B or 1, H, W), in pixels from the left and top pixel.

    Bilinear; beyond the edge the picture is mirrored.
    """
    height, width = images.shape[-2:]
    grid = torch.stack([(2 * across + 1) / width - 1, (2 * down + 1) / height - 1], dim=-1)
    grid = grid.expand(len(images), -1, -1, -1)
    return functional.grid_sample(images, grid, mode="bilinear", padding_mode="reflection", align_corners=False)


def places(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return float32 (1, H, W) twice: each pixel's place from the left and from the top."""
    height, width = images.shape[-2:]
    down = torch.arange(height, device=images.device, dtype=torch.float32)[:, None].expand(height, width)
    across = torch.arange(width, device=images.device, dtype=torch.float32).expand(height, width)
    return across[None], down[None]


def enlarged(images: Tensor, factor: float) -> Tensor:
    """Return float32 (B, C, H, W): the middle of the pictures, `factor` times as large."""
    if factor == 1:
        return images
    across, down = places(images)
    height, width = images.shape[-2:]
    middle = ((width - 1) / 2, (height - 1) / 2)
    return sampled(images, (across - middle[0]) / factor + middle[0], (down - middle[1]) / factor + middle[1])
