"""What the chip is called, what units it has, and when its work is done."""

from __future__ import annotations

import torch

from beholder.machine import devices


def chip(on: torch.device) -> dict[str, object]:
    """Return what speed depends on, as plain JSON values: the chip's name, threads, and the version of torch."""
    return {"device": on.type, "name": name(on), "threads": torch.get_num_threads(), "torch": torch.__version__}


def name(on: torch.device) -> str:
    """Return the name of the GPU or the CPU, as its maker calls it."""
    return devices.kind(on).name(on)


def settled(on: torch.device) -> None:
    """Wait until the device has done what it was given. A CPU works as it is told, so there is nothing to wait for."""
    devices.kind(on).settle(on)
