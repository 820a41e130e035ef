"""From decoded pixels to batches on the device, in an order that depends only on the seed and the epoch."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from beholder.base.arrays import I64, U8
from beholder.base.spans import span
from beholder.data.augment import Augment, augment, mix
from beholder.data.subset import Subset
from beholder.data.windows import Windows
from beholder.machine.devices import pinned, sent
from beholder.machine.draws import Draws, permutation
from beholder.machine.ranks import ALONE, Ranks

READY = 3
"""How many batches are read ahead of the one in use."""


class Readable(Protocol):
    """What batches are made of: `data.cache.Pixels`, or anything with its shape (C, H, W), length and `take`."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return (C, H, W)."""

    def __len__(self) -> int: ...

    def take(self, positions: I64) -> U8:
        """Return uint8 (B, C, H, W)."""


@dataclass(frozen=True, eq=False)
class Batch:
    """One step's pictures.

    images: float32 (B, C, H, W) on the device, augmented and normalised; targets: float32 (B, K) on the device, mixed as the
    images are; indices: int64 (B,) on the CPU, positions in the pixels
    """

    images: Tensor
    targets: Tensor
    indices: Tensor


class Batches:
    """The batches of training.

    pixels:    M pictures; targets: float32 (M, K), one-hot, smoothed or multi-hot
    mean, std: C floats each, in 0..1 units, with which images are normalised
    memory:    bytes of pixels that may stay on the device; a larger set is read ahead by threads. The batches are the same.
    workers:   threads that read ahead, a batch each (0: one per core), at most READY
    subset:    which pictures each epoch takes; None: all. Where it follows the losses, targets have one more column (`weighed`)
    ranks:     who trains together: `batch` pictures are of all of them, and each takes its share, varied and mixed as one
               process would
    windows:   the order of pictures in tars on object storage; None: all are mixed
    stall:     seconds waited for pixels so far

    An incomplete last batch is left out, so every step is of the same size; with less than one batch that one is the epoch.
    """

    def __init__(
        self,
        pixels: Readable,
        targets: Tensor,
        *,
        batch: int,
        seed: int,
        device: torch.device | str,
        mean: Sequence[float],
        std: Sequence[float],
        plan: Augment | None = None,
        memory: int = 0,
        workers: int = 0,
        subset: Subset | None = None,
        ranks: Ranks = ALONE,
        windows: Windows | None = None,
    ) -> None:
        self.pixels = pixels
        self.windows = windows
        self.subset = subset
        self.ranks = ranks
        self.batch = min(batch, len(pixels))
        self.seed = seed
        self.device = torch.device(device)
        self.plan = plan or Augment()
        self.workers = min(workers or os.cpu_count() or 1, READY)
        self.stall = 0.0
        self._targets = targets.to(self.device)
        self._scale, self._offset = _affine(mean, std, self.device)
        self._resident = _whole(pixels, self.device) if len(pixels) * _size(pixels) <= memory else None

    def __len__(self) -> int:
        taken = len(self.pixels) if self.subset is None else self.subset.most
        return taken // self.batch if self.batch else 0

    @property
    def steps(self) -> int:
        """Return how many batches the present epoch has: as many as `len` says, or fewer where pictures are left out."""
        return len(self) if self.subset is None else min(len(self), self.subset.count // max(1, self.batch))

    @property
    def resident(self) -> bool:
        """Return True where all pixels stay on the device."""
        return self._resident is not None

    def example(self) -> Tensor:
        """Return zeros of the shape and kind that the images of every batch have."""
        rows = self.ranks.shard(np.arange(self.batch))
        return torch.zeros((len(rows), *self.pixels.shape), device=self.device)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from step `start` on; the pixels of earlier steps are not read."""
        windows = self.windows
        order = permutation(self.seed, epoch, len(self.pixels)) if windows is None else windows.order(self.seed, epoch)
        order = order if self.subset is None else self.subset.taken(order)
        whole = [order[k * self.batch : (k + 1) * self.batch] for k in range(start, self.steps)]
        own = [self._share(rows) for rows in whole]
        for among, (positions, images) in zip(whole, self._read(own), strict=True):
            with span("augment"):
                batch = self._batch(epoch, torch.from_numpy(positions), images, torch.from_numpy(among))
            yield batch

    @property
    def _mixed(self) -> bool:
        """Return whether a share begins with the picture before it, which its first one is mixed with."""
        return self.ranks.world > 1 and bool(self.plan.mixup or self.plan.cutmix)

    def _share(self, rows: I64) -> I64:
        """Return this rank's share of a batch, int64 (B,), after the picture that its first is mixed with."""
        if not self._mixed:
            return self.ranks.shard(rows)
        begin, end = self.ranks.within(len(rows))
        return np.concatenate([rows[begin - 1 : begin] if begin else rows[-1:], rows[begin:end]])

    def normalise(self, images: Tensor) -> Tensor:
        """Return images float32 (B, C, H, W) in 0..1 as the net takes them; they are changed in place."""
        return _normalise(images, self._scale, self._offset)

    def _read(self, steps: Sequence[I64]) -> Iterator[tuple[I64, Tensor]]:
        if self._resident is not None:
            for positions in steps:
                with span("augment"):
                    images = self._resident.index_select(0, sent(torch.from_numpy(positions), self.device))
                yield positions, images
            return

        def taken(positions: I64) -> Tensor:
            if self.windows is not None:
                self.windows.soon(positions)
            return _tensor(self.pixels.take(positions), self.device)

        with closing(_ahead(steps, taken, workers=self.workers)) as ahead:
            for positions in steps:
                began = time.perf_counter()
                with span("stall"):
                    images = next(ahead)
                self.stall += time.perf_counter() - began
                yield positions, images.to(self.device, non_blocking=True)

    def _batch(self, epoch: int, indices: Tensor, images: Tensor, among: Tensor) -> Batch:
        """Return the batch of `indices`, this rank's share of those of all ranks, `among`."""
        targets = self._targets.index_select(0, sent(indices, self.device))
        targets = targets if self.subset is None else self.subset.weighed(targets, indices)
        if self.plan == Augment():
            return Batch(self.normalise(images), targets, indices)
        draws = Draws(self.seed, epoch, indices, device=self.device)
        images = self.normalise(augment(images, draws, self.plan))
        if self._mixed:
            images, targets = mix(images, targets, Draws(self.seed, epoch, among, device=self.device), self.plan)
            return Batch(images[1:], targets[1:], indices[1:])
        images, targets = mix(images, targets, draws, self.plan)
        return Batch(images, targets, indices)


def plain(
    pixels: Readable,
    *,
    batch: int,
    device: torch.device | str,
    mean: Sequence[float],
    std: Sequence[float],
    ranks: Ranks = ALONE,
) -> Iterator[Tensor]:
    """Yield all pictures in their order, normalised, float32 (B, C, H, W) on `device`; the last batch may be smaller.

    ranks: who has a share of each batch, which may be empty; this one's is yielded
    """
    device = torch.device(device)
    scale, offset = _affine(mean, std, device)
    steps = [ranks.shard(np.arange(k, min(k + batch, len(pixels)))) for k in range(0, len(pixels), batch)]
    with closing(_ahead(steps, lambda positions: _tensor(pixels.take(positions), device))) as ahead:
        for images in ahead:
            yield _normalise(images.to(device, non_blocking=True), scale, offset)


def statistics(pixels: Readable, *, sample: int = 2000) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation of each channel, in 0..1 units, over up to `sample` pictures spread evenly.

    A deviation is at least one grey level, so that dividing by it is safe.
    """
    number = min(sample, len(pixels))
    positions = np.arange(number) * len(pixels) // max(number, 1)
    count, total, squares = 0, np.zeros(pixels.shape[0]), np.zeros(pixels.shape[0])
    # Pieces of 2 MiB: as float64 with their squares they take sixteen times as much.
    for chunk in np.array_split(positions, max(1, number * _size(pixels) >> 21)):
        values = pixels.take(chunk).astype(np.float64)
        count += values[:, 0].size
        total += values.sum(axis=(0, 2, 3))
        squares += np.square(values).sum(axis=(0, 2, 3))
    mean = total / max(count, 1)
    std = np.sqrt(np.maximum(squares / max(count, 1) - mean**2, 1.0))
    return tuple((mean / 255).tolist()), tuple((std / 255).tolist())


def _ahead(steps: Sequence[I64], work: Callable[[I64], Tensor], *, workers: int = 1) -> Generator[Tensor, None, None]:
    """Yield `work` of each step in order, computed by threads while the ones before are in use."""
    flying: deque[Future[Tensor]] = deque()
    pool = ThreadPoolExecutor(workers, thread_name_prefix="beholder-read-ahead")
    try:
        for positions in steps:
            flying.append(pool.submit(work, positions))
            if len(flying) > READY:
                yield flying.popleft().result()
        while flying:
            yield flying.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _affine(mean: Sequence[float], std: Sequence[float], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return what images in 0..1 are multiplied by, and what is added then: float32 (1, C, 1, 1) each."""
    scale = 1 / torch.tensor(std, dtype=torch.float64)
    offset = -torch.tensor(mean, dtype=torch.float64) * scale
    scale, offset = (values.float().reshape(1, -1, 1, 1) for values in (scale, offset))
    return sent(scale, device), sent(offset, device)


def normalised(images: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Return float32 (B, C, H, W) = (images - mean) / std per channel; uint8 images count as 0..1 in steps of 1/255."""
    return _normalise(images, *_affine(mean, std, images.device))


def _normalise(images: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Return float32 images whose channels have mean 0 and deviation 1: one product and one sum in place."""
    if not images.is_floating_point():
        scale = scale / 255
    return (images * scale).add_(offset)


def _tensor(pixels: U8, device: torch.device) -> Tensor:
    return pinned(torch.from_numpy(pixels), device)


def _whole(pixels: Readable, device: torch.device) -> Tensor:
    """Return all pixels as one uint8 tensor (M, C, H, W) on the device, copied in pieces of 64 MiB."""
    whole = torch.empty((len(pixels), *pixels.shape), dtype=torch.uint8, device=device)
    step = max(1, (64 << 20) // max(1, _size(pixels)))
    for k in range(0, len(pixels), step):
        whole[k : k + step] = torch.from_numpy(pixels.take(np.arange(k, min(k + step, len(pixels)))))
    return whole


def _size(pixels: Readable) -> int:
    """Return the bytes of one picture."""
    channels, height, width = pixels.shape
    return channels * height * width
