from __future__ import annotations

from collections.abc import Mapping

import pytest
import torch

from beholder.base.errors import MachineError, UsageError
from beholder.machine import cpu
from beholder.machine import device as room

CPU = torch.device("cpu")


def _on_chip(patch: pytest.MonkeyPatch, flags: set[str], seconds: Mapping[str, float]) -> None:
    patch.setattr(cpu, "flags", lambda: frozenset(flags))
    patch.setattr(room, "trial", lambda on, names: {name: seconds[name] for name in names if name in seconds})


@pytest.mark.parametrize(
    ("flags", "name", "words"),
    [({"avx512_bf16", "amx_bf16"}, "bf16", "AMX"), ({"avx512_bf16"}, "bf16", "AVX512-BF16"), ({"avx2"}, "fp32", "neither")],
)
def test_precision_follows_the_chip_and_says_why(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], name: str, words: str
) -> None:
    _on_chip(monkeypatch, flags, {"fp32": 0.04, "bf16": 0.01})
    found = room.precision(CPU)
    assert (found.name, found.mixed) == (name, name != "fp32")
    assert words in found.reason
    assert ("4.0 times as fast" in found.reason) == (name == "bf16")
    assert ("stay fp32" in found.reason) == found.mixed


@pytest.mark.parametrize("seconds", [{"fp32": 0.04, "bf16": 0.05}, {"fp32": 0.04, "bf16": 0.039}, {"fp32": 0.04}])
def test_a_precision_that_gains_nothing_here_is_not_taken(monkeypatch: pytest.MonkeyPatch, seconds: dict[str, float]) -> None:
    _on_chip(monkeypatch, {"avx512_bf16"}, seconds)
    found = room.precision(CPU)
    assert (found.name, found.seconds) == ("fp32", seconds)
    assert "40.0 ms in fp32" in found.reason
    assert "bf16 gains nothing" in found.reason


def test_on_a_busy_machine_the_units_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu, "flags", lambda: frozenset({"avx512_bf16"}))
    monkeypatch.setattr(room, "trial", lambda on, names: None)
    found = room.precision(CPU)
    assert found.name == "bf16"
    assert "busy" in found.reason


def test_what_is_asked_for_is_taken_unless_it_cannot_train(monkeypatch: pytest.MonkeyPatch) -> None:
    assert room.precision(CPU, "bf16").dtype is torch.bfloat16
    assert room.precision(CPU, "fp32").reason == "asked for"
    monkeypatch.setattr(room, "trains", lambda on, name: False)
    assert room.precision(CPU, "fp32").name == "fp32"
    with pytest.raises(UsageError, match="fp16 is not possible") as caught:
        room.precision(CPU, "fp16")
    assert "auto" in caught.value.hint


def test_the_scaler_is_there_for_fp16_only() -> None:
    assert room.scaler(CPU, room.Precision("fp16", torch.float16, "")).is_enabled()
    assert not room.scaler(CPU, room.Precision("bf16", torch.bfloat16, "")).is_enabled()


def test_too_little_memory_is_said_with_a_way_out() -> None:
    with pytest.raises(MachineError, match="batches of 64") as caught, room.telling_memory(64):
        raise torch.OutOfMemoryError
    assert "train.micro=32" in caught.value.hint


def test_memory_is_a_positive_number_of_bytes() -> None:
    assert room.free_memory(CPU) > 2**20


def test_dropout_draws_by_all_of_a_seed() -> None:
    drawn = []
    with torch.random.fork_rng(devices=[]):
        for value in (7, 7, (1 << 32) + 7, (2 << 32) + 7, 8):
            room.seed(torch.device("cpu"), value)
            drawn.append(tuple(torch.rand(4).tolist()))
        torch.manual_seed(7)
        assert drawn[0] == drawn[1] == tuple(torch.rand(4).tolist())
    assert len(set(drawn)) == 4, "the seed of the run is above the 32 bits that the generator of a CPU takes"
