"""What this machine offers, and which precision is chosen and why."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import version
from pathlib import Path

import torch

from beholder.machine.chip import name
from beholder.machine.device import device, free_memory, precision, repeats
from beholder.machine.folders import cache_folder


def info() -> dict[str, object]:
    """Return the facts that `beholder info` shows, as plain JSON values. Sizes in bytes, times in seconds."""
    on = device()
    chosen = precision(on)
    home = cache_folder()
    return {
        **machine(),
        "system": platform.platform(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_free": free_memory(on),
        "disk_free": shutil.disk_usage(_existing(home)).free,
        "cache": str(home),
        "precision": chosen.name,
        "precision_reason": chosen.reason,
        "precision_trial": dict(chosen.seconds),
        "repeats": repeats(on),
    }


def machine() -> dict[str, str]:
    """Return the few facts about this machine that a bundle keeps: names and versions only."""
    on = device()
    return {
        "beholder": version("beholder"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "timm": version("timm"),
        "device": on.type,
        "device_name": name(on),
        "cores": str(os.cpu_count() or 1),
    }


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
