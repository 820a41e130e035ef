"""Integrated gradients: the change of the answer along the path from a baseline picture, attributed to the pixels.

Source: Sundararajan et al., "Axiomatic attribution for deep networks", 2017.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 32
"""Points of Gauss-Legendre quadrature on the way: for smooth nets far closer than the 300 equal steps of the paper."""


def gradients(net: nn.Module, images: Tensor, score: Callable[[Tensor], Tensor]) -> Tensor:
    """Return heat float32 (B, H, W) for normalised images (B, C, H, W); score: logits (B, K) → (B,).

    The way begins at the training pictures' mean colour, which normalised is 0. Shares of single pixels are noisy: heat is
    their sum over channels, smoothed over a thirty-second of the picture's side, where it speaks for the class.
    """
    shares = integrated(lambda x: score(net(x)), images, torch.zeros_like(images))
    return smoothed(shares.sum(dim=1), min(images.shape[2:]) / 32).relu()


def integrated(function: Callable[[Tensor], Tensor], images: Tensor, baseline: Tensor, *, steps: int = STEPS) -> Tensor:
    """Return each value's share (B, C, H, W) of function(images) - function(baseline), to which they add up.

    function: images (B, C, H, W) → (B,), each value of its own picture; steps: gradients taken on the way.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    way, total = images - baseline, torch.zeros_like(images)
    for point, weight in zip((points + 1) / 2, weights / 2, strict=True):
        here = (baseline + float(point) * way).detach().requires_grad_()
        (slope,) = torch.autograd.grad(function(here).sum(), here)
        total += float(weight) * slope
    return total * way


def smoothed(heat: Tensor, sigma: float) -> Tensor:
    """Return heat (B, H, W) blurred by a Gaussian of `sigma` pixels, the edges repeated."""
    reach = max(1, round(3 * sigma))
    bell = torch.exp(-torch.arange(-reach, reach + 1, device=heat.device, dtype=heat.dtype).square() / (2 * sigma**2))
    bell = bell / bell.sum()
    padded = functional.pad(heat[:, None], (reach,) * 4, mode="replicate")
    return functional.conv2d(functional.conv2d(padded, bell[None, None, :, None]), bell[None, None, None, :])[:, 0]
