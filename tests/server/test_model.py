"""Which threads compute what a server answers, without a server."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tests.server.fakes import Fake
from torch import nn

from beholder.machine import pace
from beholder.server import model as module
from beholder.server.bounds import Bounds


class Heard:
    """Stands for what chooses threads: notes batches."""

    def __init__(self, *, most: int) -> None:
        self.most, self.said = most, []

    def begin(self) -> None:
        self.said.append("begin")

    def done(self, n: int) -> None:
        self.said.append(n)


def served(recogniser: Any) -> Any:
    pool = ThreadPoolExecutor(1)
    found = module.Model("m", recogniser, bounds=Bounds(), pool=pool)
    found.close()
    pool.shutdown()
    return found


def test_threads_of_what_torch_computes_on_the_cpu_follow_other_programs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "Nimble", Heard)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    fake: Any = Fake()
    fake.net = nn.Linear(3, 3)
    found = served(fake)
    monkeypatch.setattr(found.answers, "answers", lambda images, asked: [{"class": "red"}] * len(asked))
    job: Any = SimpleNamespace(settle=lambda *_: None)
    found._run([module.Item(job, index, 0.0, module.PLAIN) for index in range(2)])
    assert (found._nimble.most, found._nimble.said) == (7, ["begin", 2])


def test_what_runs_elsewhere_has_its_own_threads() -> None:
    assert served(Fake())._nimble is None
    fake: Any = Fake()
    fake.net = nn.Linear(3, 3, device="meta")
    assert served(fake)._nimble is None
    fake.net = nn.Flatten()
    assert served(fake)._nimble is None
