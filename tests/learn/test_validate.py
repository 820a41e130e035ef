from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score

from beholder.learn.validate import score
from beholder.tasks.multi import MULTI
from beholder.tasks.single import SINGLE


def test_single_is_accuracy() -> None:
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 0.1]])
    assert score(logits, torch.eye(2)[[0, 1, 1, 1]], SINGLE) == 0.75


def test_multi_is_the_mean_of_average_precision_over_classes_that_occur() -> None:
    rng = np.random.default_rng(0)
    logits, truth = rng.normal(size=(50, 4)), (rng.random((50, 4)) < 0.3)
    truth[:, 3] = False
    expected = average_precision_score(truth[:, :3], logits[:, :3], average="macro")
    found = score(torch.tensor(logits).float(), torch.tensor(truth).float(), MULTI)
    assert found == pytest.approx(expected, abs=1e-6)
