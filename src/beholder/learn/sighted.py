"""What a detector is trained on, before its first step: pixels, boxes where the net sees them, and which backbone."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from beholder.base.arrays import U8
from beholder.base.boxes import Boxes
from beholder.base.deadline import Deadline
from beholder.base.errors import DataError, UsageError
from beholder.base.recipe import Recipe
from beholder.base.records import Parts, PixelPolicy
from beholder.base.spans import span
from beholder.data.augment import Augment, preset
from beholder.data.boxed import fitted, sized, upright
from beholder.data.survey import Survey, choose_policy, survey
from beholder.learn.material import Material, Said, both_decoded
from beholder.nets import onboard, pretrained
from beholder.nets.build import known
from beholder.nets.choose import photos
from beholder.sources.listing import some

FEWEST = 5
"""Training pictures without which nothing is learnt."""

SIDE, LEAST_SIDE, MOST_SIDE = 416, 256, 640
"""Pixels of the longer side of the net's pictures: the usual one, and between what it lies."""

ENLARGED = 1.6
"""By how much smaller pictures are enlarged at most."""

BOX = 12.0
"""Pixels that all but the smallest tenth of the boxes should have in the net's picture, as the root of their area."""


@dataclass(frozen=True, eq=False)
class Sighted:
    """A part, decoded: material, and its boxes in pixels of the net's pictures; own: in those of the pictures themselves."""

    material: Material
    boxes: Boxes
    own: Boxes

    def __len__(self) -> int:
        return len(self.material.pixels)


def sighted(
    parts: Parts, policy: PixelPolicy, recipe: Recipe, said: Said, *, until: Deadline, only: Mapping[str, U8] | None
) -> tuple[Sighted, Sighted]:
    """Return the training and the validation part. Raises `DataError` (too-few-pictures, no-boxes)."""
    with span("decode"):
        both = both_decoded(parts, policy, recipe, said, until=until, only=only)
    train, valid = (_sighted(part, policy, said) for part in both)
    if len(train) < FEWEST:
        what = f"{len(train)} readable training pictures are too few to learn from"
        raise DataError(
            what, code="too-few-pictures", hint=f"give {FEWEST} at least; hundreds of boxes of each class, to be good"
        )
    if not len(valid):
        what = "not one picture of the validation part can be read, or its boxes be placed"
        raise DataError(what, code="too-few-pictures", hint="check these pictures, or give a larger data.val")
    for name, part in (("training", train), ("validation", valid)):
        if not (~part.boxes.crowd).any():
            hint = "draw more boxes, give a larger part, or train on labels: --task multi"
            raise DataError(f"there is no box in the {name} part", code="no-boxes", hint=hint)
    return train, valid


def _sighted(part: Material, policy: PixelPolicy, said: Said) -> Sighted:
    boxes = part.pictures.boxes
    assert boxes is not None
    own, right = sized(boxes, upright(part.pictures))
    if outside := len(boxes.classes) - len(own.classes):
        said(f"{outside:,} boxes lie outside their pictures and are left out")
    if not right.all():
        rows = np.flatnonzero(right)
        wrong = [part.pictures.keys[row] for row in np.flatnonzero(~right).tolist()]
        what = f"{len(wrong):,} pictures were turned or cut after their boxes were drawn, and are left out: {some(wrong)}"
        said(what)
        part = dataclasses.replace(
            part,
            pictures=part.pictures.take(rows),
            pixels=part.pixels.subset(rows),
            targets=part.targets[torch.from_numpy(rows)],
        )
        own = own.take(rows)
    return Sighted(part, fitted(own, policy), own)


def policy_of(parts: Parts, recipe: Recipe, said: Callable[[str], None]) -> PixelPolicy:
    """Return the pixels that the net is given, which is said: the pictures' shape, its sides multiples of 32."""
    looked, drawn = survey(parts.train), parts.train.boxes
    assert drawn is not None
    boxes = sized(drawn, upright(parts.train))[0]
    longest = max(looked.height, looked.width)
    side = recipe.data.size or _side(looked, boxes)
    if recipe.data.size and not 64 <= recipe.data.size <= 2048:
        hint = "--size 64 to 2048; 416 is the usual one"
        raise UsageError(f"a detector cannot see pictures of {side} pixels", code="bad-size", hint=hint)
    if recipe.data.fit == "crop":
        hint = "data.fit=squash or pad keep the whole picture"
        raise UsageError("a detector does not cut off what lies at the edges", code="bad-value", hint=hint)
    height, width = (max(64, 32 * round(length * side / longest / 32)) for length in (looked.height, looked.width))
    plain = dataclasses.replace(recipe.data, size=0)
    policy, why = choose_policy(looked, plain, size=(height, width), channels=recipe.data.channels or 3)
    said(f"pixels: {why}")
    return policy


def _side(looked: Survey, boxes: Boxes) -> int:
    """Return the longer side at which most boxes are large enough to be seen."""
    longest = max(looked.height, looked.width)
    side = min(float(SIDE), max(float(LEAST_SIDE), ENLARGED * longest))
    areas = (boxes.corners[:, 2:] - boxes.corners[:, :2]).prod(1)[~boxes.crowd]
    if len(areas):
        small = float(np.quantile(np.sqrt(np.maximum(areas, 1.0)), 0.1))
        side = min(max(side, BOX * longest / small), float(MOST_SIDE), max(side, ENLARGED * longest))
    return 32 * round(side / 32)


def backbone_of(recipe: Recipe, on: torch.device) -> tuple[Recipe, str]:
    """Return the recipe with the name of its backbone, and why it is that. Raises `UsageError` (no-pyramid)."""
    net = known(recipe.net)
    if net.name != "auto" and not net.name.startswith("timm:"):
        hint = "take a convolutional net of timm, such as tf_efficientnet_lite0 or resnet18"
        raise UsageError(f"the net '{net.name}' cannot find boxes", code="no-pyramid", hint=hint)
    if net.name != "auto":
        return dataclasses.replace(recipe, net=net), "as the recipe asks"
    if net.weights == "none":
        name, why = f"timm:{onboard.USUAL}", "from random weights, as the recipe asks"
    elif net.weights == "auto":
        name, why = photos(on, fetch=True)
    else:
        name, why = f"timm:{pretrained.architecture(net.weights)}", f"{net.weights} holds its weights"
    return dataclasses.replace(recipe, net=dataclasses.replace(net, name=name)), why


def normal_of(recipe: Recipe, channels: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return (mean, std) of C values each, in 0..1, with which the backbone was trained."""
    want = pretrained.wants(recipe.net.name.removeprefix("timm:"), recipe.net.weights)
    return want.normalisation(channels) or ((0.5,) * channels, (0.25,) * channels)


def plan_of(recipe: Recipe, policy: PixelPolicy) -> Augment:
    """Return how far pictures and boxes are varied. auto: enlarged and made smaller, moved, mirrored, in other light.

    Raises `UsageError` (unused-field) for mixup and cutmix, which mix labels.
    """
    if recipe.data.mixup or recipe.data.cutmix:
        raise UsageError("mixup and cutmix mix labels, which boxes have not", code="unused-field", hint="leave them out")
    if recipe.data.augment == "none":
        return Augment()
    flip, strength = recipe.data.flip, recipe.data.strength
    if recipe.data.augment != "auto":
        return preset(recipe.data.augment, strength=strength, flip=flip, size=min(policy.height, policy.width))
    return Augment(
        scale=0.5 * strength,
        crop=min(0.4 * strength, 0.8),
        aspect=0.15 * strength,
        translate=min(strength / 10, 0.5),
        horizontal=0.0 if flip == "none" else 0.5,
        vertical=0.5 if flip == "both" else 0.0,
        brightness=min(0.2 * strength, 0.9),
        contrast=min(0.2 * strength, 0.9),
        saturation=min(0.2 * strength, 0.9),
    )


def weights_of(recipe: Recipe, train: Sighted, on: torch.device) -> Tensor:
    """Return class weights float32 (K,), one on average over the boxes: a class counts more the fewer boxes it has."""
    counts = torch.from_numpy(train.boxes.counts(len(train.material.pictures.classes))).float().clamp(min=1)
    weights = (counts.mean() / counts) ** recipe.detect.balance
    return (weights * counts.sum() / (weights * counts).sum()).to(on)
