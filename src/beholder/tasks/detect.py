"""The task `detect`: what is in a picture, and where.

A batch's targets are boxes, float32 (B, G, 6): left, top, right, bottom in pixels of the picture that the net is given, class,
and one of the kinds `NONE`, `BOX`, `CROWD` of base/boxes.py; a picture with fewer boxes is filled up with `NONE`.

Each box is learnt by the points inside it that already say most of it, class and place together; what they are to say of its
class is how well they place it. Sources: C. Feng et al., "TOOD: task-aligned one-stage object detection", ICCV 2021;
X. Li et al., "Generalized focal loss", NeurIPS 2020; Z. Zheng et al., "Distance-IoU loss", AAAI 2020.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from beholder.base.boxes import BOX, CROWD
from beholder.tasks.task import Turn

if TYPE_CHECKING:
    from torch import Tensor

    from beholder.nets.detector import Seen

POINTS = 10
"""Points that learn one box, at most."""

ALPHA, BETA = 0.5, 6.0
"""Powers of class probability and overlap in how well a point says a box (TOOD, with the powers that later work settled on)."""

CLASS, PLACE, SIDES = 0.5, 7.5, 1.5
"""Weights of the three losses: of the class, of the overlap, of the distributions over distances."""


def turns(
    net: Any, images: Tensor, targets: Tensor, *, smoothing: float = 0.0, weights: Tensor | None = None
) -> Iterator[Turn]:
    """Yield the one turn of a batch. net(images) is a `Seen`; `Turn.right` is 1 less the mean loss of place."""
    seen = net(images)
    loss, placed = losses(seen, targets, weights)
    yield Turn("net", loss, placed)


def losses(seen: Seen, targets: Tensor, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return the loss of a batch, and 1 less the mean loss of place, both scalars. weights: float32 (K,) of the classes."""
    import torch
    from torch.nn import functional as F
    from torchvision.ops import complete_box_iou_loss

    from beholder.nets.detector import corners

    logits, boxes = seen.logits.float(), corners(seen)
    found = [_learnt(logits[k].detach(), boxes[k].detach(), seen, rows) for k, rows in enumerate(targets)]
    wanted, counted = (torch.stack([row[k] for row in found]) for k in (0, 1))
    owner = [row[2] for row in found]
    total = wanted.sum().clamp(min=1.0)
    classes = F.binary_cross_entropy_with_logits(logits, wanted, reduction="none")
    classes = classes if weights is None else classes * weights
    loss = CLASS * (classes.sum(-1) * counted).sum() / total
    pairs = [(k, at.nonzero().squeeze(1)) for k, at in enumerate(who >= 0 for who in owner)]
    picture = torch.cat([torch.full_like(at, k) for k, at in pairs])
    point = torch.cat([at for _, at in pairs])
    if not len(point):
        return loss + 0.0 * (boxes.sum() + seen.sides.float().sum()), loss.detach() * 0.0
    truth = torch.cat([targets[k, owner[k][at], :4] for k, at in pairs]).float()
    quality = (wanted if weights is None else wanted * weights)[picture, point].sum(-1)
    away = complete_box_iou_loss(boxes[picture, point], truth)
    loss = loss + PLACE * (away * quality).sum() / total
    apart = _apart(seen.sides[picture, point].float(), truth, seen.points[point], seen.strides[point])
    return loss + SIDES * (apart * quality).sum() / total, (1 - away.detach()).mean()


def _learnt(logits: Tensor, boxes: Tensor, seen: Seen, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return of one picture what its points are to say of the classes, (A, K), whether that counts, (A,), and whose they are.

    The last is int64 (A,), the row of the box that a point learns, or -1.
    """
    import torch

    real = (rows[:, 5] == BOX).nonzero().squeeze(1)
    wanted, owner = torch.zeros_like(logits), torch.full((len(logits),), -1, dtype=torch.int64, device=logits.device)
    if len(real):
        labels = rows[real, 4].long()
        who, quality = assigned(logits.sigmoid()[:, labels].T, boxes, seen.points, rows[real, :4])
        at = (who >= 0).nonzero().squeeze(1)
        owner[at] = real[who[at]]
        wanted[at, labels[who[at]]] = quality[at]
    crowds = rows[rows[:, 5] == CROWD, :4]
    hidden = within(seen.points, crowds).any(0) if len(crowds) else torch.zeros_like(owner, dtype=torch.bool)
    return wanted, (~hidden | (owner >= 0)).float(), owner


def assigned(said: Tensor, boxes: Tensor, points: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
    """Return which of n boxes each of A points learns, int64 (A,) or -1, and how well it is to say so, float32 (A,) in 0..1.

    said: (n, A), the probability of each box's class; boxes: (A, 4), what the points say; truth: (n, 4)
    A box in which no point lies is learnt by the one that is nearest to its middle.
    """
    import torch
    from torchvision.ops import box_iou

    overlap = box_iou(truth, boxes)
    inside = within(points, truth)
    middle = (truth[:, :2] + truth[:, 2:]) / 2
    bare = ~inside.any(1)
    if bare.any():
        nearest = torch.cdist(middle[bare], points).argmin(1)
        inside[bare.nonzero().squeeze(1), nearest] = True
    fit = said.clamp(min=1e-9) ** ALPHA * (overlap.clamp(min=1e-6)) ** BETA * inside
    best = fit.topk(min(POINTS, fit.shape[1]), dim=1)
    chosen = torch.zeros_like(inside).scatter_(1, best.indices, best.values > 0)
    who = torch.where(chosen, overlap + 1e-6, torch.zeros_like(overlap)).argmax(0)
    mine = chosen & (who == torch.arange(len(truth), device=who.device)[:, None])
    fit, overlap = fit * mine, overlap * mine
    quality = fit / fit.amax(1, keepdim=True).clamp(min=1e-20) * overlap.amax(1, keepdim=True)
    return torch.where(mine.any(0), who, -1), quality.amax(0)


def within(points: Tensor, boxes: Tensor) -> Tensor:
    """Return bool (n, A): which of the points (A, 2) lie inside which of the boxes (n, 4)."""
    import torch

    x, y = points[:, 0], points[:, 1]
    sides = [x - boxes[:, :1], y - boxes[:, 1:2], boxes[:, 2:3] - x, boxes[:, 3:] - y]
    return torch.stack(sides).amin(0) > 0


def _apart(sides: Tensor, truth: Tensor, points: Tensor, strides: Tensor) -> Tensor:
    """Return the loss of distributions over distances, float32 (n,): the cross-entropy with the bins beside the true one."""
    import torch
    from torch.nn import functional as F

    from beholder.nets.detector import BINS

    true = torch.cat([points - truth[:, :2], truth[:, 2:] - points], 1) / strides[:, None]
    true = true.clamp(0, BINS - 1 - 0.01).flatten()
    low = true.long()
    logits = sides.reshape(-1, BINS)
    lower, upper = (F.cross_entropy(logits, place, reduction="none") for place in (low, low + 1))
    return (lower * (low + 1 - true) + upper * (true - low)).reshape(-1, 4).mean(1)
