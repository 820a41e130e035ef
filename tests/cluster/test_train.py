"""Training by processes of a cluster is training by one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import beholder
from beholder.base.errors import UsageError
from beholder.learn.monitors import Tally
from beholder.machine import ranks

SMALL: dict[str, Any] = {"net": "cnn", "width": 0.25, "batch": 12, "seed": 3, "precision": "fp32", "epochs": 3}


@pytest.mark.slow
def test_a_cluster_trains_what_one_process_does(two_nodes: str, leaves: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    losses: list[float] = []
    worlds: set[int] = set()
    add = Tally.add

    def noted(self: Tally, loss: Any, right: Any) -> None:
        losses.append(float(loss.detach()))
        among = ranks.group()
        worlds.add(among.ranks.world if among else 1)
        add(self, loss, right)

    monkeypatch.setattr(Tally, "add", noted)
    parts = beholder.split(beholder.scan(leaves), seed=0)
    beholder.train(parts, **SMALL)
    one = list(losses)
    losses.clear()
    worlds.clear()
    beholder.train(parts, **SMALL, launch="ray")
    assert worlds == {2}
    assert losses == pytest.approx(one, rel=1e-5)
    with pytest.raises(UsageError, match="needs 3 free CPUs") as error:
        beholder.train(parts, **SMALL, launch="ray:4")
    assert error.value.code == "no-room"
