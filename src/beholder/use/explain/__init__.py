"""The verb `explain`: where in a picture a recogniser finds its answer, by a method that suits the net.

A method is a function that takes (net, normalised images, score) and returns heat; `METHODS` names them. Every method explains
the same number, the log-odds of one class against all others, which is what a probability is made of.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from beholder.base.errors import UsageError, did_you_mean
from beholder.base.registry import Registry
from beholder.bundle.bundle import Bundle
from beholder.data.loader import normalised
from beholder.machine.device import device
from beholder.use.explain.choose import choose

Score = Callable[[Tensor], Tensor]
"""Maps logits (B, K) to what is explained of each picture, (B,)."""

Method = Callable[[nn.Module, Tensor, Score], Tensor]
"""Maps (net, normalised images (B, C, H, W), score) to heat float32 (B, H, W), 0 where nothing speaks for the class."""

METHODS = Registry(
    "explanation",
    {
        "gradcam": "beholder.use.explain.gradcam:gradcam",
        "rollout": "beholder.use.explain.rollout:rollout",
        "gradients": "beholder.use.explain.gradients:gradients",
        "occlusion": "beholder.use.explain.occlusion:occlusion",
    },
)
"""Methods by name; the entry-point group `beholder.explanations` adds others."""


def maps(
    bundle: Bundle,
    images: npt.NDArray[np.uint8],
    *,
    classes: npt.NDArray[np.integer] | None = None,
    method: str = "auto",
    batch: int = 32,
) -> npt.NDArray[np.float32]:
    """Return heat maps float32 (N, H, W) in [0, 1] for `images` uint8 (N, C, H, W): what speaks for a class is warm.

    classes: int (N,), which class of each picture; the most probable where None. method: auto, or a name in `METHODS`.
    The warmest place of each picture is 1; a map is 0 throughout where the method finds nothing that speaks for the class.
    Where the bundle answers for a picture and its mirror image together, so does the map.
    Raises `UsageError` for an unknown method, or one that the net does not allow.
    """
    home = next(bundle.net.parameters()).device
    moved = bundle.to(device())
    try:
        named = np.asarray(moved.outputs(images, batch=batch)[0].argmax(axis=1) if classes is None else classes, np.int64)
        run: Method = METHODS.load(resolved(moved, method)[0])
        parts = [slice(start, start + batch) for start in range(0, len(images), batch)]
        rows = [_batch(moved, images[part], named[part], run) for part in parts]
    finally:
        bundle.to(home)
    return np.concatenate(rows) if rows else np.zeros((0, *images.shape[2:]), np.float32)


def resolved(bundle: Bundle, method: str) -> tuple[str, str]:
    """Return (name, reason) of the method that `method` asks for: "auto" is chosen from the net."""
    if method != "auto":
        METHODS.load(method)
        return method, "it was asked for"
    blank = torch.zeros(1, *_shape(bundle), device=next(bundle.net.parameters()).device)
    return choose(bundle.net, blank)


def log_odds(logits: Tensor, classes: Tensor, *, multi: bool) -> Tensor:
    """Return log(p / (1 - p)) of one class a picture, (B,), from logits (B, K): of a softmax, or of sigmoids if `multi`.

    A constant added to all logits of a softmax changes it as little as it changes the answer; a logit alone would change.
    """
    own = logits.gather(1, classes[:, None])[:, 0]
    if multi or logits.shape[1] == 1:
        return own
    others = logits.scatter(1, classes[:, None], float("-inf"))
    return own - others.logsumexp(dim=1)


def class_index(bundle: Bundle, name: str) -> int:
    """Return the index of a class by its name; raise `UsageError` with the nearest name if there is none."""
    if name not in bundle.classes:
        raise UsageError(
            f"the bundle knows no class '{name}'", code="unknown-class", hint=did_you_mean(name, bundle.classes[:200])
        )
    return bundle.classes.index(name)


def _shape(bundle: Bundle) -> tuple[int, int, int]:
    return bundle.policy.channels, bundle.policy.height, bundle.policy.width


def _batch(
    bundle: Bundle, images: npt.NDArray[np.uint8], classes: npt.NDArray[np.int64], run: Method
) -> npt.NDArray[np.float32]:
    place = next(bundle.net.parameters()).device
    x = normalised(torch.from_numpy(images).to(place), bundle.config["mean"], bundle.config["std"])
    asked = torch.from_numpy(classes).to(place)

    def score(logits: Tensor) -> Tensor:
        return log_odds(logits.float(), asked, multi=bundle.multi)

    with torch.enable_grad():
        heat = run(bundle.net, x, score)
        if bundle.config["mirror"]:
            heat = (heat + run(bundle.net, x.flip(-1), score).flip(-1)) / 2
    peak = heat.amax(dim=(1, 2), keepdim=True)
    scaled: npt.NDArray[np.float32] = (heat / peak.clamp_min(1e-12)).clamp(0, 1).float().cpu().numpy()
    return scaled
