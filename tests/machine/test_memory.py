"""The peak of memory while something runs."""

from __future__ import annotations

import torch

from beholder.machine.memory import peak_memory


def test_the_peak_of_memory_is_what_was_taken() -> None:
    found = peak_memory(lambda: torch.ones(16, 1024, 1024).sum(), torch.device("cpu"))
    if found is not None:
        assert found[1] > 40 * 2**20
        assert found[0] >= found[1]
