"""Running a net that is not being trained: by the fastest verified engine, with the threads that are quickest at the moment."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from beholder.base import events
from beholder.base.arrays import F32, U8, Integer
from beholder.bundle.bundle import Bundle
from beholder.bundle.infer import fitting, outputs_of
from beholder.data.cache import Pixels
from beholder.data.loader import Readable, plain
from beholder.machine.chip import chip
from beholder.machine.device import device
from beholder.machine.pace import contended, most_threads, nimble, quickest, restored, slowness
from beholder.machine.placement import evaluating
from beholder.runtime.features import CLOSE, EXACT, Run, fastest

BATCH = 32
"""Pictures that an engine is given at once, and of small ones more: more at a time overflow a CPU's caches."""

FEW = 2
"""Pictures with which threads are tried on a busy machine: one of them may take a second."""


@dataclass(frozen=True)
class Normal:
    """With which mean and deviation (C floats each, in 0..1 units) pictures are normalised, and on which device."""

    mean: tuple[float, ...]
    std: tuple[float, ...]
    device: torch.device


@dataclass(frozen=True, eq=False)
class Held:
    """Pictures in memory, uint8 (N, C, H, W), read as those of the cache are."""

    images: U8

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""
        _, channels, height, width = self.images.shape
        return channels, height, width

    def __len__(self) -> int:
        return len(self.images)

    def take(self, positions: Integer) -> U8:
        """Return a copy of the pictures at `positions`, int (B,)."""
        found: U8 = self.images[positions]
        return found

    def subset(self, positions: Integer) -> Held:
        """Return the pictures at `positions` only, in that order."""
        return Held(self.images[positions])


def runner(
    net: nn.Module,
    pixels: Pixels | Held,
    normal: Normal,
    dtype: torch.dtype,
    *,
    pictures: int | None = None,
    seconds: float = math.inf,
    close: float = CLOSE,
    label: str = "features",
) -> Run:
    """Return the fastest verified way to the features of `net` on this machine, at this moment.

    pixels: a sample of those to come; pictures: how many these are (default: twice as many as `pixels`); seconds: for them
    close: least cosine between what an engine gives and what the net does; label: what is said to be computed
    """
    some = pixels.subset(torch.linspace(0, len(pixels) - 1, min(BATCH, len(pixels))).long().numpy())
    images = next(plain(some, batch=BATCH, device=normal.device, mean=normal.mean, std=normal.std))
    most = most_threads() if normal.device.type == "cpu" else 1
    with evaluating(net), restored():
        slow = min(slowness(), slowness())
        if most > 1 and contended():
            few = images[:FEW].contiguous(memory_format=torch.channels_last)
            with torch.inference_mode():
                quickest(lambda: net(few), most=most)
        machine = json.dumps(chip(normal.device), sort_keys=True)
        count = 2 * len(pixels) if pictures is None else pictures
        found = fastest(net, images, dtype=dtype, machine=machine, pictures=count, close=close, seconds=seconds, slow=slow)
        run = found.engine if found.name == "openvino" or most == 1 else nimble(found.engine, most=most)
    if label:
        events.note("engine", what=label, engine=found.name, rates=dict(found.rates))
    return run


def _batch(pixels: Readable, normal: Normal) -> int:
    """Return how many pictures are run at once: of small ones more."""
    return max(BATCH, fitting(normal.device, *pixels.shape[1:]))


def from_least(least: int, enough: Callable[[], bool]) -> Callable[[], bool]:
    """Return what asks `enough` after each batch, once there are `least` pictures."""
    batches = count(1)
    return lambda: BATCH * next(batches) >= least and enough()


def embed(
    run: Run,
    pixels: Readable,
    normal: Normal,
    *,
    mirror: bool = False,
    enough: Callable[[], bool] = bool,
    done: int = 0,
    total: int = 0,
) -> Tensor:
    """Return the features of the pictures, float32 (N, F) on the CPU; with `mirror`, those of their mirror images.

    `enough` is asked after each batch; once it says so, the pictures so far are all there is.
    done, total: how many are done already, and how many there are in all (0: as many as are given), for what is said
    """
    rows = []
    with restored():
        for images in plain(pixels, batch=_batch(pixels, normal), device=normal.device, mean=normal.mean, std=normal.std):
            images = images.flip(-1) if mirror else images
            rows.append(run(images).cpu())
            done += len(images)
            events.progress("features of the frozen net", done, total or len(pixels))
            if enough():
                break
    return torch.cat(rows)


def engine(bundle: Bundle, pixels: Pixels | Held, *, pictures: int | None = None, seconds: float = math.inf) -> Run:
    """Return the fastest way to the features of a bundle's net on its device that gives, in float32, what the net does.

    pixels: a sample of those to come; pictures: how many these are (default: as many as `pixels`); seconds: for them
    """
    on = next(bundle.net.parameters()).device
    normal = Normal(bundle.config.mean, bundle.config.std, on)
    views = 2 if bundle.config.mirror else 1
    count = views * (len(pixels) if pictures is None else pictures)
    return runner(bundle.net, pixels, normal, torch.float32, pictures=count, seconds=seconds, close=EXACT, label="")


@torch.inference_mode()
def outputs(
    bundle: Bundle,
    pixels: Pixels | Held,
    *,
    enough: Callable[[], bool] = bool,
    seconds: float = math.inf,
    run: Run | None = None,
    label: str = "testing",
) -> tuple[F32, F32]:
    """Return logits float32 (M, K), not calibrated, and features float32 (M, F) of pixels, in their order, on any device.

    As `Bundle.outputs` gives them, by the fastest engine that computes the same in float32; M is smaller than the number of
    pictures where `enough`, asked after each batch, says so. The net of the bundle stays where it is. seconds: that there are
    for it, about
    """
    normal = Normal(bundle.config.mean, bundle.config.std, device())
    logits, seen, done = [], [], 0
    with evaluating(bundle.net, on=device()) as net, restored():
        run = run or engine(bundle, pixels, seconds=seconds)
        for images in plain(pixels, batch=_batch(pixels, normal), device=normal.device, mean=normal.mean, std=normal.std):
            out, features = outputs_of(net, images, mirror=bundle.config.mirror, run=run)
            logits.append(out.cpu())
            seen.append(features.cpu())
            done += len(images)
            if label:
                events.progress(label, done, len(pixels))
            if enough():
                break
    return torch.cat(logits).numpy(), torch.cat(seen).float().numpy()
