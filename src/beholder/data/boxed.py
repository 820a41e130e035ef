"""Batches of pictures whose boxes move with their pixels, by the same matrix."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beholder import image
from beholder.base.arrays import F32, I64, Bools
from beholder.base.boxes import BOX, CROWD, NONE, Boxes
from beholder.base.errors import PictureError
from beholder.base.records import Pictures, PixelPolicy
from beholder.data import geometry
from beholder.data.augment import Augment, matrices, recoloured
from beholder.data.loader import Batch, Batches, Readable
from beholder.duplicates.facts import recalled
from beholder.image.fit import placed
from beholder.image.sandbox import decoders
from beholder.machine.devices import sent
from beholder.machine.draws import Draws
from beholder.sources.crops import scale

SEEN = 0.25
"""Share of a box that has to be in the picture to be learnt; of one of which less is left, nothing is."""

LEAST = 2.0
"""Pixels of the net's picture that a side of a box has at least to be learnt."""


def upright(pictures: Pictures) -> I64:
    """Return (width, height) of each picture, upright: int64 (N, 2), zeros where it cannot be read.

    What is remembered of a file is taken, of others the headers are read.
    """
    sizes = np.zeros((len(pictures), 2), np.int64)
    if pictures.digests is not None:
        known = recalled(pictures)
        sizes = np.stack([known["width"], known["height"]], 1).astype(np.int64)

    def read(row: int) -> tuple[int, int]:
        try:
            head = image.header(pictures.store.read(pictures.keys[row]))
        except PictureError:
            return 0, 0
        return head.width, head.height

    missing = np.flatnonzero(sizes[:, 0] == 0)
    with decoders() as (pool, _):
        found = list(pool.map(read, missing.tolist()))
    sizes[missing] = np.array(found, np.int64).reshape(-1, 2)
    return sizes


def sized(boxes: Boxes, sizes: I64) -> tuple[Boxes, Bools]:
    """Return boxes in pixels of the upright pictures as they are, and of which pictures that can be said: bool (N,).

    They are cut off at the edges, and those that lie outside are left out.

    sizes: int64 (N, 2), as `upright` returns them. A picture of another shape than the one at which its boxes were drawn was
    turned or cut since: where its boxes are now is not known.
    """
    factors, right = np.ones((len(boxes), 2)), np.ones(len(boxes), bool)
    for row in np.flatnonzero((boxes.sizes > 0).all(1) & (boxes.sizes != sizes).any(1)).tolist():
        found = scale(tuple(boxes.sizes[row].tolist()), tuple(sizes[row].tolist())) if sizes[row].all() else None
        right[row] = found is not None
        factors[row] = found or (1.0, 1.0)
    scaled = boxes.corners * np.tile(factors[boxes.pictures], 2)
    known = np.asarray((sizes > 0).all(1))[boxes.pictures]
    cut = np.clip(scaled, 0, np.tile(sizes[boxes.pictures], 2))
    scaled = np.where(known[:, None], cut, scaled)
    keep = ~known | (scaled[:, 2:] > scaled[:, :2]).all(1)
    starts = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)[boxes.starts]
    return Boxes(scaled[keep], boxes.classes[keep], boxes.crowd[keep], starts, sizes), right


def fitted(boxes: Boxes, policy: PixelPolicy) -> Boxes:
    """Return boxes in pixels of the net's pictures, of boxes in pixels of upright pictures with known sizes."""
    shift, factor = _places(boxes.sizes, policy)
    rows = boxes.pictures
    corners = boxes.corners * np.tile(factor[rows], 2) + np.tile(shift[rows], 2)
    net = np.tile(np.array([policy.width, policy.height]), (len(boxes), 1)).astype(np.int64)
    return replace(boxes, corners=corners, sizes=net)


def unfitted(corners: F32, size: tuple[int, int], policy: PixelPolicy) -> F32:
    """Return boxes (n, 4) in pixels of an upright picture of `size` (width, height), cut off at its edges.

    corners: in pixels of the net's picture.
    """
    shift, factor = _places(np.array([size]), policy)
    found = (corners - np.tile(shift[0], 2)) / np.tile(factor[0], 2)
    cut: F32 = np.clip(found, 0, np.tile(np.array(size), 2)).astype(np.float32)
    return cut


def _places(sizes: I64, policy: PixelPolicy) -> tuple[Any, Any]:
    """Return (left, top) and the factors (across, down) of pictures of sizes int64 (N, 2) in those of a policy."""
    distinct, which = np.unique(sizes, axis=0, return_inverse=True)
    rows = []
    for width, height in distinct.tolist():
        top, left, tall, wide = placed(max(1, height), max(1, width), policy)
        rows.append((left, top, wide / max(1, width), tall / max(1, height)))
    table = np.array(rows).reshape(-1, 4)[which.reshape(-1)]
    return table[:, :2], table[:, 2:]


def targets_of(boxes: Boxes, rows: Sequence[int]) -> Tensor:
    """Return the targets of some pictures, float32 (B, G, 6) as `tasks.detect` takes them, G the most that one of them has."""
    some = [boxes[row] for row in rows]
    most = max((len(drawn.classes) for drawn in some), default=0)
    found = np.zeros((len(some), most, 6), np.float32)
    for at, drawn in enumerate(some):
        n = len(drawn.classes)
        found[at, :n, :4], found[at, :n, 4] = drawn.corners, drawn.classes
        found[at, :n, 5] = np.where(drawn.crowd, CROWD, BOX)
    return torch.from_numpy(found)


def varied(images: Tensor, targets: Tensor, draws: Draws, plan: Augment, *, outside: float) -> tuple[Tensor, Tensor]:
    """Return pictures that were varied, and their boxes where they are now.

    images: float32 in 0..1 (B, C, H, W); targets: float32 (B, G, 6); outside: the value beside a picture that became smaller
    """
    height, width = images.shape[-2:]
    if plan.bends or plan.moves:
        whole = geometry.composed(*matrices(draws, plan, height, width))
        images = geometry.sampled(images, whole, outside=outside)
        corners = geometry.moved(targets[..., :4], whole, height=height, width=width)
        targets = torch.cat([corners, targets[..., 4:]], -1)
    return recoloured(images, draws, plan), cut_off(targets, height, width)


def cut_off(targets: Tensor, height: int, width: int) -> Tensor:
    """Return targets (B, G, 6) cut off at the edges of the picture; of a box of which too little is left, nothing is learnt."""
    corners, kinds = targets[..., :4], targets[..., 5]
    edges = sent(torch.tensor([width, height, width, height]), targets.device)
    inside = torch.minimum(corners.clamp(min=0), edges)
    sides = inside[..., 2:] - inside[..., :2]
    left = sides.clamp(min=0).prod(-1) / (corners[..., 2:] - corners[..., :2]).clamp(min=1e-6).prod(-1)
    gone = (sides <= 0).any(-1)
    hidden = (kinds == BOX) & ((left < SEEN) | (sides < LEAST).any(-1))
    kinds = torch.where(gone, float(NONE), torch.where(hidden, float(CROWD), kinds))
    return torch.cat([inside, targets[..., 4:5], kinds[..., None]], -1)


class BoxedBatches(Batches):
    """Batches whose targets are the boxes of the pictures, moved with them: float32 (B, G, 6), as `tasks.detect` takes them.

    boxes: in pixels of the net's pictures, of the pictures that `pixels` are of; outside: see `varied`; the rest as `Batches`
    """

    def __init__(self, pixels: Readable, boxes: Boxes, *, outside: float, **how: Any) -> None:
        super().__init__(pixels, torch.zeros((len(pixels), 0)), **how)
        self.boxes = boxes
        self.outside = outside

    def at(self, epoch: int, indices: Tensor) -> Batch:
        """Return the pictures at `indices`, int64 (B,), as they are varied in an epoch."""
        return self._batch(epoch, indices, sent(torch.from_numpy(self.pixels.take(indices.numpy())), self.device), indices)

    def _batch(self, epoch: int, indices: Tensor, images: Tensor, among: Tensor) -> Batch:
        draws = Draws(self.seed, epoch, indices, device=self.device)
        targets = sent(targets_of(self.boxes, indices.tolist()), self.device)
        images = images.float().mul_(1 / 255)
        images, targets = varied(images, targets, draws, self.plan, outside=self.outside)
        return Batch(self.normalise(images), targets, indices)
