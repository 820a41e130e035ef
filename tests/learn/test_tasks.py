from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from beholder.learn.tasks import TASKS, balance


class Fixed(nn.Module):
    def __init__(self, logits: torch.Tensor) -> None:
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.1, 0.2]])
TARGETS = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])


def _turn(task: str, smoothing: float, weights: torch.Tensor | None = None):
    net = Fixed(LOGITS.clone())
    (turn,) = list(TASKS.load(task)(net, torch.zeros(2, 1, 1, 1), TARGETS, smoothing=smoothing, weights=weights))
    return turn


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
def test_single_is_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    p = np.exp(LOGITS.numpy().astype(float))
    p /= p.sum(1, keepdims=True)
    soft = TARGETS.numpy() * (1 - smoothing) + smoothing / 3
    turn = _turn("single", smoothing)
    assert float(turn.loss.detach()) == pytest.approx(-(soft * np.log(p)).sum(1).mean(), abs=1e-6)
    assert (turn.who, float(turn.right)) == ("net", 0.5)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_multi_is_binary_cross_entropy_with_smoothed_targets(smoothing: float) -> None:
    p = 1 / (1 + np.exp(-LOGITS.numpy().astype(float)))
    soft = TARGETS.numpy() * (1 - smoothing) + smoothing / 2
    expected = -(soft * np.log(p) + (1 - soft) * np.log(1 - p)).mean()
    assert float(_turn("multi", smoothing).loss.detach()) == pytest.approx(expected, abs=1e-6)


def test_weights_of_balance_make_classes_count_alike() -> None:
    counts = torch.tensor([80, 20, 0])
    weights = balance(counts, multi_label=False, n=100)
    assert weights[0] * 80 == pytest.approx(float(weights[1] * 20))
    assert weights[2] == 0
    assert balance(torch.tensor([10, 99, 0]), multi_label=True, n=100).tolist() == pytest.approx([9.0, 0.05, 20.0])
