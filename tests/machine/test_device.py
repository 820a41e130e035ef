from __future__ import annotations

import pytest
import torch

from beholder.base.errors import MachineError
from beholder.machine import device as room


@pytest.mark.parametrize(
    ("flags", "name", "words"),
    [({"avx512_bf16", "amx_bf16"}, "bf16", "AMX"), ({"avx512_bf16"}, "bf16", "AVX512-BF16"), ({"avx2"}, "fp32", "neither")],
)
def test_precision_follows_the_chip_and_says_why(
    monkeypatch: pytest.MonkeyPatch, flags: set[str], name: str, words: str
) -> None:
    monkeypatch.setattr(room, "_cpu_flags", lambda: frozenset(flags))
    found = room.precision(torch.device("cpu"))
    assert (found.name, found.mixed) == (name, name != "fp32")
    assert words in found.reason


def test_what_is_asked_for_is_taken_unless_it_cannot_train() -> None:
    assert room.precision(torch.device("cpu"), "bf16").dtype is torch.bfloat16
    assert room.precision(torch.device("cpu"), "fp32").reason == "asked for"


def test_too_little_memory_is_said_with_a_way_out() -> None:
    with pytest.raises(MachineError, match="batches of 64") as caught, room.telling_memory(64):
        raise torch.OutOfMemoryError
    assert "train.batch=32" in caught.value.hint


def test_memory_is_a_positive_number_of_bytes() -> None:
    assert room.free_memory(torch.device("cpu")) > 2**20
