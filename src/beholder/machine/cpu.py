"""What the processor is called and can do, and what the C library keeps of what is freed, without torch."""

from __future__ import annotations

import ctypes
import os
import platform
from functools import cache
from pathlib import Path

TRIM, MMAP = -1, -3
"""`M_TRIM_THRESHOLD` and `M_MMAP_THRESHOLD` of mallopt(3)."""


def name() -> str:
    """Return the name of the processor, as its maker calls it."""
    return _field("model name") or platform.processor() or platform.machine()


def flags() -> frozenset[str]:
    """Return the processor's feature flags as Linux names them; none where the system does not tell."""
    return frozenset(_field("flags").split())


def threads() -> int:
    """Return on how many processors this process may run."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS and Windows have no such call
        return os.cpu_count() or 1


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


def _field(wanted: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(wanted)), "").partition(":")[2].strip()
