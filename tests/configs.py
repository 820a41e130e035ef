"""A bundle's config for tests that are about something else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from beholder.base.records import PixelPolicy
from beholder.bundle.config import Config
from beholder.nets.spec import NetSpec
from beholder.tasks import named


def config(
    classes: Sequence[str] = ("ant", "bee"),
    *,
    task: str = "single",
    net: str = "cnn",
    size: tuple[int, int, int] = (3, 24, 32),
    **fields: Any,
) -> Config:
    """Return a config that fits together; size: channels, height and width of the pixels."""
    channels, height, width = size
    values: dict[str, Any] = {
        "pixels": PixelPolicy(height, width, channels),
        "mean": (0.5,) * channels,
        "std": (0.25,) * channels,
        "net": NetSpec(net, channels, height, width, named(task).width(len(classes))),
        "thresholds": (0.5,) * len(classes),
    }
    return Config(task=task, classes=tuple(classes), **(values | fields))
