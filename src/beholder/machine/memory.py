"""How much memory something takes at its peak, of the device where it counts it, else of this process where Linux tells."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from beholder.machine.devices import kind

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak_memory(work: Callable[[], object], on: torch.device) -> tuple[int, int] | None:
    """Run `work` and return (bytes in use at the peak, bytes of them that it added); None where the system does not say."""
    chip = kind(on)
    if chip.memory is not None and chip.peak is not None:
        before = chip.memory(on)
        work()
        most = chip.peak(on)
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
