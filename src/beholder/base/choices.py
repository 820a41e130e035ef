"""What a recipe may name beside the built-ins: the registries of its fields, each open to plug-ins."""

from __future__ import annotations

from beholder.base.registry import Registry

AUGMENTATIONS = Registry(
    "augmentation", {name: f"beholder.data.augment:{name}" for name in ("none", "light", "standard", "strong")}
)
"""Functions `(*, strength, size) -> Augment`."""

OPTIMISERS = Registry(
    "optimiser", {name: f"beholder.learn.optim:{name.upper()}" for name in ("sgd", "adam", "adamw", "muon", "sphere")}
)
"""Values of `beholder.learn.optim.Optimiser`."""

SCHEDULES = Registry(
    "schedule", {name: f"beholder.learn.optim:{name}" for name in ("constant", "cosine", "onecycle", "trapezoid")}
)
"""Functions from the share of training that is done to a factor on the learning rate, both in [0, 1]."""
