"""Several processes learn from a set that the cache has no room for: each decodes its own share."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import beholder
from beholder.base import events
from beholder.base.errors import PictureError
from beholder.base.records import PixelPolicy
from beholder.data.cache import Pixels, cached
from beholder.data.streamed import Streamed
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


def test_what_the_cache_holds_is_taken_from_it_and_the_rest_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of three shards the second cannot be mapped: its pictures are found at their own row after all shards."""
    monkeypatch.setattr(rank_pixels, "streamed", lambda pictures, policy: ("streamed", pictures, policy))
    digests = np.arange(5 * 32, dtype=np.uint8).reshape(5, 32)
    pictures = scan((np.zeros((5, 4, 4), np.uint8), np.arange(5) % 2))
    where = np.array([[0, 1, 2, 1, 0], [7, 0, 3, 1, 8]])
    policy = PixelPolicy(20, 24, 3, "pad", (1, 2, 3))
    shards: Any = ["first", None, "third"]
    found = rank_pixels.own(pictures, shards, where, digests, {"policy": policy.json()})
    alone: Any = found.shards[3]
    assert found.shards == ("first", alone, "third", alone)
    assert found.shard.tolist() == [0, 3, 2, 3, 0]
    assert found.place.tolist() == [7, 1, 3, 3, 8]
    assert (found.rows.tolist(), found.shape, found.bad, found.decoded) == (list(range(5)), (3, 20, 24), (), 0)
    assert found.digests is digests
    assert alone[0] == "streamed"
    assert alone[1].digests is digests
    assert alone[2] == policy
    with pytest.raises(PictureError, match=f"{pictures.keys[2]} are damaged") as error:
        found.again(2)
    assert error.value.code == "cache-damaged"


def test_only_a_set_that_is_streamed_is_told_of() -> None:
    pictures: Any = SimpleNamespace(store=SimpleNamespace(name="the source"), keys=("a.png", "b.png"))
    pixels = SimpleNamespace(shards=("mapped",))
    prepared: Any = SimpleNamespace(train=SimpleNamespace(pictures=pictures, pixels=pixels), policy=POLICY)
    assert rank_pixels.told(prepared) is None
    pixels.shards = ("mapped", Streamed(pictures, lambda row: np.zeros(1, np.uint8)))
    assert rank_pixels.told(prepared) == {"source": "the source", "keys": ["a.png", "b.png"], "policy": POLICY.json()}


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
