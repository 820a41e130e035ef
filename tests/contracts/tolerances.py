"""How far two devices may be apart. One place: docs/SCALING.md quotes it, and `bench/gpu.py` judges by it."""

from __future__ import annotations

import torch
from torch import Tensor

LOGITS = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference of logits, as a share of the largest logit in size, by what products run in; the other is in float32.

tf32: what CUDA does with float32 convolutions by itself; fp32: within `devices.ieee`
"""

GRADIENTS = 1e-3
"""Norm of the difference of all gradients in float32, as a share of their norm."""

PROBABILITIES = {"fp32": 1e-4, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}
"""Largest difference of probabilities."""

PIXELS = 1e-3
"""Mean difference of augmented or corrupted pictures in 0..1: a point may fall on the other side of an edge."""

LOSS = 1e-2
"""Difference of the loss after five steps in float32, as a share of it: who divides by small gradients lets rounding grow."""


def apart(found: Tensor, wanted: Tensor) -> float:
    """Return the largest difference, as a share of the largest value in size, both brought to the CPU."""
    found, wanted = found.detach().float().cpu(), wanted.detach().float().cpu()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


def distance(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """Return the norm of the difference of several tensors, as a share of the norm of those wanted."""
    both = [(found[name].detach().float().cpu(), value.detach().float().cpu()) for name, value in wanted.items()]
    off = torch.stack([(one - other).square().sum() for one, other in both]).sum()
    return float((off / torch.stack([other.square().sum() for _, other in both]).sum().clamp(min=1e-24)).sqrt())
