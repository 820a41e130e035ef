"""What the processor is called and can do, without torch."""

from __future__ import annotations

import os
import platform
from pathlib import Path


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


def _field(wanted: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return ""
    return next((line for line in lines if line.startswith(wanted)), "").partition(":")[2].strip()
