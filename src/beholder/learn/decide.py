"""What a recipe leaves open, decided from the pictures, the net and the machine; each decision with its reason."""

from __future__ import annotations

import dataclasses
import math
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from beholder.base.recipe import Recipe
from beholder.data.augment import Augment, preset
from beholder.learn.grow import size_at
from beholder.learn.optim import DECAYS, PULL, RATES
from beholder.nets.features import resizable, scale_free


@dataclass(frozen=True)
class Plan:
    """Concrete values for everything that a recipe may leave open. `lr` is the rate at the height of the schedule."""

    epochs: int
    batch: int
    optimiser: str
    lr: float
    weight_decay: float
    schedule: str
    augment: Augment
    mirror: bool
    averaging: float
    grow: float
    freeze: float
    layer_decay: float
    net: str
    reasons: tuple[str, ...]

    def json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values, without its reasons."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "reasons"}


def plan(
    recipe: Recipe,
    *,
    n: int,
    classes: tuple[str, ...],
    net: str,
    built: nn.Module,
    pretrained: bool,
    size: tuple[int, int],
    device: str = "cpu",
) -> Plan:
    """Return the plan for `n` training pictures of `size` (height, width) and the net `built`, which is `pretrained` or not."""
    train = recipe.train
    optimiser = train.optimiser if train.optimiser != "auto" else _optimiser(net, pretrained)
    batch = min(n, train.batch or _batch(n, net, size))
    if optimiser == "sphere" and not scale_free(built):
        optimiser = "muon"
    lr = train.lr or (_fine(optimiser, batch_norm=uses_batch_norm(built)) if pretrained else _rate(optimiser, batch))
    augment, mirror, words = _augment(recipe, n=n, classes=classes, size=size, pretrained=pretrained)
    grow, grows = _grow(recipe, built, size)
    effort = train.effort * (STRETCH if train.minutes else 1.0)
    epochs = train.epochs or max(1, round(_epochs(n, pretrained) * effort))
    freeze = _freeze(train.freeze, pretrained, device)
    reasons: tuple[str, ...] = (
        words,
        *grows,
        f"training: up to {epochs} epochs of {n} pictures in batches of {batch}; {optimiser} at a rate of {lr:.3g}"
        + (", low because the weights are pretrained" if pretrained else ""),
    )
    pull = PULL * batch if optimiser == "sphere" else DECAYS[optimiser]
    if freeze:
        reasons += (f"the lowest {freeze:.0%} of the layers stay as they are: what they see is general, and dear to train",)
    return Plan(
        epochs=epochs,
        batch=batch,
        optimiser=optimiser,
        lr=lr,
        weight_decay=train.weight_decay if train.weight_decay >= 0 else pull,
        schedule=train.schedule if train.schedule != "auto" else "trapezoid" if optimiser in ("muon", "sphere") else "cosine",
        augment=augment,
        mirror=mirror,
        averaging=train.averaging,
        grow=grow,
        freeze=freeze,
        layer_decay=(train.layer_decay or 1.0) if pretrained else 1.0,
        net=net,
        reasons=reasons,
    )


STRETCH = 3.0
"""With a budget of minutes, the chosen number of epochs may grow by this factor to use it: more seldom gains anything."""

_FINE_TUNING = {"sgd": 0.005, "adam": 0.0002, "adamw": 0.0003, "muon": 0.002, "sphere": 0.02}


def _fine(optimiser: str, *, batch_norm: bool) -> float:
    """Return the rate for pretrained weights: nets with batch norm bear three times that of transformers (docs/LOG.md)."""
    return _FINE_TUNING[optimiser] * (10 / 3 if batch_norm else 1)


def _rate(optimiser: str, batch: int) -> float:
    """Return the rate for random weights; on the sphere it falls with the root of the batch, as the noise of a step rises."""
    return RATES[optimiser] * (math.sqrt(batch / 2000) if optimiser == "sphere" else 1.0)


def _grow(recipe: Recipe, built: nn.Module, size: tuple[int, int]) -> tuple[float, tuple[str, ...]]:
    """Return the share of the side at which pictures begin, and what is to be said of it."""
    asked = recipe.data.grow or 1.0
    if asked == 1.0:
        return 1.0, ()
    if not resizable(built):
        return 1.0, ("pictures keep their size throughout: this net takes one size only, so data.grow does nothing",)
    height, width = size_at(size, asked, 0.0)
    return asked, (f"progressive resizing: training begins with pictures of {width} × {height} and ends at full size",)


def _freeze(asked: float, pretrained: bool, device: str) -> float:
    if not pretrained or asked >= 0:
        return asked if pretrained else 0.0
    return 0.4 if device == "cpu" else 0.0


def uses_batch_norm(net: nn.Module) -> bool:
    """Return whether a net has batch normalisation."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in net.modules())


def _optimiser(net: str, pretrained: bool) -> str:
    if pretrained or net.startswith("timm:"):
        return "adamw"
    return "muon" if net in ("fastnet", "resnet") else "adamw"


def _batch(n: int, net: str, size: tuple[int, int]) -> int:
    if net.startswith("timm:") or max(size) > 96:
        return 32
    return 512 if n >= 40_000 else 256 if n >= 10_000 else 128 if n >= 4_000 else 64


def _epochs(n: int, pretrained: bool) -> int:
    """Return fewer epochs the more pictures there are: about 1.2 million pictures seen, 12 epochs from pretrained weights."""
    return 12 if pretrained else int(np.clip(round(1_200_000 / max(1, n)), 16, 150))


def _augment(
    recipe: Recipe, *, n: int, classes: tuple[str, ...], size: tuple[int, int], pretrained: bool
) -> tuple[Augment, bool, str]:
    data = recipe.data
    oriented = _oriented(classes)
    flip = data.flip if data.flip != "auto" else "none" if oriented else "horizontal"
    name = data.augment if data.augment != "auto" else "light" if max(size) <= 64 and n >= 3_000 else "standard"
    made = preset(name, strength=data.strength, flip=flip, size=min(size))
    made = dataclasses.replace(made, mixup=data.mixup, cutmix=data.cutmix)
    if flip != "none" and name != "none":
        why = "flips included (--set data.flip=none where left and right matter)"
    elif oriented and data.flip == "auto":
        why = f"no flips, because the class '{oriented}' looks like a digit, a letter or a side"
    else:
        why = "no flips"
    mirror = recipe.train.mirror and flip in ("horizontal", "both") and name != "none"
    return made, mirror, f"augmentation: {name}; {why}"


_SIDE = re.compile(
    r"^\d{1,3}$|^[^\W\d_]$|(^|[\W_])(left|right|links|rechts|gauche|droite|izquierda|derecha|左|右|clockwise|"
    r"zero|one|two|three|four|five|six|seven|eight|nine)([\W_]|$)",
    re.IGNORECASE,
)


def _oriented(classes: tuple[str, ...]) -> str:
    """Return the first class name that says that its mirror image is something else: a digit, a letter, a side."""
    return next((name for name in classes if _SIDE.search(name)), "")
