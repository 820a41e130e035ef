"""The peak of memory while something runs."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from beholder.machine.memory import keep_freed

TAKEN = """
import torch
from beholder.machine.memory import peak_memory
found = peak_memory(lambda: torch.ones(16, 1024, 1024).sum(), torch.device("cpu"))
assert found is None or found[0] >= found[1] > 40 * 2**20, found
"""


def test_the_peak_of_memory_is_what_was_taken() -> None:
    # In a process of its own: this one may hold freed memory, of which the work would be given some.
    subprocess.run([sys.executable, "-c", TAKEN], check=True, timeout=120)


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
