"""The devices on which the contract suites run: all that are there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from beholder.machine import devices

PRESENT = ["cpu", *(name for name in ("cuda", "mps") if devices.DEVICES.load(name).find() is not None)]


@pytest.fixture(scope="module", params=PRESENT)
def each_device(request: pytest.FixtureRequest) -> Iterator[torch.device]:
    """Each device in turn; while its tests run it is the first that is found, and float32 is float32 on it."""
    rows = {name: devices.DEVICES.load(name) for name in dict.fromkeys([request.param, "cpu"])}
    with pytest.MonkeyPatch.context() as patch, devices.ieee():
        patch.setattr(devices, "_kinds", lambda path: rows)
        yield devices.first()
