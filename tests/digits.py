"""Digits of scikit-learn, and a classifier that learns them within a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

import beholder
from beholder import ImageClassifier

QUICK = ImageClassifier("logistic", epochs=12, lr=0.1, augment="none", random_state=0)


@pytest.fixture(autouse=True)
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Warnings alone, and no time for asking how busy the machine is."""
    for module in ("runtime.inference", "learn.begin", "machine.pace"):
        monkeypatch.setattr(f"beholder.{module}.slowness", lambda *_: 1.0)
    words: list[str] = []
    with beholder.listen(lambda event: words.append(event.message) if event.kind == "warn" else None, alone=True):
        yield words


@pytest.fixture(scope="module")
def digits() -> tuple[Any, Any]:
    """120 pictures uint8 (120, 8, 8) of the digits 0, 1 and 2."""
    found = load_digits(n_class=3)
    return (found.images[:120] * 15.9).astype(np.uint8), found.target[:120]


@pytest.fixture(scope="module")
def fitted(digits: tuple[Any, Any]) -> ImageClassifier:
    with beholder.listen(alone=True):
        return clone(QUICK).fit(*digits)
