"""JPEG compression on the device: chroma subsampling and quantised cosine coefficients; the lossless steps are left out.

Source: ITU-T Recommendation T.81 (1992), annexes A.3 and K.1, and JFIF 1.02; quality as the Independent JPEG Group's library
scales the tables.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LUMINANCE = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMINANCE = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


def compressed(images: Tensor, quality: int) -> Tensor:
    """Return float32 (B, C, H, W) in 0..1 as they come back from a JPEG of `quality` 1..100, colour sampled 4:2:0."""
    levels = (images.clamp(0, 1) * 255).round()
    if images.shape[1] == 1:
        return _coded(levels, LUMINANCE, quality).round().clamp(0, 255) / 255
    height, width = images.shape[-2:]
    luma, chroma = _split(levels)
    even = functional.pad(chroma, (0, width % 2, 0, height % 2), mode="replicate")
    halved = functional.avg_pool2d(even, 2).round()
    coded = _coded(halved, CHROMINANCE, quality)
    doubled = functional.interpolate(coded, scale_factor=2, mode="bilinear", align_corners=False)[..., :height, :width]
    return (_joined(_coded(luma, LUMINANCE, quality), doubled) / 255).clamp(0, 1)


def _split(levels: Tensor) -> tuple[Tensor, Tensor]:
    """Return luma (B, 1, H, W) and chroma (B, 2, H, W), in 0..255, of RGB in 0..255."""
    red, green, blue = levels.unbind(1)
    y = 0.299 * red + 0.587 * green + 0.114 * blue
    return y[:, None].round(), torch.stack([(blue - y) / 1.772 + 128, (red - y) / 1.402 + 128], dim=1).round()


def _joined(luma: Tensor, chroma: Tensor) -> Tensor:
    y, (blue, red) = luma[:, 0], (chroma - 128).unbind(1)
    r, b = y + 1.402 * red, y + 1.772 * blue
    g = (y - 0.299 * r - 0.114 * b) / 0.587
    return torch.stack([r, g, b], dim=1).round()


def _coded(planes: Tensor, table: tuple[int, ...], quality: int) -> Tensor:
    """Return planes (B, P, H, W) in 0..255 after their 8 × 8 cosine coefficients were rounded to multiples of the table's."""
    height, width = planes.shape[-2:]
    padded = functional.pad(planes, (0, -width % 8, 0, -height % 8), mode="replicate") - 128
    tall, wide = padded.shape[-2:]
    blocks = padded.reshape(*padded.shape[:2], tall // 8, 8, wide // 8, 8).transpose(3, 4)
    cosines, steps = _cosines(planes.device), _steps(table, quality, planes.device)
    kept = (cosines @ blocks @ cosines.T / steps).round() * steps
    back = (cosines.T @ kept @ cosines).transpose(3, 4).reshape(padded.shape) + 128
    return back[..., :height, :width].round().clamp(0, 255)


def _cosines(device: torch.device) -> Tensor:
    """Return the orthonormal cosine transform of 8 values, (8, 8)."""
    k = torch.arange(8, dtype=torch.float64)
    matrix = torch.cos(math.pi * k[:, None] * (2 * k + 1) / 16) / 2
    matrix[0] /= math.sqrt(2)
    return matrix.float().to(device)


def _steps(table: tuple[int, ...], quality: int, device: torch.device) -> Tensor:
    quality = min(max(quality, 1), 100)
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality
    scaled = [min(max((value * percent + 50) // 100, 1), 255) for value in table]
    return torch.tensor(scaled, device=device, dtype=torch.float32).reshape(8, 8)
