"""The verb `explain`: where in a picture a model finds its answer, by a method that suits the net.

A method is a function that takes (net, normalised images, score) and returns heat; `METHODS` names them. Every method explains
the same number, the log-odds of one class against all others, which is what a probability is made of.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beholder.base.arrays import F32, I64, U8, Integer
from beholder.base.brief import shown
from beholder.base.errors import UsageError, did_you_mean
from beholder.base.files import write_atomic
from beholder.base.names import position
from beholder.base.records import Pictures
from beholder.base.registry import Registry
from beholder.bundle.bundle import Bundle, opened
from beholder.bundle.given import one
from beholder.bundle.infer import fitting
from beholder.bundle.recogniser import Picture
from beholder.data.loader import normalised
from beholder.explanation.choose import choose
from beholder.explanation.draw import drawn
from beholder.explanation.faithful import covered
from beholder.explanation.nearest import Near, nearest
from beholder.image import decode
from beholder.image.fit import unfitted
from beholder.machine.device import device
from beholder.machine.devices import kind
from beholder.machine.placement import evaluating
from beholder.tasks.task import Task

Score = Callable[[Tensor], Tensor]
"""Maps logits (B, K) to what is explained of each picture, (B,)."""

Method = Callable[[nn.Module, Tensor, Score], Tensor]
"""Maps (net, normalised images (B, C, H, W), score) to heat float32 (B, H, W), 0 where nothing speaks for the class."""

METHODS = Registry(
    "explanation",
    {
        "gradcam": "beholder.explanation.gradcam:gradcam",
        "rollout": "beholder.explanation.rollout:rollout",
        "gradients": "beholder.explanation.gradients:gradients",
        "occlusion": "beholder.explanation.occlusion:occlusion",
    },
)
"""Methods by name; the entry-point group `beholder.explanations` adds others."""

KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}

SURE = 0.02
"""Least probability that covering the warm places must cost beyond covering others, for a map to be called true."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Where in one picture a model finds the evidence for one class.

    label, p:  the class, and its probability; prediction: the label that the bundle gives the picture, if any
    method, reason: by what method, and why that one
    heat:      float32 (h, w) in [0, 1] at the picture's own pixels, upright; 0 where the bundle's pixel policy cuts it off
    picture:   uint8 (h, w, 3), upright
    covered:   {"share", "p", "elsewhere"}: p with the warmest tenth covered, and with as much covered elsewhere
    nearest:   training pictures that the net finds most like it, the nearest first
    """

    label: str
    p: float
    prediction: str | None
    method: str
    reason: str
    heat: F32 = field(repr=False)
    picture: U8 = field(repr=False)
    covered: dict[str, float]
    nearest: tuple[Near, ...] = ()

    __repr__ = shown

    @property
    def verdict(self) -> str:
        """Return whether the warm places matter to the answer: "sound", "doubtful", or "empty" where there are none."""
        if not self.heat.any():
            return "empty"
        return "sound" if self.covered["elsewhere"] - self.covered["p"] >= SURE else "doubtful"

    @property
    def remark(self) -> str:
        """Return that in a sentence."""
        p, elsewhere = self.covered["p"], self.covered["elsewhere"]
        share = f"{self.covered['share']:.0%}"
        changed = f"with the warmest {share} covered p is {p:.2f}, with as much covered elsewhere {elsewhere:.2f}"
        if self.verdict == "empty":
            return f"nothing in the picture speaks for {self.label}"
        return changed if self.verdict == "sound" else f"{changed}: do not trust this map"

    def save(self, path: str | Path) -> Path:
        """Write the picture, the heat over it, and these words, as .png, .jpg or .webp; return the path."""
        path = Path(path)
        if path.suffix.lower() not in KINDS:
            raise UsageError(f"{path} names no kind of picture", code="bad-out", hint="end it in .png, .jpg or .webp")
        examples = [(_colour(near.image), f"{';'.join(near.labels)}\n{near.distance:.3f}") for near in self.nearest]
        words = [f"{self.label} {self.p:.3f}", f"{self.method}: {self.reason}", self.remark]
        made = io.BytesIO()
        drawn(self.picture, self.heat, words, examples).save(made, KINDS[path.suffix.lower()], quality=92)
        write_atomic(path, made.getvalue())
        return path

    def json(self) -> dict[str, Any]:
        """Return {"label", "p", "prediction", "method", "reason", "covered", "remark", "nearest"} as plain JSON values.

        Until 0.3.0 "prediction" is there as "guess" too.
        """
        plain = {name: getattr(self, name) for name in ("label", "p", "prediction", "method", "reason", "covered", "remark")}
        return {**plain, "guess": self.prediction, "nearest": [near.json() for near in self.nearest]}


def explain(
    bundle: Bundle | str | Path,
    picture: Picture,
    *,
    label: str | None = None,
    method: str = "auto",
    like: str | Path | Pictures | None = None,
    allow_download: bool = False,
) -> Explanation:
    """Return where in a picture, in any form that a bundle takes, it finds what speaks for a class.

    label: the class; the most probable one where None. method: auto | gradcam | rollout | gradients | occlusion.
    like: the source that the bundle was trained on; its training pictures that are nearest to this one are named and shown.
    allow_download: fetch a picture, or a source in `like`, that is not on this machine
    Raises `PictureError` for a picture that cannot be read, `UsageError` for an unknown class or an unfit method.
    """
    bundle, data = opened(bundle), one(picture, allow_download=allow_download)
    whole, image = decode(data, channels=3, background=bundle.policy.background), bundle.pixels(data)
    row = bundle.probabilities(image[None])[0]
    k = int(bundle.task.family.foremost(row[None])[0]) if label is None else class_index(bundle, label)
    name, reason = resolved(bundle, method)
    heat = maps(bundle, image[None], classes=np.array([k]), method=name)[0]
    return Explanation(
        label=bundle.classes[k],
        p=float(row[k]),
        prediction=bundle.guess(row).label,
        method=name,
        reason=reason,
        heat=unfitted(heat, whole.shape[0], whole.shape[1], bundle.policy),
        picture=whole,
        covered=covered(bundle, image, heat, k),
        nearest=nearest(bundle, image, like, allow_download=allow_download) if like is not None else (),
    )


def _colour(image: U8) -> U8:
    """Return uint8 (H, W, 3) of (C, H, W)."""
    planes = np.moveaxis(image, 0, 2)
    return np.repeat(planes, 3, axis=2) if planes.shape[2] == 1 else planes


def maps(bundle: Bundle, images: U8, *, classes: Integer | None = None, method: str = "auto", batch: int | None = None) -> F32:
    """Return heat maps float32 (N, H, W) in [0, 1] for `images` uint8 (N, C, H, W): what speaks for a class is warm.

    classes: int (N,), which class of each picture; the most probable where None. method: auto, or a name in `METHODS`.
    The warmest place of each picture is 1; a map is 0 throughout where the method finds nothing that speaks for the class.
    Where the bundle answers for a picture and its mirror image together, so does the map.
    Raises `UsageError` for an unknown method, or one that the net does not allow.
    """
    with evaluating(bundle.net, on=device()):
        batch = batch or min(32, fitting(device(), *images.shape[2:]))
        named = bundle.task.family.foremost(bundle.probabilities(images)) if classes is None else np.asarray(classes, np.int64)
        run: Method = METHODS.load(resolved(bundle, method)[0])
        parts = [slice(start, start + batch) for start in range(0, len(images), batch)]
        rows = [_batch(bundle, images[part], named[part], run) for part in parts]
    return np.concatenate(rows) if rows else np.zeros((0, *images.shape[2:]), np.float32)


def resolved(bundle: Bundle, method: str) -> tuple[str, str]:
    """Return (name, reason) of the method that `method` asks for: "auto" is chosen from the net."""
    if method != "auto":
        METHODS.load(method)
        return method, "it was asked for"
    pixels = bundle.policy
    blank = torch.zeros(1, pixels.channels, pixels.height, pixels.width, device=next(bundle.net.parameters()).device)
    return choose(bundle.net, blank)


def log_odds(logits: Tensor, classes: Tensor, *, task: Task) -> Tensor:
    """Return log(p / (1 - p)) of one class a picture, (B,), from logits (B, W) and the task that makes probabilities of them.

    A constant added to all logits of a softmax changes it as little as it changes the answer; a logit alone would change.
    """
    if task.several:
        return logits.gather(1, classes[:, None])[:, 0]
    p = task.activation(logits.double() if kind(logits.device).doubles else logits)
    own, tiny = p.gather(1, classes[:, None])[:, 0], torch.finfo(p.dtype).tiny
    others = p.scatter(1, classes[:, None], 0.0).sum(dim=1)
    return (own.clamp_min(tiny).log() - others.clamp_min(tiny).log()).to(logits.dtype)


def class_index(bundle: Bundle, name: str) -> int:
    """Return the index of a class by its name; raise `UsageError` with the nearest name if there is none."""
    found = position(name, bundle.classes)
    if found < 0:
        raise UsageError(
            f"the bundle knows no class '{name}'", code="unknown-class", hint=did_you_mean(name, bundle.classes[:200])
        )
    return found


def _batch(bundle: Bundle, images: U8, classes: I64, run: Method) -> F32:
    place = next(bundle.net.parameters()).device
    x = normalised(torch.from_numpy(images).to(place), bundle.config.mean, bundle.config.std)
    asked = torch.from_numpy(classes).to(place)

    def score(logits: Tensor) -> Tensor:
        return log_odds(logits.float(), asked, task=bundle.task)

    with torch.enable_grad():
        heat = run(bundle.net, x, score)
        if bundle.config.mirror:
            heat = (heat + run(bundle.net, x.flip(-1), score).flip(-1)) / 2
    peak = heat.amax(dim=(1, 2), keepdim=True)
    scaled: F32 = (heat / peak.clamp_min(1e-12)).clamp(0, 1).float().cpu().numpy()
    return scaled
