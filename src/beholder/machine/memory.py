"""How much memory something takes at its peak, of the device where it counts it, else of this process where Linux tells; and
what the C library keeps of what is freed.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")

TRIM, MMAP = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of mallopt(3)."""


@cache
def keep_freed() -> bool:
    """Let glibc keep up to 1 GiB of what this process frees, and blocks of up to 32 MiB; return False where there is no glibc.

    By itself it hands the tensors of every layer back to the kernel and gets them again page by page, which takes longer than
    the arithmetic: MobileNetV2 at 192 × 192 answers two times as fast with this (docs/LOG.md).
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    return bool(mallopt(MMAP, 1 << 25)) and bool(mallopt(TRIM, 1 << 30))


def peak_memory(work: Callable[[], object], on: torch.device) -> tuple[int, int] | None:
    """Run `work` and return (bytes in use at the peak, bytes of them that it added); None where the system does not say."""
    if on.type == "cuda":
        torch.cuda.synchronize(on)
        torch.cuda.reset_peak_memory_stats(on)
        before = torch.cuda.memory_allocated(on)
        work()
        torch.cuda.synchronize(on)
        most = torch.cuda.max_memory_allocated(on)
        return most, most - before
    _give_back()
    try:
        RESET.write_text("5")  # the peak of the resident set begins anew
        start = _status("VmRSS")
    except (OSError, ValueError, KeyError):
        work()
        return None
    work()
    most = _status("VmHWM")
    return most, max(0, most - start)


def _give_back() -> None:
    """Hand the kernel what glibc keeps of what was freed: else the work is given some of it, and seems to add nothing."""
    with suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def _status(name: str) -> int:
    """Return one figure of /proc/self/status in bytes."""
    rows = dict(line.split(":", 1) for line in STATUS.read_text().splitlines() if ":" in line)
    return int(rows[name].split()[0]) * 1024


def shortages() -> int | None:
    """Return how many processes this system has ended for want of memory since it began; None where it does not say."""
    try:
        lines = Path("/proc/vmstat").read_text("ascii").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
    except (OSError, StopIteration, ValueError):
        return None
