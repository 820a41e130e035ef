"""Running a net that is not trained leaves no trace in the process."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from beholder.runtime import inference
from beholder.runtime.inference import Held, Normal, runner


def test_threads_are_given_back_whatever_was_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inference, "slowness", lambda: 9.0)
    monkeypatch.setattr(inference, "contended", lambda: True)
    tried: list[int] = []

    def quickest(work: object, *, most: int) -> int:
        tried.append(most)
        torch.set_num_threads(1)
        return 1

    monkeypatch.setattr(inference, "quickest", quickest)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        net = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.Linear(4, 2))
        pixels = Held(torch.zeros(8, 3, 4, 4, dtype=torch.uint8).numpy())
        run = runner(net, pixels, Normal((0.5,) * 3, (0.5,) * 3, torch.device("cpu")), torch.float32)
        assert (tried, torch.get_num_threads()) == ([2], 2)
        run(torch.zeros(2, 3, 4, 4))
        assert torch.get_num_threads() == 1, "it runs with the threads that were quickest"
    finally:
        torch.set_num_threads(before)
