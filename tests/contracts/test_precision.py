"""Every net of the registry trains as well in bf16 as in fp32: equal validation accuracy within the noise of seeds."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import beholder
from beholder.nets.build import NETS

SEEDS = (0, 1, 2)
DEEP = ("fastnet", "resnet")
"""Nets of which six runs take longer than quick tests may."""

MARGIN = 0.03
"""Of 240 pictures, seven; one standard error of the difference between two runs of 90 % accuracy is 0.027 (binomial)."""


@pytest.fixture(scope="module")
def parts(each_device: torch.device) -> beholder.Parts:
    from sklearn.datasets import load_digits

    digits = load_digits()
    x = np.rint(digits.images[:600] * (255 / 16)).astype(np.uint8)
    return beholder.split(beholder.scan((x, digits.target[:600].astype(np.int64))), seed=0, val=0.4, test=0.02)


def _reached(parts: beholder.Parts, net: str, precision: str) -> np.ndarray:
    fields = {
        "net": net,
        "width": 0.25,
        "epochs": 4,
        "batch": 32,
        "averaging": 0.9,
        "augment": "none",
        "lr": 0.0 if net in ("fastnet", "resnet") else 0.02,
    }
    runs = [beholder.train(parts, seed=seed, precision=precision, **fields) for seed in SEEDS]
    assert {run.config.precision for run in runs} == {precision}
    assert all(value.dtype.itemsize == 4 for run in runs for value in run.net.parameters())  # master weights
    return np.array([run.config.valid_score for run in runs])


@pytest.mark.parametrize("net", [pytest.param(n, marks=pytest.mark.slow) if n in DEEP else n for n in NETS.names()])
def test_bf16_trains_as_well_as_fp32(parts: beholder.Parts, net: str) -> None:
    fp32, bf16 = _reached(parts, net, "fp32"), _reached(parts, net, "bf16")
    assert fp32.mean() > 0.6, "the nets must have learnt for the comparison to say anything"
    spread = np.sqrt((fp32.var(ddof=1) + bf16.var(ddof=1)) / len(SEEDS))
    assert bf16.mean() > fp32.mean() - MARGIN - 2 * spread, (fp32, bf16)
