"""A linear head fitted on the features of a frozen, pretrained net: an answer within seconds, which training has to beat."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base import events
from beholder.base.files import sha256
from beholder.base.recipe import NetRecipe
from beholder.base.records import PixelPolicy
from beholder.data.cache import Pixels, policy_name
from beholder.data.loader import Readable, plain
from beholder.data.vectors import recalled, remember
from beholder.machine.chip import chip
from beholder.machine.device import Precision
from beholder.machine.stop import Stop
from beholder.nets.engine import Run, engine
from beholder.nets.features import head

DECAYS = (1e-5, 1e-4, 1e-3, 1e-2)
"""Strengths of the L2 penalty that are tried; the one with the best validation score stays."""


@dataclass(frozen=True)
class Normal:
    """With which mean and deviation (C floats each, in 0..1 units) pictures are normalised, and on which device."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device


BATCH = 32
"""Pictures that an engine is given at once: more at a time overflow a CPU's caches."""


def runner(net: nn.Module, pixels: Pixels, normal: Normal, precision: Precision) -> Run:
    """Return the fastest verified way to the features of `net` on this machine, for about twice as many pictures as these."""
    some = pixels.subset(torch.linspace(0, len(pixels) - 1, min(BATCH, len(pixels))).long().numpy())
    images = next(plain(some, batch=BATCH, device=normal.device, mean=normal.mean, std=normal.std))
    machine = json.dumps(chip(normal.device), sort_keys=True)
    found = engine(net, images, dtype=precision.dtype, machine=machine, pictures=2 * len(pixels))
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in found.rates.items())
    events.note(f"features by {found.name}" + (f" (pictures/s: {rates})" if rates else ""))
    return found.run


def embed(
    run: Run,
    pixels: Readable,
    normal: Normal,
    *,
    mirror: bool = False,
    enough: Callable[[], bool] = bool,
) -> Tensor:
    """Return the features of the pictures, float32 (N, F) on the CPU; with `mirror`, those of their mirror images.

    `enough` is asked after each batch; once it says so, the pictures so far are all there is.
    """
    rows, done = [], 0
    for images in plain(pixels, batch=BATCH, device=normal.device, mean=normal.mean, std=normal.std):
        images = images.flip(-1) if mirror else images
        rows.append(run(images).cpu())
        done += len(images)
        events.progress("features of the frozen net", done, len(pixels))
        if enough():
            break
    return torch.cat(rows)


def features_name(net: NetRecipe, weights: str, policy: PixelPolicy, precision: Precision, *, side: int = 0) -> str:
    """Return the name under which `beholder.data.vectors` keeps features of such pictures; "" for random weights: of none.

    weights: hash of the file that the net began with; side: to which pictures are enlarged first (0: not)
    """
    said = [net.name, net.width or 1.0, weights, policy_name(policy), precision.name, side]
    return sha256(json.dumps(said).encode())[:16] if weights else ""


@dataclass(frozen=True, eq=False)
class Shown:
    """Pictures that a net is shown: their pixels, and their digests, uint8 (N, 32), by which features are remembered."""

    pixels: Pixels
    digests: npt.NDArray[np.uint8]


def seen(
    shown: Shown,
    run: Callable[[], Run],
    normal: Normal,
    *,
    name: str,
    enough: Callable[[], bool] = bool,
) -> tuple[Tensor, Tensor]:
    """Return positions, int64 (M,) rising, and features of the pictures there, float32 (M, F), with the precision of float16.

    What is remembered under `name` is not computed; what is computed is remembered. run: makes the way to the features
    enough: is asked after each batch, in a fixed shuffle of the pictures, and ends it
    """
    known = recalled(name, shown.digests) if name else np.empty((len(shown.pixels), 0), np.float16)
    order = _order(shown.pixels).numpy()
    missing = order[np.isnan(known[order, 0])] if known.shape[1] else order
    if len(missing):
        found = embed(run(), shown.pixels.subset(missing), normal, enough=enough)
        half = found.clamp(-MOST, MOST).half().numpy()
        missing = missing[: len(half)]
        if name:
            remember(name, shown.digests[missing], half)
        if not known.shape[1]:
            known = np.full((len(order), half.shape[1]), np.nan, np.float16)
        known[missing] = half
    rows = np.flatnonzero(~np.isnan(known[:, 0]))
    return torch.from_numpy(rows), torch.from_numpy(known[rows]).float()


MOST = 65504.0
"""The largest number that float16 holds."""


def fit(x: Tensor, y: Tensor, *, multi: bool, decay: float, weights: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return (weight (K, F), bias (K,)) of a logistic regression on features x (N, F) and targets y (N, K).

    Features are standardised for the fit; the result applies to them as they are. Full-batch L-BFGS.
    """
    mean, std = x.mean(0), x.std(0).clamp(min=1e-4)
    z = (x - mean) / std
    w = torch.zeros(y.size(1), x.size(1), requires_grad=True)
    b = torch.zeros(y.size(1), requires_grad=True)
    solver = torch.optim.LBFGS([w, b], max_iter=60, history_size=10, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = z @ w.T + b
        if multi:
            data = F.binary_cross_entropy_with_logits(logits, y, pos_weight=weights)
        else:
            data = F.cross_entropy(logits, y, weight=weights)
        total = data + decay * w.square().sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    solver.step(loss)  # type: ignore[no-untyped-call]
    weight = (w / std).detach()
    return weight, (b - weight @ mean).detach()


def fit_head(
    net: nn.Module,
    train: tuple[Shown, Tensor],
    valid: tuple[Shown, Callable[[Tensor], float]],
    normal: Normal,
    precision: Precision,
    *,
    multi: bool,
    weights: Tensor | None,
    stop: Stop,
    seconds: float,
    name: str = "",
) -> bool:
    """Set the head of `net` to the best of several logistic regressions on frozen features; return whether it was set.

    train: pictures and targets (N, K); valid: pictures and the score of logits (M, K).
    name: under which their features are remembered ("": they are not)
    seconds: about what it may take (0: as long as it needs); what does not fit is left out of the fit.
    It is not set for a net without a linear head with a bias, when `stop` is raised, or when there was time for few pictures.
    """
    last = head(net)
    if last is None or last.bias is None:
        return False
    (shown, targets), (held, score) = train, valid
    began = time.monotonic()

    def late(share: float) -> Callable[[], bool]:
        return lambda: bool(stop) or (seconds > 0 and time.monotonic() - began > share * seconds)

    run = cache(lambda: runner(net, shown.pixels, normal, precision))
    there, z = seen(held, run, normal, name=name, enough=late(0.3))
    rows, x = seen(shown, run, normal, name=name, enough=late(0.6))
    if stop or len(there) < len(held.pixels) or len(x) < min(len(shown.pixels), 20 * targets.size(1)):
        events.note("no time for a linear head on frozen features")
        return False
    found = [fit(x, targets[rows], multi=multi, decay=decay, weights=weights) for decay in DECAYS]
    scores = [score(z @ weight.T + bias) for weight, bias in found]
    best = max(range(len(DECAYS)), key=lambda k: scores[k])
    with torch.no_grad():
        last.weight.copy_(found[best][0])
        last.bias.copy_(found[best][1])
    return True


def _order(pixels: Readable) -> Tensor:
    """Return a fixed shuffle of the positions, int64 (N,): sources are sorted by class, and a part must hold all of them."""
    return torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))
