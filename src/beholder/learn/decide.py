"""What a recipe leaves open, decided from the pictures, the net and the machine; each decision with its reason."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from beholder.base.choices import OPTIMISERS
from beholder.base.fields import TrainRecipe
from beholder.base.recipe import Recipe
from beholder.data.augment import Augment, preset
from beholder.learn.flips import Flips
from beholder.learn.optim import Optimiser
from beholder.learn.resizing import size_at
from beholder.nets.features import resizable, scale_free
from beholder.nets.norms import BatchNorm


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

    def flat(self) -> dict[str, object]:
        """Return plan.NAME → value of what was decided, as it stands beside a recipe."""
        return {f"plan.{name}": value for name, value in self.json().items() if not isinstance(value, dict)}


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
    flips: Flips | None = None,
    most: int = 0,
) -> Plan:
    """Return the plan for `n` training pictures of `size` (height, width) and the net `built`, which is `pretrained` or not.

    flips: what was measured of flips; None: nothing was
    most: the largest batch that leaves enough steps (0: any)
    """
    train = recipe.train
    batch = min(n, most or n, train.batch or _batch(n, net, size))
    chosen: Optimiser = OPTIMISERS.load(optimiser := _optimiser(train.optimiser, net, built, pretrained), of=Optimiser)
    lr = train.lr or (_fine(chosen, batch_norm=uses_batch_norm(built)) if pretrained else chosen.rate_at(batch))
    augment, mirror, words = _augment(recipe, n=n, classes=classes, size=size, flips=flips or Flips())
    grow, grows = _grow(recipe, built, size)
    made = Plan(
        epochs=train.epochs or _epochs(train, n, pretrained),
        batch=batch,
        optimiser=optimiser,
        lr=lr,
        weight_decay=train.weight_decay if train.weight_decay >= 0 else chosen.decay_at(batch),
        schedule=train.schedule if train.schedule != "auto" else chosen.schedule,
        augment=augment,
        mirror=mirror,
        averaging=train.averaging,
        grow=grow,
        freeze=_freeze(train.freeze, pretrained, device),
        layer_decay=(train.layer_decay or 1.0) if pretrained else 1.0,
        net=net,
        reasons=(words, *grows),
    )
    return dataclasses.replace(made, reasons=(*made.reasons, *_told(made, n, pretrained)))


def _told(made: Plan, n: int, pretrained: bool) -> list[str]:
    """Return what is to be said of the training that is planned."""
    low = ", low because the weights are pretrained" if pretrained else ""
    how = f"in batches of {made.batch}; {made.optimiser} at a rate of {made.lr:.3g}{low}"
    told = [f"training: up to {made.epochs} epochs of {n} pictures {how}"]
    if made.freeze:
        told.append(f"the lowest {made.freeze:.0%} of the layers stay as they are: what they see is general, and dear to train")
    return told


STRETCH = 3.0
"""With a budget of minutes, the chosen number of epochs may grow by this factor to use it: more seldom gains anything."""


def _fine(optimiser: Optimiser, *, batch_norm: bool) -> float:
    """Return the rate for pretrained weights: nets with batch norm bear three times that of transformers (docs/LOG.md)."""
    return optimiser.fine * (10 / 3 if batch_norm else 1)


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
    return any(isinstance(module, BatchNorm) for module in net.modules())


def _optimiser(asked: str, net: str, built: nn.Module, pretrained: bool) -> str:
    if asked == "sphere" and not scale_free(built):
        return "muon"
    if asked != "auto":
        return asked
    return "muon" if net in ("fastnet", "resnet") and not pretrained else "adamw"


def _batch(n: int, net: str, size: tuple[int, int]) -> int:
    if net.startswith("timm:") or max(size) > 96:
        return 32
    return 512 if n >= 40_000 else 256 if n >= 10_000 else 128 if n >= 4_000 else 64


def _epochs(train: TrainRecipe, n: int, pretrained: bool) -> int:
    """Return fewer epochs the more pictures there are: about 1.2 million pictures seen, 12 epochs from pretrained weights."""
    usual = 12 if pretrained else int(np.clip(round(1_200_000 / max(1, n)), 16, 150))
    return max(1, round(usual * train.effort * (STRETCH if train.minutes else 1.0)))


def _augment(
    recipe: Recipe, *, n: int, classes: tuple[str, ...], size: tuple[int, int], flips: Flips
) -> tuple[Augment, bool, str]:
    data = recipe.data
    name = data.augment if data.augment != "auto" else "light" if max(size) <= 64 and n >= 3_000 else "standard"
    flip, vertical, why = _flip(data.flip, classes, flips)
    made = preset(name, strength=data.strength, flip=flip, size=min(size))
    made = dataclasses.replace(made, mixup=data.mixup, cutmix=data.cutmix)
    if vertical and name != "none" and data.strength:
        made = dataclasses.replace(made, vertical=0.5)
    mirror = recipe.train.mirror and flip in ("horizontal", "both") and name != "none"
    return made, mirror, f"augmentation: {name}; {why if name != 'none' else 'no flips'}"


def _flip(asked: str, classes: tuple[str, ...], flips: Flips) -> tuple[str, bool, str]:
    """Return a flip of `preset`, whether pictures are turned upside down as well, and the reason: asked, measured or custom."""
    if asked != "auto":
        return asked, False, "no flips, as asked" if asked == "none" else f"flips as asked ({asked})"
    if flips.horizontal is not None:
        along = [axis for axis, may in (("from side to side", flips.horizontal), ("upside down", flips.vertical)) if may]
        said = f"flips {' and '.join(along)}" if along else "no flips"
        return "horizontal" if flips.horizontal else "none", flips.vertical, f"{said}; {flips.why}"
    known = f"{flips.why}; " if flips.why else ""
    if oriented := _oriented(classes):
        return "none", False, f"{known}no flips, because the class '{oriented}' looks like a digit, a letter or a side"
    return "horizontal", False, f"{known}flips included (--set data.flip=none where left and right matter)"


_SIDE = re.compile(
    r"^\d{1,3}$|^[^\W\d_]$|(^|[\W_])(left|right|links|rechts|gauche|droite|izquierda|derecha|左|右|clockwise|"
    r"zero|one|two|three|four|five|six|seven|eight|nine)([\W_]|$)",
    re.IGNORECASE,
)


def _oriented(classes: tuple[str, ...]) -> str:
    """Return the first class name that says that its mirror image is something else: a digit, a letter, a side."""
    return next((name for name in classes if _SIDE.search(name)), "")
