"""The table of devices, with one that is not there: backed by the CPU, with a name, memory and precision of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

import beholder
from beholder.machine import chip, device, devices, info
from beholder.machine.devices import DEVICES, Device
from beholder.machine.memory import peak_memory

CPU = torch.device("cpu")


@dataclass
class Told:
    """What a device was told to do."""

    settled: int = 0
    seeds: list[int] = field(default_factory=list)
    dtypes: set[torch.dtype] = field(default_factory=set)
    steady: list[str] = field(default_factory=list)


def made(told: Told, **changes: Any) -> Device:
    """A device that works apart from the host, as far as the host can tell; its tensors are those of the CPU."""

    def settle(_on: torch.device) -> None:
        told.settled += 1

    def autocast(on: torch.device, dtype: torch.dtype) -> AbstractContextManager[Any]:
        told.dtypes.add(dtype)
        return devices.autocast(on, dtype)

    @contextmanager
    def steady() -> Iterator[None]:
        told.steady.append("in")
        yield
        told.steady.append("out")

    fields: dict[str, Any] = {
        "type": "cpu",
        "find": lambda: CPU,
        "name": lambda on: "Imaginary 9000",
        "units": lambda on: ("bf16", "this device has units that nobody built"),
        "free": lambda on: 3 * 2**30,
        "settle": settle,
        "seed": lambda on, value: told.seeds.append(value),
        "autocast": autocast,
        "memory": lambda on: 100,
        "peak": lambda on: 175,
        "steady": steady,
        "fused": True,
    }
    return Device(**{**fields, **changes})


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    seen = Told()
    monkeypatch.setattr(devices, "_kinds", lambda path: {"fake": made(seen), "cpu": devices.CPU})
    return seen


def kinds(patch: pytest.MonkeyPatch, **rows: Device) -> Mapping[str, Device]:
    patch.setattr(devices, "_kinds", lambda path: rows)
    return rows


def test_the_built_in_kinds_are_looked_for_in_order() -> None:
    assert list(DEVICES.builtin) == ["cuda", "mps", "cpu"]
    assert [name for name in devices.kinds() if name in DEVICES.builtin] == ["cuda", "mps", "cpu"]
    assert {name: each.type for name, each in devices.kinds().items()} == {"cuda": "cuda", "mps": "mps", "cpu": "cpu"}


def test_the_first_that_is_there_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = made(Told(), type="xla", find=lambda: None)
    other = made(Told(), type="meta", find=lambda: torch.device("meta"))
    kinds(monkeypatch, absent=absent, other=other, cpu=devices.CPU)
    assert device.device() == torch.device("meta")
    kinds(monkeypatch, absent=absent, cpu=devices.CPU)
    assert device.device() == CPU


def test_what_is_asked_of_a_device_is_asked_of_its_row(told: Told) -> None:
    assert chip.name(CPU) == "Imaginary 9000"
    assert chip.chip(CPU)["name"] == info.machine()["device_name"] == "Imaginary 9000"
    assert device.free_memory(CPU) == 3 * 2**30
    assert "no fixed order" in device.repeats(CPU)
    assert peak_memory(lambda: None, CPU) == (175, 75)
    device.seed(CPU, 7)
    chip.settled(CPU)
    assert (told.seeds, told.settled) == ([7], 1)
    with device.autocast(CPU, device.Precision("bf16", torch.bfloat16, "")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    assert told.dtypes == {torch.bfloat16}


def test_its_units_decide_which_precision_is_tried(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device, "trial", lambda on, names: {name: 0.04 if name == "fp32" else 0.01 for name in names})
    found = device.precision(CPU)
    assert found.name == "bf16"
    assert "units that nobody built" in found.reason


def test_a_run_is_trained_on_it(told: Told, leaves: Path) -> None:
    bundle = beholder.train(beholder.split(beholder.scan(leaves)), net="cnn", epochs=2, batch=8, precision="bf16")
    assert bundle.config.precision == "bf16"
    assert torch.bfloat16 in told.dtypes
    assert len(set(told.seeds)) >= 6, "a seed for each step"
    assert told.steady == ["in", "out"]
    assert beholder.evaluate(bundle, beholder.scan(leaves)).scores.headline["accuracy"].n == 36


def test_the_host_looks_seldom_at_a_device_that_works_apart(told: Told, leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of a run does not depend on how often the host looks: the weights are those of the CPU's own row."""
    parts = beholder.split(beholder.scan(leaves))
    how: dict[str, Any] = {"net": "cnn", "epochs": 2, "batch": 8, "precision": "fp32", "seed": 1}
    apart = beholder.train(parts, **how)
    kinds(monkeypatch, cpu=devices.CPU)
    for name, value in beholder.train(parts, **how).net.state_dict().items():
        assert torch.equal(value, apart.net.state_dict()[name]), name


def test_a_type_that_no_row_has_is_waited_for_and_trusted_with_nothing() -> None:
    found = devices.kind(torch.device("meta"))
    assert (found.type, found.apart, found.pinned, found.fused, found.compiles, found.repeats) == (
        "meta",
        *[True],
        *[False] * 4,
    )
    assert found.units(torch.device("meta"))[0] == "fp32"


def test_each_rank_of_a_machine_has_a_device_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: chosen[-1] if chosen else 2)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert devices.CUDA.find() == torch.device("cuda", 2)
    for rank, index in ((0, 0), (3, 3), (5, 1)):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        assert devices.CUDA.find() == torch.device("cuda", index)


def test_float32_is_float32_for_a_block() -> None:
    before = (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32)
    with devices.ieee():
        assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == (False, False)
    assert (torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32) == before


def test_kernels_are_tried_only_where_shapes_stay(told: Told) -> None:
    with device.steady(CPU, one_shape=False):
        assert not told.steady
    with device.steady(CPU, one_shape=True):
        assert told.steady == ["in"]
    benchmark = torch.backends.cudnn.benchmark
    with devices.CUDA.steady():
        assert torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.benchmark == benchmark
