"""Weather: snow, frost, fog, and more light."""

from __future__ import annotations

import torch
from torch import Tensor

from beholder.image.corruptions.filters import convolved, enlarged, smoothed, streaks
from beholder.image.corruptions.strength import strength
from beholder.machine.draws import Draws

LUMA = (0.299, 0.587, 0.114)
ICE = (0.80, 0.92, 1.0)
"""Colour of the brightest frost."""


def snow(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Whiten the picture and let flakes fall over it, dragged by the wind, and the same flakes turned by half a circle."""

    def at(*values: tuple[float, ...], length: bool = False) -> float:
        return strength(images, severity, *values, length=length)

    mean = at((0.1, 0.1, 0.15, 0.25, 0.3), (0.1, 0.2, 0.55, 0.55, 0.55))
    spread = at((0.2, 0.2, 0.3, 0.3, 0.3), (0.3, 0.3, 0.3, 0.3, 0.3))
    size = at((1, 1, 1.75, 2.25, 1.25), (3, 2, 4, 4.5, 2.5))
    least = at((0.6, 0.5, 0.55, 0.6, 0.65), (0.5, 0.5, 0.9, 0.85, 0.85))
    radius = at((8, 10, 10, 12, 14), (10, 12, 12, 12, 12), length=True)
    sigma = at((3, 4, 4, 6, 12), (4, 4, 8, 8, 12), length=True)
    kept = at((0.95, 0.9, 0.9, 0.85, 0.8), (0.8, 0.7, 0.7, 0.65, 0.55))
    flakes = enlarged(draws.normal("flakes", 1, *images.shape[-2:]) * spread + mean, size)
    flakes = torch.where(flakes < least, 0.0, flakes).clamp(0, 1)
    # The wind blows along a line between 45 and 135 degrees below level.
    flakes = convolved(flakes, streaks(2 * radius + 1, sigma, draws.between("wind", -135, -45)))
    whitened = torch.maximum(images, luma(images) * 1.5 + 0.5)
    return kept * images + (1 - kept) * whitened + flakes + flakes.flip(-1, -2)


def frost(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Look through a pane with ice on it: published weights of picture and ice, and ice that is computed."""
    picture = strength(images, severity, (1, 1, 0.9, 0.85, 0.75), (1, 0.8, 0.7, 0.65, 0.6))
    ice = strength(images, severity, (0.2, 0.3, 0.4, 0.4, 0.45), (0.4, 0.6, 0.7, 0.7, 0.75))
    return picture * images + ice * frosted(images, draws)


def fog(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add a cloud of the diamond-square kind and bring the sum back to the picture's largest value."""
    amount = strength(images, severity, (0.2, 0.5, 0.75, 1, 1.5), (1.5, 2, 2.5, 2.5, 3))
    decay = strength(images, severity, (3, 3, 2.5, 2, 1.75), (2, 2, 1.7, 1.5, 1.4))
    largest = images.amax(dim=(1, 2, 3), keepdim=True)
    cloud = plasma(draws, *images.shape[-2:], decay=decay, stream="cloud")[:, None]
    return (images + amount * cloud) * largest / (largest + amount)


def brightness(images: Tensor, severity: int, draws: Draws) -> Tensor:
    """Add to the value of each pixel's hue, saturation and value; hue and saturation stay."""
    more = strength(images, severity, (0.05, 0.1, 0.15, 0.2, 0.3), (0.1, 0.2, 0.3, 0.4, 0.5))
    value = images.amax(dim=1, keepdim=True)
    lit = (value + more).clamp(max=1)
    return torch.where(value > 0, images * (lit / value.clamp(min=1e-6)), lit)


def luma(images: Tensor) -> Tensor:
    """Return float32 (B, 1, H, W): how bright each pixel looks (ITU-R BT.601)."""
    if images.shape[1] == 1:
        return images
    weights = torch.tensor(LUMA, device=images.device).reshape(1, 3, 1, 1)
    return (images * weights).sum(dim=1, keepdim=True)


def plasma(draws: Draws, height: int, width: int, *, decay: float, stream: str) -> Tensor:
    """Return clouds float32 (B, height, width), from 0 to 1 over the square of a power of two that they are cut from.

    The larger `decay`, the smoother. Source: A. Fournier, D. Fussell, L. Carpenter, Computer rendering of stochastic models,
    CACM 25 (1982); as in the published code the amplitude falls by decay² from one scale to the next.
    """
    side = 1 << (max(height, width, 2) - 1).bit_length()
    field = torch.zeros(len(draws), side, side, device=draws.device)
    step, wobble = side, 1.0
    while step >= 2:
        half = step // 2

        def drawn(name: str, like: Tensor, *, step: int = step, wobble: float = wobble) -> Tensor:
            return draws.between(f"{stream} {name} {step}", -wobble, wobble, *like.shape[1:])

        corners = field[:, ::step, ::step]
        total = corners + corners.roll(-1, 1)
        total = total + total.roll(-1, 2)
        field[:, half::step, half::step] = total / 4 + drawn("square", total)
        centres = field[:, half::step, half::step]
        across = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        field[:, ::step, half::step] = across / 4 + drawn("across", across)
        along = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        field[:, half::step, ::step] = along / 4 + drawn("along", along)
        step, wobble = half, wobble / decay**2
    field = field - field.amin(dim=(1, 2), keepdim=True)
    field = field / field.amax(dim=(1, 2), keepdim=True).clamp(min=1e-12)
    return field[:, :height, :width]


def frosted(images: Tensor, draws: Draws) -> Tensor:
    """Return ice float32 (B, C, H, W) in 0..1: stars of six needles and veins, where a cloud says that there is ice.

    Instead of the photographs of the published code. Stars are rare points dragged along six lines, which in one picture lie
    alike; veins are the ridges of a cloud. As on a pane, there is more ice towards the edges.
    """
    height, width = images.shape[-2:]
    side = min(height, width)
    turn = draws.between("turn", 0, 60)
    star = torch.stack([streaks(side / 4, side / 14, turn + 60 * k) for k in range(6)]).sum(dim=0)
    seeds = (draws.uniform("needles", 1, height, width) > 1 - 40 / side**2 - 0.008).float()
    needles = convolved(seeds, star / star.amax(dim=(1, 2), keepdim=True)).mul(2).clamp(0, 1)
    veins = 1 - (2 * plasma(draws, height, width, decay=1.5, stream="veins") - 1).abs()
    cloud = plasma(draws, height, width, decay=1.9, stream="ice")
    down = torch.linspace(-1, 1, height, device=images.device)[:, None]
    across = torch.linspace(-1, 1, width, device=images.device)
    edge = torch.maximum(down.abs().expand(height, width), across.abs().expand(height, width))
    there = smoothed(((cloud + 0.5 * edge - 0.45) * 3).clamp(0, 1)[:, None], side / 64)
    ice = there * (0.2 + 0.45 * needles + 0.45 * veins[:, None] ** 3).clamp(0, 1) + 0.12
    if images.shape[1] == 1:
        return ice.clamp(0, 1)
    tint = torch.tensor(ICE, device=images.device).reshape(1, 3, 1, 1)
    return (ice * tint + 0.25 * needles * there).clamp(0, 1)
