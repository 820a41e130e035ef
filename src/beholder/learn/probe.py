"""A linear head fitted on the features of a frozen, pretrained net: an answer within seconds, which training has to beat."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from beholder.base import events
from beholder.data.cache import Pixels
from beholder.data.loader import Readable, plain
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
    train: tuple[Pixels, Tensor],
    valid: tuple[Readable, Callable[[Tensor], float]],
    normal: Normal,
    precision: Precision,
    *,
    multi: bool,
    mirror: bool,
    weights: Tensor | None,
    stop: Stop,
    seconds: float,
) -> bool:
    """Set the head of `net` to the best of several logistic regressions on frozen features; return whether it was set.

    train: pixels and targets (N, K); valid: pixels and the score of logits (M, K).
    seconds: about what it may take (0: as long as it needs); what does not fit is left out of the fit.
    It is not set for a net without a linear head with a bias, when `stop` is raised, or when there was time for few pictures.
    """
    last = head(net)
    if last is None or last.bias is None:
        return False
    (pixels, targets), (valid_pixels, score) = train, valid
    began = time.monotonic()

    def late(share: float) -> Callable[[], bool]:
        return lambda: bool(stop) or (seconds > 0 and time.monotonic() - began > share * seconds)

    run = runner(net, pixels, normal, precision)
    seen = embed(run, valid_pixels, normal, enough=late(0.3))
    x = embed(run, _shuffled(pixels), normal, enough=late(0.6))
    y = targets[_order(pixels)][: len(x)]
    if mirror and not late(0.6)():
        mirrored = embed(run, _shuffled(pixels), normal, mirror=True, enough=late(0.8))
        x, y = torch.cat([x, mirrored]), torch.cat([y, y[: len(mirrored)]])
    if stop or len(seen) < len(valid_pixels) or len(x) < min(len(pixels), 20 * targets.size(1)):
        events.note("no time for a linear head on frozen features")
        return False
    found = [fit(x, y, multi=multi, decay=decay, weights=weights) for decay in DECAYS]
    scores = [score(seen @ weight.T + bias) for weight, bias in found]
    best = max(range(len(DECAYS)), key=lambda k: scores[k])
    with torch.no_grad():
        last.weight.copy_(found[best][0])
        last.bias.copy_(found[best][1])
    return True


def _order(pixels: Readable) -> Tensor:
    """Return a fixed shuffle of the positions, int64 (N,): sources are sorted by class, and a part must hold all of them."""
    return torch.randperm(len(pixels), generator=torch.Generator().manual_seed(0))


def _shuffled(pixels: Pixels) -> Pixels:
    return pixels.subset(_order(pixels).numpy())
