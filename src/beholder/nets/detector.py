"""A detector: a backbone of timm, a feature pyramid, and a dense head without anchors that is shared by all its levels.

At each point of three grids (8, 16 and 32 pixels apart) the head says of each class how likely a box of it is there, and how
far from the point the four sides of the box are, as a distribution over distances.

Sources: T.-Y. Lin et al., "Feature pyramid networks", CVPR 2017; Z. Tian et al., "FCOS", ICCV 2019; X. Li et al., "Generalized
focal loss" (distances as distributions), NeurIPS 2020; C. Lyu et al., "RTMDet" (norms of their own for each level), 2022.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.ops import FeaturePyramidNetwork, batched_nms

from beholder.base.recipe import Recipe
from beholder.nets import pretrained
from beholder.nets.pretrained import Source
from beholder.nets.pyramid import pyramid_net
from beholder.nets.spec import DetectorSpec, Initial

STRIDES = (8, 16, 32)
"""Pixels between the points of each level."""

BINS = 16
"""Distances of a side that are told apart: 0 to 15 strides of its level."""

RARE = 0.01
"""How likely a box is at any point before anything is learnt."""


class Seen(NamedTuple):
    """What a detector says of B pictures at A points.

    logits: (B, A, K); sides: (B, A, 4 · BINS), logits of the distances left, top, right, bottom in strides
    points: (A, 2), x and y in pixels; strides: (A,)
    """

    logits: Tensor
    sides: Tensor
    points: Tensor
    strides: Tensor


class Tower(nn.Module):
    """Convolutions 3 × 3 whose weights all levels share, and whose norms none do."""

    def __init__(self, maps: int, depth: int, levels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(maps, maps, 3, padding=1, bias=False) for _ in range(depth))
        self.norms = nn.ModuleList(nn.ModuleList(nn.BatchNorm2d(maps) for _ in range(depth)) for _ in range(levels))

    def forward(self, x: Tensor, level: int) -> Tensor:
        """Return maps (B, C, h, w) of a level's maps of that shape."""
        norms: Any = self.norms[level]
        for conv, norm in zip(self.convs, norms, strict=True):
            x = F.silu(norm(conv(x)))
        return x


class Head(nn.Module):
    """The pyramid and what decides on it: all of a detector but its backbone."""

    def __init__(self, widths: Sequence[int], *, classes: int, maps: int, depth: int) -> None:
        super().__init__()
        self.pyramid = FeaturePyramidNetwork(list(widths), maps, norm_layer=nn.BatchNorm2d)
        self.what = Tower(maps, depth, len(widths))
        self.where = Tower(maps, depth, len(widths))
        self.classes = nn.Conv2d(maps, classes, 1)
        self.sides = nn.Conv2d(maps, 4 * BINS, 1)
        for each in (self.classes, self.sides):
            nn.init.normal_(each.weight, std=0.01)
            nn.init.zeros_(each.bias)  # type: ignore[arg-type]
        nn.init.constant_(self.classes.bias, -math.log((1 - RARE) / RARE))  # type: ignore[arg-type]

    def forward(self, maps: Sequence[Tensor]) -> Seen:
        """Return what is seen in the backbone's maps (B, C, h, w), one for each of `STRIDES`."""
        levels = self.pyramid(OrderedDict((str(k), x) for k, x in enumerate(maps))).values()
        logits, sides, points, strides = [], [], [], []
        for k, (x, stride) in enumerate(zip(levels, STRIDES, strict=True)):
            logits.append(self.classes(self.what(x, k)).flatten(2).transpose(1, 2))
            sides.append(self.sides(self.where(x, k)).flatten(2).transpose(1, 2))
            points.append(grid(int(x.shape[2]), int(x.shape[3]), stride, x.device))
            strides.append(torch.full((points[-1].shape[0],), float(stride), device=x.device))
        return Seen(torch.cat(logits, 1), torch.cat(sides, 1), torch.cat(points), torch.cat(strides))


class Detector(nn.Module):
    """A whole detector. maps(images) are the backbone's; seen(maps) is what the head says of them."""

    def __init__(self, backbone: nn.Module, widths: Sequence[int], spec: DetectorSpec) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = Head(widths, classes=spec.classes, maps=spec.maps, depth=spec.depth)

    def maps(self, images: Tensor) -> list[Tensor]:
        """Return the backbone's maps (B, C, h, w), one for each of `STRIDES`. images: float32 (B, C, H, W), normalised."""
        found: list[Tensor] = self.backbone(images)
        return found

    def forward(self, images: Tensor) -> Seen:
        """Return what is seen in images float32 (B, C, H, W), normalised."""
        seen: Seen = self.head(self.maps(images))
        return seen


def grid(height: int, width: int, stride: int, device: torch.device) -> Tensor:
    """Return the points of a level, (height · width, 2): x and y in pixels of the picture, row after row."""
    ys, xs = (torch.arange(n, device=device) * stride + stride / 2 for n in (height, width))
    return torch.stack([xs.repeat(height), ys.repeat_interleave(width)], 1)


def distances(sides: Tensor) -> Tensor:
    """Return the expected distances in strides (…, 4) of logits (…, 4 · BINS)."""
    shares = sides.float().reshape(*sides.shape[:-1], 4, BINS).softmax(-1)
    found: Tensor = (shares * torch.arange(BINS, device=sides.device)).sum(-1)
    return found


def corners(seen: Seen) -> Tensor:
    """Return the boxes float32 (B, A, 4), left, top, right, bottom in pixels of the picture that the net was given."""
    away = distances(seen.sides) * seen.strides[:, None]
    return torch.cat([seen.points - away[..., :2], seen.points + away[..., 2:]], -1)


def built(spec: DetectorSpec) -> Detector:
    """Return the detector of a spec with random weights. Raises `UsageError` (no-pyramid, unknown-net)."""
    origin = Source(pretrained.published(spec.backbone), spec.args)
    net, _ = pyramid_net(spec.backbone, origin, channels=spec.channels, strides=STRIDES, weights=False)
    return _whole(net, spec)


def begun(recipe: Recipe, *, channels: int, classes: int) -> tuple[Detector, DetectorSpec, Initial | None]:
    """Return the recipe's detector, with a pretrained backbone unless the recipe asks for random weights.

    Raises `UsageError` (no-pyramid, unknown-net, licence, …) and `MachineError` for weights that cannot be had.
    """
    asked, name = recipe.net, recipe.net.name.removeprefix("timm:")
    pretrained.check_licence(name, asked.weights, asked.licence)
    origin = pretrained.source(name, asked.weights)
    wanted = asked.weights != "none"
    net, initial = pyramid_net(name, origin, channels=channels, strides=STRIDES, weights=wanted)
    spec = DetectorSpec(name, channels, classes, recipe.detect.pyramid, recipe.detect.depth, dict(origin.args))
    return _whole(net, spec), spec, initial


def _whole(net: nn.Module, spec: DetectorSpec) -> Detector:
    info: Any = net.feature_info
    return Detector(net, info.channels(), spec)


FLOOR = 0.001
"""Score from which on a box is looked at."""

TOP = 10
"""Candidates that are looked at, as multiples of the boxes that a picture may have."""


def found_in(seen: Seen, *, overlap: float, most: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return of each picture its boxes (n, 4) in pixels of the net's picture, their classes int64 (n,) and scores (n,).

    overlap: of two boxes of one class that overlap by more, the surer stays; most: boxes of a picture, the surest first
    """
    boxes, scores = corners(seen), seen.logits.float().sigmoid()
    return [_found(*each, overlap=overlap, most=most) for each in zip(boxes, scores, strict=True)]


def _found(boxes: Tensor, scores: Tensor, *, overlap: float, most: int) -> tuple[Tensor, Tensor, Tensor]:
    flat = scores.flatten()
    at = (flat > FLOOR).nonzero().squeeze(1)
    if len(at) > TOP * most:
        at = at[flat[at].topk(TOP * most).indices]
    points, classes = at // scores.shape[1], at % scores.shape[1]
    kept = batched_nms(boxes[points], flat[at], classes, overlap)[:most]
    return boxes[points[kept]], classes[kept], flat[at[kept]]
