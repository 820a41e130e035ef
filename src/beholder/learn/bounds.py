"""How a VAE is scored while it learns: by minus the bits per dimension of validation pictures."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from beholder.data.loader import plain
from beholder.learn.loop import Validate
from beholder.learn.material import Material
from beholder.machine.device import Precision, autocast
from beholder.machine.placement import evaluating
from beholder.nets.vae import Vae, bits

SAID_ABOUT = 1000
"""Validation pictures by which a VAE is scored while it learns."""

MEAN, STD = 0.5, 0.5
"""By which pixels in 0..1 become -1..1."""


def targets_of(material: Material) -> Tensor:
    """Return targets float32 (N, K), K 0 for pictures without labels."""
    return material.targets if material.pictures.labelled else torch.zeros((len(material.pixels), 0))


def bounded(net: nn.Module, valid: Material, precision: Precision, on: torch.device, seed: int) -> Validate:
    """Return how the players are scored: a VAE by validation pictures with noise that is always the same, a GAN not at all."""
    some = valid.pixels.subset(np.arange(min(SAID_ABOUT, len(valid.pixels))))
    if not isinstance(net, Vae) or not len(some):
        return lambda _nets, _enough: {}
    targets, dims, channels = targets_of(valid)[: len(some)].to(on), net.dims, net.channels

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
