"""What this machine offers, and which precision is chosen and why."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from beholder.base.files import cache_folder
from beholder.machine.device import device, free_memory, precision


def info() -> dict[str, object]:
    """Return the facts that `beholder info` shows, as plain JSON values. Sizes in bytes."""
    on = device()
    chosen = precision(on)
    home = cache_folder()
    return {
        "beholder": version("beholder"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "timm": version("timm"),
        "system": platform.platform(),
        "device": on.type,
        "device_name": torch.cuda.get_device_name(on) if on.type == "cuda" else _cpu_name(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_free": free_memory(on),
        "disk_free": shutil.disk_usage(_existing(home)).free,
        "cache": str(home),
        "precision": chosen.name,
        "precision_reason": chosen.reason,
    }


def machine() -> dict[str, str]:
    """Return the few facts about this machine that a bundle keeps: names and versions only."""
    facts = info()
    return {
        key: str(facts[key]) for key in ("device", "device_name", "cores", "python", "torch", "torchvision", "timm", "beholder")
    }


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line for line in lines if line.startswith("model name")).partition(":")[2].strip()
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
