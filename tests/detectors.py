"""Tiny detectors with random weights whose scores are spread out, so that there is something to tell apart."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from beholder.base.recipe import Recipe
from beholder.base.records import PixelPolicy
from beholder.bundle.detector import Detector
from beholder.bundle.finder import Config
from beholder.nets.detector import built
from beholder.nets.spec import DetectorSpec

CLASSES = ("bolt", "<b>nut</b>", "spring")
KNOTS = ((0.0, 0.2, 0.2, 0.9), (0.05, 0.1, 0.3, 0.95))


def detector(*, fit: str = "squash", size: tuple[int, int] = (64, 96), seed: int = 0, **fields: Any) -> Detector:
    """Return a detector. size: (height, width) of its pictures; fields: of the config."""
    torch.manual_seed(seed)
    spec = DetectorSpec("resnet10t", 3, len(CLASSES), maps=16, depth=1)
    net = built(spec).eval()
    with torch.no_grad():
        net.head.classes.weight.mul_(60)
        net.head.classes.bias.fill_(-1.5)
        net.head.sides.weight.mul_(60)
    config = Config(
        classes=CLASSES,
        pixels=PixelPolicy(*size, fit=fit, background=(114, 114, 114)),
        mean=(0.5, 0.4, 0.5),
        std=(0.25, 0.3, 0.25),
        net=spec,
        thresholds=(0.12, 0.11, 0.1),
        calibration=KNOTS,
        parts={"train": 0, "valid": 0, "test": 0},
    )
    return Detector(replace(config, **fields), net, Recipe())


def saved(path: Path, **fields: Any) -> Path:
    """Write a tiny detector to the folder `path`."""
    return detector(**fields).save(path)
