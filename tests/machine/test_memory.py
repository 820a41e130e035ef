"""The peak of memory while something runs."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from beholder.machine.cpu import keep_freed
from beholder.machine.memory import peak_memory


def test_the_peak_of_memory_is_what_was_taken() -> None:
    keep_freed()
    kept = [torch.ones(1 << 22) for _ in range(16)]  # 256 MiB, which the C library keeps when they are freed
    del kept
    found = peak_memory(lambda: torch.ones(16, 1024, 1024).sum(), torch.device("cpu"))
    if found is not None:
        assert found[1] > 40 * 2**20
        assert found[0] >= found[1]


def test_freed_memory_is_kept_and_not_fetched_anew() -> None:
    resource = pytest.importorskip("resource")
    if not keep_freed():
        pytest.skip("the C library is not glibc")

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(20):
            np.ones(3 << 20)  # 24 MiB, 6,144 pages
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    assert faults() < 6144
