"""Several processes learn from a set that the cache has no room for: each decodes its own share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.records import PixelPolicy
from beholder.data.cache import Pixels, cached
from beholder.learn import rank_pixels
from beholder.learn.monitors import Tally
from beholder.sources import scan
from beholder.sources.digest import digested

POLICY = PixelPolicy(height=20, width=24)
EACH = 20 * 24 * 3 + 36


def room_for(patch: pytest.MonkeyPatch, pictures: int) -> None:
    patch.setenv("BEHOLDER_ROOM", str(pictures * EACH / 2**30))


def test_a_rank_has_the_pixels_of_the_first(leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    room_for(monkeypatch, 10)
    pictures = digested(scan(leaves).take(np.arange(35, 3, -1)))
    with events.listen(alone=True):
        first: Pixels = cached(pictures, POLICY, root=tmp_path)
    said = {"source": str(leaves), "keys": list(pictures.keys), "policy": POLICY.json()}
    found, why = rank_pixels.found(said)
    assert found is not None
    assert why == ""
    where = np.stack([first.shard, first.place])
    for shards in ([first.shards[0], None], [None, None]):
        own = rank_pixels.own(found, shards, where, first.digests, said)
        np.testing.assert_array_equal(own.take(np.arange(32)), first.take(np.arange(32)))


def test_a_rank_that_lacks_pictures_says_so(leaves: Path) -> None:
    keys = list(scan(leaves).keys)
    assert rank_pixels.found(None) == (None, "")
    assert "there is no x.png in" in rank_pixels.found({"source": str(leaves), "keys": [*keys, "x.png"], "policy": {}})[1]
    assert "there is no" in rank_pixels.found({"source": "/nowhere/at/all", "keys": keys, "policy": {}})[1]


@pytest.mark.slow
def test_losses_of_a_streamed_set_are_those_of_one_process(
    leaves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses: list[float] = []
    add = Tally.add

    def noted(self: Tally, loss: Any, right: Any) -> None:
        losses.append(float(loss.detach()))
        add(self, loss, right)

    monkeypatch.setattr(Tally, "add", noted)
    parts = beholder.split(scan(leaves), seed=0)
    how: dict[str, Any] = {"net": "tests.learn.ranked:net", "task": "tests.learn.ranked:TASK", "batch": 12, "seed": 3}
    found = []
    for number, (launch, room) in enumerate((("", 1000), ("local:2", 5))):
        beholder.cache(tmp_path / str(number))
        room_for(monkeypatch, room)
        losses.clear()
        beholder.train(parts, **how, epochs=2, precision="fp32", augment="strong", launch=launch)
        found.append(list(losses))
    assert found[1] == pytest.approx(found[0], rel=1e-9)
