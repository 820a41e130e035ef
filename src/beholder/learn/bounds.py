"""How a VAE is scored while it learns: by minus the bits per dimension of validation pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from beholder.base.arrays import I64, Values
from beholder.base.order import stratified
from beholder.data.loader import plain
from beholder.learn.material import Material
from beholder.learn.monitors import Validate
from beholder.machine.device import Precision, autocast
from beholder.machine.placement import evaluating
from beholder.nets.vae import Vae, bits

SAID_ABOUT = 1000
"""Validation pictures by which a VAE is scored while it learns, at most."""

LEAST, SHARE, TIMED = 20, 0.2, 8
"""Pictures that it is scored by at least; share of the time that scoring once may take; pictures by which that is measured."""

MEAN, STD = 0.5, 0.5
"""By which pixels in 0..1 become -1..1."""


def targets_of(material: Material) -> Tensor:
    """Return targets float32 (N, K), K 0 for pictures without labels."""
    return material.targets if material.pictures.labelled else torch.zeros((len(material.pixels), 0))


def some_of(targets: Values, most: int) -> I64:
    """Return `most` positions of pictures, or all of fewer, of each class nearly its share: int64 (M,), rising."""
    return np.sort(stratified(targets)[:most])


def affordable(
    net: nn.Module, valid: Material, precision: Precision, on: torch.device, seconds: float, now: Callable[[], float]
) -> tuple[int, float]:
    """Return by how many validation pictures a VAE is scored, and about how many seconds one of them takes.

    seconds: of training, of which scoring once takes `SHARE` at most; 0: no limit, and nothing is measured
    """
    most = min(SAID_ABOUT, len(valid.pixels))
    if seconds <= 0 or not isinstance(net, Vae) or not most:
        return most, 0.0
    score, taken = bounded(net, valid, precision, on, 0, most=TIMED), []
    for _ in range(2):  # in the first call kernels are chosen
        began = now()
        score({"net": net}, bool)
        taken.append(now() - began)
    each = min(taken) / min(TIMED, most)
    count = max(min(LEAST, most), min(most, int(SHARE * seconds / max(each, 1e-9))))
    return count, each


def bounded(
    net: nn.Module, valid: Material, precision: Precision, on: torch.device, seed: int, *, most: int = SAID_ABOUT
) -> Validate:
    """Return how the players are scored: a VAE by `most` validation pictures with noise that is always the same, a GAN not."""
    rows = some_of(valid.pictures.targets, most)
    some = valid.pixels.subset(rows)
    if not isinstance(net, Vae) or not len(some):
        return lambda _nets, _enough: {}
    targets, dims, channels = targets_of(valid)[torch.from_numpy(rows)].to(on), net.dims, net.channels

    @torch.inference_mode()
    def score(nets: Mapping[str, nn.Module], enough: Callable[[], bool]) -> dict[str, tuple[float, float]] | None:
        at, found, random = 0, list[Tensor](), torch.Generator().manual_seed(seed)
        with evaluating(nets["net"]) as scored:
            for images in plain(some, batch=256, device=on, mean=(MEAN,) * channels, std=(STD,) * channels):
                if enough():
                    return None
                noise = scored.noise(len(images), random)  # type: ignore[operator]
                with autocast(on, precision):
                    terms = scored(images.contiguous(memory_format=torch.channels_last), targets[at : at + len(images)], noise)
                found.append(bits(terms, dims))
                at += len(images)
        mean = float(torch.cat(found).mean())
        return {"net": (mean, -mean)}

    return score
