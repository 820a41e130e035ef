"""The maps on a page: as fine as there is room for, eight bits a value."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.explanation.look.pages import bundle

from beholder.explanation.look.blob import Blob
from beholder.explanation.look.layers import facts, fitting, quantised, smaller, words
from beholder.explanation.look.trace import Layer, traced


def layer(side: int, count: int = 8, form: str = "maps") -> Layer:
    maps = np.random.default_rng(0).normal(size=(count, side, side)).astype(np.float32)
    return Layer("a", "Conv2d", "", "", (count, side, side), 3, form, maps, tuple(range(count)), count, -1.0, 1.0)


def test_the_finest_maps_that_fit_are_taken() -> None:
    assert fitting([layer(64)], 8 * 64 * 64) == (8, 64)
    assert fitting([layer(64)], 8 * 64 * 64 - 1) == (8, 56)
    assert fitting([layer(8)] * 100, 100 * 4 * 64)[0] == 4
    assert fitting([layer(64)], 1) == (0, 0)


@pytest.mark.parametrize("room", [0, 3_000, 400_000])
def test_no_more_than_the_room_is_used(room: int) -> None:
    found = traced(bundle("resnet", size=32).net, torch.rand(1, 3, 32, 32)).layers
    blob = Blob()
    told = facts(found, blob, room=room)
    assert len(told) == len(found)
    assert blob.size <= room + 4 * len(found)
    assert all((one["maps"] is None) == (one["form"] == "none") for one in told)
    assert all(len(one["channels"]) == one["maps"]["shape"][0] for one in told if one["maps"])


def test_eight_bits_are_within_half_a_step() -> None:
    maps = layer(9).maps
    peak = float(np.abs(maps).max())
    assert np.abs(quantised(maps, peak) * peak / 127 - maps).max() <= peak / 254 + 1e-6
    assert not quantised(np.zeros((1, 2, 2), np.float32), 0.0).any()


def test_smaller_maps_are_means() -> None:
    maps = np.arange(16, dtype=np.float32).reshape(1, 4, 4)
    assert smaller(maps, 2).tolist() == [[[2.5, 4.5], [10.5, 12.5]]]
    assert smaller(maps, 4) is maps


def test_layers_are_explained_in_words() -> None:
    assert words("Conv2dSame") == words("Conv2d") != ""
    assert "negative" in words("ReLU6")
    assert words("Whatever") == ""
