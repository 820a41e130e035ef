"""The speed of plain matrix products on this machine: what the speed of training is measured against."""

from __future__ import annotations

import time

import torch

from beholder.machine.chip import settled
from beholder.machine.devices import kind


def peak(on: torch.device, dtype: torch.dtype, *, seconds: float = 0.5) -> float:
    """Return FLOP/s (2 per multiply–add) of the fastest square matrix product of `dtype`, over about `seconds`.

    The sizes tried keep a CPU busy from its caches and a GPU with all of its units.
    """
    sizes = (4096, 8192) if kind(on).apart else (1024, 2048)
    return max(_speed(on, dtype, size, seconds=seconds / len(sizes)) for size in sizes)


def _speed(on: torch.device, dtype: torch.dtype, size: int, *, seconds: float) -> float:
    a = torch.linspace(-1, 1, size * size, device=on).view(size, size).to(dtype)
    b = a.T.contiguous()
    out = torch.empty_like(a)
    torch.mm(a, b, out=out)  # chooses the kernel
    settled(on)
    best, began = float("inf"), time.perf_counter()
    while time.perf_counter() - began < seconds:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        settled(on)
        best = min(best, time.perf_counter() - start)
    return float(2 * size**3 / best) if best < float("inf") else 0.0
