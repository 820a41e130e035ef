from __future__ import annotations

import time

import torch

from beholder.machine.peak import peak


def test_the_peak_is_at_least_the_speed_of_a_product_timed_by_hand() -> None:
    cpu = torch.device("cpu")
    found = peak(cpu, torch.float32, seconds=0.2)
    a = torch.rand(256, 256)
    began = time.perf_counter()
    a @ a
    by_hand = 2 * 256**3 / (time.perf_counter() - began)
    assert 0.2 * by_hand < found < 1e14
