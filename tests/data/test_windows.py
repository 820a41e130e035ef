"""The order of pictures in tars: each once, few tars at a time, and the same for any number of processes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from beholder.data.loader import Batches
from beholder.data.windows import Windows
from beholder.machine.draws import permutation
from beholder.machine.ranks import Ranks

RNG = np.random.default_rng(0)
UNITS = RNG.permutation(np.repeat(np.arange(40), RNG.integers(1, 12, 40)))


class Plain:
    """Pixels that hold nothing but their position. taken: positions in the order in which they were asked for."""

    shape = (1, 1, 1)

    def __init__(self) -> None:
        self.taken: list[int] = []

    def __len__(self) -> int:
        return len(UNITS)

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        self.taken += positions.tolist()
        return np.zeros((len(positions), 1, 1, 1), np.uint8)


def batches(windows: Windows | None, ranks: Ranks, pixels: Plain) -> Batches:
    return Batches(
        pixels,
        torch.zeros(len(UNITS), 2),
        batch=8,
        seed=3,
        device="cpu",
        mean=[0.5],
        std=[0.5],
        windows=windows,
        ranks=ranks,
        workers=1,
    )


@pytest.mark.parametrize("window", [1, 4, 39])
def test_each_picture_comes_once_and_few_tars_are_open(window: int) -> None:
    windows = Windows(UNITS, window=window)
    for epoch in range(4):
        order = windows.order(7, epoch)
        assert sorted(order.tolist()) == list(range(len(UNITS)))
        seen = UNITS[order]
        first = {unit: int(np.flatnonzero(seen == unit)[0]) for unit in range(40)}
        last = {unit: int(np.flatnonzero(seen == unit)[-1]) for unit in range(40)}
        open_at = [sum(first[unit] <= at <= last[unit] for unit in range(40)) for at in range(len(order))]
        assert max(open_at) <= window
    assert (windows.order(7, 0) != windows.order(7, 1)).any()
    assert (windows.order(7, 0) != windows.order(8, 0)).any()
    np.testing.assert_array_equal(windows.order(7, 1), Windows(UNITS, window=window).order(7, 1))


def test_few_tars_are_mixed_as_a_whole() -> None:
    np.testing.assert_array_equal(Windows(UNITS, window=40).order(7, 2), permutation(7, 2, len(UNITS)))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_shares_of_all_ranks_are_the_order_of_one(world: int) -> None:
    windows = Windows(UNITS, window=4)
    order = windows.order(3, 1)
    steps = len(UNITS) // 8
    shares = [
        [batch.indices.tolist() for batch in batches(windows, Ranks(rank, world), Plain()).epoch(1)] for rank in range(world)
    ]
    whole = [row for step in range(steps) for share in shares for row in share[step]]
    assert whole == order[: steps * 8].tolist()
    resumed = [batch.indices.tolist() for batch in batches(windows, Ranks(0, world), Plain()).epoch(1, start=5)]
    assert resumed == shares[0][5:]


def test_a_tar_is_asked_for_once_when_its_first_picture_is_about_to_be_read() -> None:
    pixels, asked = Plain(), []

    def fetch(unit: int) -> None:
        asked.append((unit, len(pixels.taken)))

    windows = Windows(UNITS, fetch, window=4)
    assert len(list(batches(windows, Ranks(), pixels).epoch(0))) == len(UNITS) // 8
    assert len({unit for unit, _ in asked}) == len(asked) >= 39
    for unit, before in asked:
        assert unit not in UNITS[pixels.taken[:before]]
        assert unit in UNITS[pixels.taken[before : before + 8]]
