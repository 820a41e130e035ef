"""Where in a picture a detector finds what speaks for one of its boxes.

The box comes from one point of one level of the feature pyramid. What is explained is the logit of its class at that point; the
heat is the level's maps times the logit's gradient, summed over channels: as the head is convolutions alone, the gradient is
local, and is not averaged over places as Grad-CAM does (R. Draelos and L. Carin, "HiResCAM", 2020).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor, nn

from beholder.base.arrays import F32, U8
from beholder.base.brief import shown
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.names import position
from beholder.base.records import Detection
from beholder.bundle.detector import Detector
from beholder.bundle.given import one
from beholder.data.loader import normalised
from beholder.explanation import Explanation
from beholder.explanation.gradcam import enlarged
from beholder.image import decode
from beholder.image.fit import unfitted
from beholder.machine.device import device
from beholder.machine.placement import evaluating
from beholder.measure.detections import Detected
from beholder.nets.detector import STRIDES, corners

SHARE, ELSEWHERE = 0.1, 8
"""Share of the picture that is covered to see whether the warm places matter; other places where the same shape is put."""


class Point(NamedTuple):
    """Where a box comes from: its level (0 to 2), its row among all points, and its class."""

    level: int
    row: int
    label: int


@dataclass(frozen=True, eq=False)
class BoxExplanation:
    """Where a detector finds the evidence for one box.

    explanation: as of a model of labels: the heat, the picture, and what covering the warm places does to p
    box: the box, in pixels of the upright picture; number: which of those that are told of the picture, the surest being 0
    stride: pixels of the net's picture between the points of the level that found it
    """

    explanation: Explanation
    box: tuple[float, float, float, float]
    number: int
    stride: int

    __repr__ = shown

    @property
    def label(self) -> str:
        """Return its class."""
        return self.explanation.label

    @property
    def p(self) -> float:
        """Return the calibrated probability that it is right."""
        return self.explanation.p

    @property
    def heat(self) -> F32:
        """Return float32 (h, w) in [0, 1] at the picture's own pixels, upright."""
        return self.explanation.heat

    @property
    def verdict(self) -> str:
        """Return whether the warm places matter to the box: "sound", "doubtful", or "empty" where there are none."""
        return self.explanation.verdict

    @property
    def remark(self) -> str:
        """Return that in a sentence."""
        return self.explanation.remark

    def save(self, path: str | Path) -> Path:
        """Write the picture with its box, the heat over it, and words, as .png, .jpg or .webp; return the path."""
        return replace(self.explanation, picture=framed(self.explanation.picture, self.box)).save(path)

    def json(self) -> dict[str, Any]:
        """Return {"label", "p", "box", "number", "stride", "method", "reason", "covered", "remark"} as plain JSON values."""
        said = self.explanation.json()
        told = {"box": [round(v, 2) for v in self.box], "number": self.number, "stride": self.stride}
        return {**{name: said[name] for name in ("label", "p")}, **told, **{name: said[name] for name in _SAID}}


_SAID = ("method", "reason", "covered", "remark")


def explain(
    detector: Detector | str | Path,
    picture: object,
    *,
    label: str | None = None,
    box: int | None = None,
    allow_download: bool = False,
) -> BoxExplanation:
    """Return where in a picture, in any form that a detector takes, it finds what speaks for one of its boxes.

    label: explain the surest box of that class; box: the box of that number, in the order in which boxes are told; neither: the
    surest of all, below the thresholds too where nothing else is found. allow_download: fetch a picture that is not here.
    Raises `PictureError` for a picture that cannot be read, `UsageError` (unknown-class, no-box).
    """
    detector = detector if isinstance(detector, Detector) else Detector.load(detector)
    data = one(picture, bits=detector.policy.bits, allow_download=allow_download)
    whole, looked = decode(data, channels=3, background=detector.policy.background), detector.looked(data)
    number, found = chosen(detector, looked.pixels, looked.size, label=label, box=box)
    with evaluating(detector.net, on=device()):
        x = _normal(detector, looked.pixels)
        point = point_of(detector, x, looked.size, found)
        heat = maps(detector.net, x, point)[0]
        covered = _covered(detector, x, heat, point)
    scaled: F32 = (heat / heat.max().clamp_min(1e-12)).float().cpu().numpy()
    stride = STRIDES[point.level]
    explanation = Explanation(
        label=found.label,
        p=found.p,
        prediction=found.label,
        method="gradients of the box",
        reason=f"a point of the level of {stride} pixels found it",
        heat=unfitted(scaled, whole.shape[0], whole.shape[1], detector.policy),
        picture=whole,
        covered=covered,
    )
    return BoxExplanation(explanation, found.box, number, stride)


def chosen(
    detector: Detector, pixels: U8, size: tuple[int, int], *, label: str | None, box: int | None
) -> tuple[int, Detection]:
    """Return the number and the box to explain. Raises `UsageError` (unknown-class, no-box)."""
    row = detector.found(pixels[None])[0]
    every, told = detector.told(row, size, threshold=0.0).boxes, detector.told(row, size).boxes
    if label is not None:
        if (k := position(label, detector.classes)) < 0:
            hint = did_you_mean(label, detector.classes[:200])
            raise UsageError(f"the detector knows no class '{label}'", code="unknown-class", hint=hint)
        every, told = (tuple(each for each in some if each.label == detector.classes[k]) for some in (every, told))
    boxes = told or every[:1]
    wanted = 0 if box is None else box
    if not 0 <= wanted < len(boxes):
        what = f" of {label}" if label is not None else ""
        hint = f"ask for 0 to {len(boxes) - 1}" if boxes else "beholder predict --threshold 0 shows what it is unsure of"
        raise UsageError(f"there is no box {wanted}{what} in this picture, but {len(boxes)}", code="no-box", hint=hint)
    return wanted, boxes[wanted]


def point_of(detector: Detector, x: Tensor, size: tuple[int, int], found: Detection) -> Point:
    """Return the point that a box comes from: of those that give its corners, that with the highest logit of its class.

    x: float32 (1, C, H, W), normalised; size: (width, height) of the picture, upright
    """
    label = detector.classes.index(found.label)
    with torch.no_grad():
        seen = detector.net(x)
        there = corners(seen)[0].double().cpu().numpy()
    own = detector.own(Detected(there, np.zeros(len(there), np.int64), np.ones(len(there))), size).corners
    off = np.abs(own - np.array(found.box)).max(axis=1)
    logits = seen.logits[0, :, label].double().cpu().numpy()
    near = off <= off.min() + 0.5
    row = int(np.where(near, logits, -np.inf).argmax())
    return Point(STRIDES.index(int(seen.strides[row])), row, label)


def maps(net: nn.Module, x: Tensor, point: Point) -> Tensor:
    """Return heat float32 (1, H, W), at least 0, of the logit at a point. x: float32 (1, C, H, W), normalised."""
    detector: Any = net
    caught: dict[str, Tensor] = {}

    def keep(_: nn.Module, __: object, out: dict[str, Tensor]) -> dict[str, Tensor]:
        caught.update(out)
        return out

    hook = detector.head.pyramid.register_forward_hook(keep)
    try:
        with torch.enable_grad():
            logit = detector(x.detach().requires_grad_()).logits[0, point.row, point.label]
            level = caught[str(point.level)]
            (slope,) = torch.autograd.grad(logit, level)
    finally:
        hook.remove()
    return enlarged((slope * level).sum(dim=1).relu().detach(), x)


def _covered(detector: Detector, x: Tensor, heat: Tensor, point: Point) -> dict[str, float]:
    """Return {"share", "p", "elsewhere"}: p of the box at its point with the warmest places covered, as `faithful.covered`."""
    warm = torch.zeros(heat.numel(), dtype=torch.bool, device=heat.device)
    warm[heat.flatten().argsort(descending=True)[: max(1, round(SHARE * heat.numel()))]] = True
    mask = warm.reshape(heat.shape)
    shifts = np.random.default_rng(0).integers(0, tuple(heat.shape), (ELSEWHERE, 2)).tolist()
    scores = []
    with torch.no_grad():
        for one_mask in (mask, *(mask.roll((down, right), (0, 1)) for down, right in shifts)):
            logit = detector.net(x.masked_fill(one_mask, 0.0)).logits[0, point.row, point.label]
            scores.append(float(logit.sigmoid()))
    p = detector.calibrated(np.array(scores))
    return {"share": SHARE, "p": float(p[0]), "elsewhere": float(p[1:].mean())}


def _normal(detector: Detector, pixels: U8) -> Tensor:
    on = next(detector.net.parameters()).device
    return normalised(torch.from_numpy(pixels[None]).to(on), detector.config.mean, detector.config.std)


def framed(picture: U8, box: tuple[float, float, float, float]) -> U8:
    """Return the picture uint8 (h, w, 3) with a box drawn around its pixels: white between two dark lines."""
    image = Image.fromarray(picture)
    pen, wide = ImageDraw.Draw(image), max(1, round(max(picture.shape[:2]) / 250))
    left, top, right, bottom = (round(v) for v in box)
    for inset, colour in ((-wide, (20, 20, 20)), (0, (255, 255, 255)), (wide, (20, 20, 20))):
        edges = (left + inset, top + inset, max(left + inset, right - 1 - inset), max(top + inset, bottom - 1 - inset))
        pen.rectangle(edges, outline=colour, width=wide)
    return np.asarray(image)
