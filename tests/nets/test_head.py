"""The logistic regression on features beside scikit-learn's."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression

from beholder.nets.head import fit
from beholder.tasks.multi import MULTI
from beholder.tasks.single import SINGLE


def test_the_head_is_a_logistic_regression() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)) * [1, 2, 3, 0.5, 1, 10] + 4
    y = ((x[:, 0] - 4) + rng.normal(size=300) > 0).astype(int) + (x[:, 5] > 12)
    decay = 1e-2
    weight, bias = fit(
        torch.tensor(x).float(), torch.nn.functional.one_hot(torch.tensor(y), 3).float(), task=SINGLE, decay=decay
    )
    z = (x - x.mean(0)) / x.std(0, ddof=1)
    oracle = LogisticRegression(C=1 / (2 * decay * len(x)), max_iter=5000, tol=1e-9).fit(z, y)
    ours = (torch.tensor(x).float() @ weight.T + bias).softmax(1).numpy()
    assert np.abs(ours - oracle.predict_proba(z)).max() < 5e-3


def test_several_labels_are_fitted_one_by_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 3)).astype(np.float32)
    y = (x > 0).astype(np.float32)
    weight, bias = fit(torch.tensor(x), torch.tensor(y), task=MULTI, decay=1e-4)
    guessed = (torch.tensor(x) @ weight.T + bias) > 0
    assert (guessed.numpy() == (y > 0.5)).mean() > 0.97
