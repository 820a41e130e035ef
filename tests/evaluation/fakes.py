"""Bundles and evaluations made of arrays, for the tests of the report."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
from tests import configs

from beholder.base.errors import PictureError
from beholder.base.recipe import Recipe
from beholder.base.records import Bad
from beholder.measure.scores import Scores, multi, single
from beholder.tasks import named


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
    whole: int = 0
    pixels: Any = None

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
        "machine": {"beholder": "0.1.0", "device": "cpu", "torch": "2.15"},
        "parts": {"train": 700, "valid": 150, "test": 150},
        "notes": ("Two exact duplicates stay in one part.",),
    }
    made = configs.config("abc", net="fastnet", size=(3, 40, 48), **{**facts, **config})
    task = named(config.get("task", "single"))
    return SimpleNamespace(
        config=made,
        recipe=Recipe(),
        history=history,
        path=Path("leaves.beholder"),
        task=task,
        answers=lambda p: task.family.answers(p, config.get("thresholds", 0.5)),
    )


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


def scored(value: float, n: int = 300, half: float = 0.04) -> dict[str, Any]:
    """A score as it stands in scores.json."""
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def sections(*, ece: float = 0.02, caught: float = 0.9, lost: float = 0.3) -> dict[str, Any]:
    """What the sections of a test hold, with figures made up."""
    bins = [
        {"low": c, "high": c + 0.1, "certainty": c + 0.05, "right": scored(c + 0.05 - 2 * ece, 30, 0.1), "n": 30}
        for c in np.linspace(0.3, 0.9, 7).tolist()
    ]
    errors = {"ece": scored(ece), "ece_plain": scored(ece + 0.01), "brier": scored(0.4), "nll": scored(0.7)}
    less = {name: {"value": -0.05, "low": -0.08, "high": -0.01, "n": 300} for name in errors}
    point = {"target": 0.02, "confidence": 0.95, "threshold": 0.8, "n": 500, "label": "", "reason": "", "kind": "risk"}
    by = ("energy", "softmax", "knn")
    slices = [
        {"name": name, "by": name.partition(":")[0], "score": scored(0.6, 40), "rest": 0.91, "p": p, "share": 0.13}
        | {"keys": [f"{i:04}.jpg" for i in range(8)]}
        for name, p in (("brightness: lowest quarter", 0.004), ("class: rust", 0.2), ("cluster: 3", 1.0))
    ]
    against = {
        name: {
            "n": 200,
            "auroc": dict.fromkeys(by, scored(0.8)),
            "fpr95": dict.fromkeys(by, scored(0.4)),
            "caught": scored(share),
        }
        for name, share in (("noise", 0.99), ("patches", caught), ("digits", 0.95), ("flowers", 0.97))
    }
    kinds = {
        name: {"group": group, "severities": [scored(v) for v in (0.85, 0.8, 0.7, 0.5, worst)], "mean": scored(0.7 - worst / 9)}
        for name, group, worst in (
            ("gaussian_noise", "noise", 0.3),
            ("shot_noise", "noise", 0.4),
            ("motion_blur", "blur", 0.2),
            ("fog", "weather", 0.6),
            ("own_kind", "other", 0.7),
        )
    }
    return {
        "calibration": {
            "method": "temperature",
            "temperature": 1.3,
            "n_fitted": 150,
            "reason": "it proved itself",
            "before": errors,
            "after": errors,
            "difference": less,
            "reliability": {"before": bins, "after": bins},
        },
        "selective": {
            "curve": [{"coverage": c, "risk": 0.1 * c, "threshold": 1 - c} for c in np.linspace(0.01, 1, 50).tolist()],
            "aurc": scored(0.03),
            "at": [{"risk": r, "coverage": min(1.0, 10 * r)} for r in (0.005, 0.01, 0.02, 0.05, 0.1)],
            "risk": {**point, "coverage": scored(0.7), "risk": scored(0.01), "kept": True},
            "sensitivity": {
                **point,
                "kind": "sensitivity",
                "label": "rust",
                "target": 0.95,
                "sensitivity": scored(0.93),
                "specificity": scored(0.8),
                "precision": scored(0.5),
                "kept": False,
            },
            "conformal": {
                "kind": "least",
                "coverage_promised": 0.9,
                "per_class": False,
                "n": 150,
                "spread": [0.85, 0.94],
                "coverage": scored(0.91),
                "single": scored(0.7),
                "mean_size": 1.3,
                "sizes": {"1": 210, "2": 80, "3": 10},
                "classes": {},
            },
        },
        "slices": {
            "n": 300,
            "measure": "accuracy",
            "looked_at": 40,
            "overall": 0.9,
            "worst": slices[0],
            "lowest": "class: rust",
            "slices": slices,
        },
        "ood": {"score": "knn", "accept": 0.95, "fitted_on": 150, "accepted": scored(0.94), "sets": against},
        "corruptions": {
            "n": 200,
            "of": 300,
            "measure": "accuracy",
            "clean": scored(0.9),
            "kinds": kinds,
            "error": scored(0.4),
            "error_all": scored(0.35),
            "lost": scored(lost),
            "worst": {"kind": "motion_blur", "severity": 5, "score": scored(0.2)},
            "worst_kind": {"kind": "gaussian_noise", "score": scored(0.6)},
        },
        "reuse": readings(12, same=7, alike=5),
        "cost": cost(),
    }


def readings(times: int, *, same: int = 0, alike: int = 0) -> dict[str, Any]:
    """The section `reuse` after some readings; with pictures that are not new, where there are some."""
    apart = {"with": scored(0.9), "without": scored(0.88, 288), "only": scored(0.97, same + alike)}
    return {
        "readings": times,
        "dates": [f"2026-03-{day:02}T09:30:00+00:00" for day in range(1, min(times, 20) + 1)],
        "name": "accuracy",
        "once": scored(0.9),
        "corrected": scored(0.9, half=0.06),
        "adaptive": scored(0.9, half=0.2),
        "level": 1 - 0.05 / max(1, times),
        "rule": "After T readings …",
        "same": same,
        "alike": alike,
        **(apart if same + alike else {}),
        "remembers": True,
    }


def cost(**changes: Any) -> dict[str, Any]:
    """The section `cost` of a machine that tells everything."""

    def times(*seconds: float) -> dict[str, Any]:
        rows = zip(("p50", "p95", "p99"), seconds, strict=True)
        return {name: {"value": s, "low": 0.9 * s, "high": 1.2 * s if name != "p99" else None, "n": 200} for name, s in rows}

    rates = {str(2**power): 90.0 * (power + 1) for power in range(6)}
    return {
        "device": "a processor of four cores",
        "latency": times(0.0123, 0.0158, 0.0211),
        "opening": times(0.0021, 0.0034, 0.0052),
        "throughput": {**rates, "batch": 32, "per_second": rates["32"]},
        "memory": {"peak": 612_000_000, "added": 35_400_000},
        "flops": 1_240_000_000,
        "parameters": 3_410_000,
        "bundle_bytes": 13_640_000,
        "energy": {"joules_per_picture": 0.041},
        **changes,
    }
