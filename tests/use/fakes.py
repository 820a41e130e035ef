"""Bundles and evaluations made of arrays, for the tests of the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import PictureError
from beholder.base.recipe import Recipe
from beholder.base.records import Bad
from beholder.measure.scores import Scores, multi, single


@dataclass
class FakeEvaluation:
    """What `evaluate` returns, made of arrays."""

    scores: Scores
    probabilities: npt.NDArray[np.float32]
    targets: npt.NDArray[Any]
    keys: list[str]
    bad: tuple[Bad, ...] = ()
    seconds: float = 1.25
    source: str = "leaves.zip"
    shape: tuple[int, int, int] = (3, 40, 48)
    unreadable: set[int] = field(default_factory=set)
    notes: tuple[str, ...] = ()
    sections: dict[str, Any] = field(default_factory=dict)
    unleaked: dict[str, Any] | None = None

    def thumbnail(self, index: int) -> npt.NDArray[np.uint8]:
        if index in self.unreadable:
            raise PictureError("gone", code="missing")
        channels, height, width = self.shape
        ramp = np.add.outer(np.arange(height), np.arange(width)) * 255 // (height + width)
        return np.stack([(ramp * (c + 1 + index % 3) // 3) % 256 for c in range(channels)]).astype(np.uint8)


def bundle(**config: Any) -> Any:
    history = [
        {"epoch": e, "seconds": e, "loss": 2.3 / e, "valid_loss": 2.0 / e + 0.1, "valid_score": 1 - 0.7 / e, "lr": 0.1}
        for e in range(1, 11)
    ]
    facts = {
        "task": "single",
        "pixels": {"height": 40, "width": 48, "channels": 3, "fit": "squash", "background": [255, 255, 255]},
        "net": {"name": "fastnet", "width": 1.0, "args": {}},
        "version": "0.1.0",
        "machine": {"device": "cpu", "torch": "2.15"},
        "parts": {"train": 700, "valid": 150, "test": 150},
        "notes": ["Two exact duplicates stay in one part."],
    }
    return SimpleNamespace(config={**facts, **config}, recipe=Recipe(), history=history, path=Path("leaves.beholder"))


def evaluated(classes: list[str], *, n: int = 300, skill: float = 1.1, seed: int = 0, **changes: Any) -> FakeEvaluation:
    """An evaluation of `n` pictures; the larger `skill`, the fewer mistakes."""
    rng = np.random.default_rng(seed)
    k = len(classes)
    targets = np.arange(n) % k
    logits = rng.random((n, k)) * 4 + skill * 3 * np.eye(k)[targets]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    keys = [f"{i:04}.jpg" for i in range(n)]
    return FakeEvaluation(single(p, targets, classes), p.astype(np.float32), targets, keys, **changes)


def evaluated_multi(classes: list[str], *, n: int = 120) -> FakeEvaluation:
    rng = np.random.default_rng(1)
    targets = (rng.random((n, len(classes))) < 0.3).astype(np.uint8)
    p = np.clip(rng.random(targets.shape) * 0.7 + 0.3 * targets, 0, 1)
    return FakeEvaluation(multi(p, targets, classes), p.astype(np.float32), targets, [f"{i}.png" for i in range(n)])
