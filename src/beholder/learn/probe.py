"""A linear head fitted on the features of a frozen, pretrained net: an answer within seconds, which training has to beat."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from beholder.base.errors import DataError
from beholder.base.fields import NetRecipe
from beholder.base.files import sha256
from beholder.base.order import stratified
from beholder.base.records import Pictures, PixelPolicy
from beholder.data.cache import Pixels, cached, policy_name
from beholder.data.vectors import recalled, remember
from beholder.machine.device import Precision
from beholder.nets.head import fit
from beholder.runtime.features import Run
from beholder.runtime.inference import Normal, embed, from_least
from beholder.tasks.task import Task

I64 = npt.NDArray[np.int64]
F16 = npt.NDArray[np.float16]

DECAYS = (1e-3, 1e-4, 1e-2, 1e-5)
"""Strengths of the L2 penalty, in the order in which they are tried; the one with the best validation score stays."""


def features_name(net: NetRecipe, weights: str, policy: PixelPolicy, precision: Precision, *, side: int = 0) -> str:
    """Return the name under which `beholder.data.vectors` keeps features of such pictures; "" for random weights: of none.

    weights: hash of the file that the net began with; side: to which pictures are enlarged first (0: not)
    """
    said = [net.name, net.width or 1.0, weights, policy_name(policy), precision.name, side]
    return sha256(json.dumps(said).encode())[:16] if weights else ""


FIRST, BLOCK = 128, 2048
"""Pictures that are decoded and run at a time: few at first, for there may be no time for more."""


def seen(
    pictures: Pictures,
    policy: PixelPolicy,
    run: Callable[[Pixels], Run],
    normal: Normal,
    *,
    name: str,
    workers: int = 0,
    least: int = 0,
    enough: Callable[[], bool] = bool,
    also: PixelPolicy | None = None,
) -> tuple[I64, Tensor]:
    """Return positions, int64 (M,) rising, and features of the pictures there, float32 (M, F), with the precision of float16.

    also: as `cached` takes it; pictures: with digests; run: makes, of a sample of decoded pictures, the way to the features
    What is remembered under `name` is not computed; what is computed is remembered ("": neither). `enough` is asked after each
    batch once there are `least`, in an order of which every part has all classes, and ends it. What cannot be read is left out.
    """
    assert pictures.digests is not None
    known = recalled(name, pictures.digests) if name else np.empty((len(pictures), 0), np.float16)
    order = stratified(pictures.targets)
    missing = order[np.isnan(known[order, 0])] if known.shape[1] else order
    have, way = len(order) - len(missing), None

    def over() -> bool:
        return have >= least and enough()

    at, step = 0, FIRST
    while at < len(missing) and not over():
        rows = missing[at : at + step]
        pixels = _readable(pictures.take(rows), policy, workers, over, also)
        if pixels is not None and len(pixels):
            way = way or run(pixels)
            found = embed(way, pixels, normal, enough=from_least(least - have, enough), done=at, total=len(missing))
            known = _with(known, rows, pixels, found, name=name)
            have += len(found)
        at, step = at + step, min(2 * step, BLOCK)
    there = np.flatnonzero(~np.isnan(known[:, 0])) if known.shape[1] else np.zeros(0, np.int64)
    return there, torch.from_numpy(known[there]).float()


def _with(known: F16, rows: I64, pixels: Pixels, found: Tensor, *, name: str) -> F16:
    """Return the features with those `found` of pixels of the pictures at `rows`, remembered under `name`."""
    half = found.clamp(-MOST, MOST).half().numpy()
    if name:
        remember(name, pixels.digests[: len(half)], half)
    if not known.shape[1]:
        known = np.full((len(known), half.shape[1]), np.nan, np.float16)
    known[rows[pixels.rows[: len(half)]]] = half
    return known


def _readable(
    pictures: Pictures, policy: PixelPolicy, workers: int, enough: Callable[[], bool], also: PixelPolicy | None
) -> Pixels | None:
    """Return the pixels of those that can be read; None where none can."""
    try:
        return cached(pictures, policy, on_bad="skip", workers=workers, enough=enough, also=also)
    except DataError:
        return None


MOST = 65504.0
"""The largest number that float16 holds."""


@dataclass(frozen=True, eq=False)
class Head:
    """A linear head that was fitted on frozen features.

    weight: (W, F), bias: (W,); trained, chosen: pictures of the training and of the validation part behind it
    logits: (M, W), what is said of the validation pictures at `rows`, int64 (M,), by a head that has not learnt from them
    features: theirs, (M, F), where they are kept; decay: the strength of the L2 penalty
    each: seconds that the features of a picture took, 0 where they were remembered
    """

    weight: Tensor
    bias: Tensor
    trained: int
    chosen: int
    logits: Tensor
    rows: I64
    each: float = 0.0
    features: Tensor | None = None
    decay: float = 0.0


def fitted(
    train: tuple[Tensor, Tensor],
    valid: tuple[Tensor, Tensor],
    rows: I64,
    score: Callable[[Tensor, Tensor], float],
    *,
    task: Task,
    weights: Tensor | None,
    enough: Callable[[], bool] = bool,
) -> Head:
    """Return the best of several logistic regressions on frozen features.

    train, valid: features (N, F) and targets (N, K) of each; rows: which validation pictures these are
    score: how good logits (M, W) are, given targets; enough: is asked after each fit, and keeps the best so far
    """
    (x, y), (z, goal) = train, valid
    best: Head | None = None
    reached = -math.inf
    for decay in DECAYS:
        weight, bias = fit(x, y, task=task, decay=decay, weights=weights)
        logits = z @ weight.T + bias
        now = score(logits, goal)
        if best is None or now > reached:
            best, reached = Head(weight, bias, len(x), len(z), logits, rows, decay=decay), now
        if enough():
            break
    assert best is not None
    return best


def refitted(
    head: Head, train: tuple[Tensor, Tensor], valid: tuple[Tensor, Tensor], fold: I64, *, task: Task, weights: Tensor | None
) -> Head:
    """Return the head fitted with the same penalty on both parts, and what heads without a fold say of its validation pictures.

    train, valid: features and targets of each, as `fitted` takes them; fold: int64 (M,), of the validation pictures
    """
    (x, y), (z, goal) = train, valid

    def on(more: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.cat([x, z[more]]), torch.cat([y, goal[more]])
        return fit(*both, task=task, decay=head.decay, weights=weights)

    logits = torch.empty_like(head.logits)
    for name in np.unique(fold).tolist():
        held = torch.from_numpy(fold == name)
        weight, bias = on(~held)
        logits[held] = z[held] @ weight.T + bias
    weight, bias = on(torch.ones(len(z), dtype=torch.bool))
    return replace(head, weight=weight, bias=bias, logits=logits)
