"""What is learnt: a task is a generator of turns, each naming whose optimiser steps on which loss.

A classifier has one turn per batch. A scheme with several players (a GAN) yields several; the loop does not change.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base.registry import Registry

TASKS = Registry("task", {"single": "beholder.learn.tasks:single", "multi": "beholder.learn.tasks:multi"})


@dataclass(frozen=True)
class Turn:
    """`who` steps on `loss` (a scalar). `right`: share of the batch that was right, for the eye; a scalar tensor."""

    who: str
    loss: Tensor
    right: Tensor


Task = Callable[..., Iterator[Turn]]


def single(net: nn.Module, images: Tensor, targets: Tensor, *, smoothing: float, weights: Tensor | None) -> Iterator[Turn]:
    """Cross-entropy with label smoothing. `images` float32 (B, C, H, W), `targets` float32 (B, K) whose rows sum to 1."""
    logits = net(images).float()
    right = (logits.detach().argmax(1) == targets.argmax(1)).float().mean()
    yield Turn("net", F.cross_entropy(logits, targets, weight=weights, label_smoothing=smoothing), right)


def multi(net: nn.Module, images: Tensor, targets: Tensor, *, smoothing: float, weights: Tensor | None) -> Iterator[Turn]:
    """Binary cross-entropy per class. `targets` float32 (B, K) in [0, 1]; `smoothing` pulls them towards a half."""
    logits = net(images).float()
    soft = targets * (1 - smoothing) + smoothing / 2
    right = ((logits.detach() > 0) == (targets > 0.5)).float().mean()
    yield Turn("net", F.binary_cross_entropy_with_logits(logits, soft, pos_weight=weights), right)


def balance(counts: Tensor, *, multi_label: bool, n: int) -> Tensor:
    """Return float32 (K,) weights that make each class count alike.

    Single-label: n / (K · count), mean 1 over pictures. Multi-label: negatives per positive, at most 20.
    """
    seen = counts.clamp(min=1).float()
    if multi_label:
        return ((n - seen) / seen).clamp(0.05, 20.0)
    weights: Tensor = n / (counts.numel() * seen)
    return torch.where(counts > 0, weights, torch.zeros_like(weights))
