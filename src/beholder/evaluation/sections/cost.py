"""The section `cost`: latency, throughput, memory, FLOPs, size on disk and energy."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from beholder.base.arrays import U8
from beholder.base.errors import PictureError
from beholder.machine.device import device
from beholder.machine.energy import joules, spent
from beholder.machine.info import machine
from beholder.machine.memory import peak_memory
from beholder.machine.placement import evaluating
from beholder.measure.intervals import quantile

if TYPE_CHECKING:
    from beholder.bundle.bundle import Bundle
    from beholder.evaluation.evaluate import Evaluation

SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}

REPEATS, SECONDS = 400, 6.0
"""Single pictures that are timed, and the seconds after which no more are: 368 are needed for both ends of p99."""

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


def cost(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any] | None:
    """Return what recognising costs on this machine, times in seconds; None where the pixels were not kept.

    latency:    p50, p95, p99 of one picture at a time, from its pixels to its probabilities, each with its 95 % interval
    opening:    the same of reading, decoding and resizing one picture, on one thread; absent where they cannot be read again
    throughput: pictures a second by batch ("1" to "256", as far as it grows), and the best "batch" with its "per_second"
    memory:     "peak" bytes in use while the best batch ran, "added" by it; absent where the system does not say
    flops:      of one picture, 2 per multiply-add, the mirror image included; None where the net cannot be counted
    parameters, bundle_bytes: numbers of weights, and the size of the saved bundle on disk (None before it is saved)
    energy:     "joules_per_picture" of the processor at the best batch; absent where the machine does not tell
    device:     where all this was measured
    """
    if evaluation.pixels is None or not len(evaluation.pixels):
        return None
    images = evaluation.pixels.take(np.arange(min(len(evaluation.pixels), max(BATCHES))))
    on = device()
    with evaluating(bundle.net, on=on):
        rates = _throughput(bundle, images)
        best = max(rates, key=lambda size: rates[size])
        work = _repeated(bundle, _batch(images, best))
        return {
            "device": machine()["device_name"],
            "latency": _quantiles(lambda at: bundle.probabilities(images[at % len(images)][None])),
            **_opening(bundle, evaluation),
            "throughput": {**{str(size): rate for size, rate in rates.items()}, "batch": best, "per_second": rates[best]},
            **_memory(work, on),
            "flops": flops(bundle, images[:1]),
            "parameters": sum(parameter.numel() for parameter in bundle.net.parameters()),
            "bundle_bytes": size_of(bundle.path),
            **_energy(work, best),
        }


def _quantiles(work: Callable[[int], object]) -> dict[str, Any]:
    """Return quantiles of the seconds that `work` takes; the first ten times do not count."""
    began, seconds = time.perf_counter(), []
    for at in range(-10, REPEATS):
        start = time.perf_counter()
        work(at)
        if at >= 0:
            seconds.append(time.perf_counter() - start)
        if len(seconds) >= 20 and time.perf_counter() - began > SECONDS:
            break
    return {name: quantile(seconds, share).json() for name, share in SHARES.items()}


def _opening(bundle: Bundle, evaluation: Evaluation) -> dict[str, Any]:
    pictures = evaluation.pictures
    if pictures is None:
        return {}

    def work(at: int) -> object:
        return bundle.pixels(pictures.store.read(pictures.keys[at % len(pictures)]))

    try:
        return {"opening": _quantiles(work)}
    except PictureError:
        return {}


def _batch(images: U8, size: int) -> U8:
    return np.ascontiguousarray(np.resize(images, (size, *images.shape[1:])))


def _throughput(bundle: Bundle, images: U8) -> dict[int, float]:
    """Return pictures a second by batch; it ends where a batch twice as large is slower by a tenth, or the time is up."""
    rates: dict[int, float] = {}
    began = time.perf_counter()
    for size in BATCHES:
        some = _batch(images, size)
        bundle.probabilities(some, batch=size)
        taken: list[float] = []
        while len(taken) < 3 or (sum(taken) < 0.3 and len(taken) < 50):
            start = time.perf_counter()
            bundle.probabilities(some, batch=size)
            taken.append(time.perf_counter() - start)
        rates[size] = size / float(np.median(taken))
        if rates[size] < 0.9 * max(rates.values()) or time.perf_counter() - began > 2 * SECONDS:
            break
    return rates


def _repeated(bundle: Bundle, images: U8) -> Callable[[], int]:
    """Return what runs one batch again and again for half a second, and gives how often."""

    def run() -> int:
        began, times = time.perf_counter(), 0
        while not times or time.perf_counter() - began < 0.5:
            bundle.probabilities(images, batch=len(images))
            times += 1
        return times

    return run


def _memory(work: Callable[[], int], on: torch.device) -> dict[str, Any]:
    found = peak_memory(work, on)
    return {} if found is None else {"memory": {"peak": found[0], "added": found[1]}}


def _energy(work: Callable[[], int], size: int) -> dict[str, Any]:
    before = joules()
    if before is None:
        return {}
    times = work()
    used = spent(before, joules())
    return {} if used is None else {"energy": {"joules_per_picture": used / (times * size)}}


def flops(bundle: Bundle, image: U8) -> int | None:
    """Return the FLOP of one picture, uint8 (1, C, H, W), 2 per multiply-add of convolutions and matrix products."""
    counter = FlopCounterMode(display=False)
    try:
        with counter:
            bundle.outputs(image)
    except (RuntimeError, NotImplementedError):
        return None
    return int(counter.get_total_flops()) or None


def size_of(path: Path | None) -> int | None:
    """Return the bytes of the files in a folder; None where there is none."""
    if path is None or not path.is_dir():
        return None
    return sum(file.stat().st_size for file in path.iterdir() if file.is_file())
