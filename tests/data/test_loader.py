"""Batches: their order, their parts, resident and streamed, and what evaluation reads."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from beholder.base.records import PixelPolicy
from beholder.data import loader
from beholder.data.augment import Augment, augment, mix, preset
from beholder.data.cache import cached
from beholder.data.loader import READY, Batch, Batches, plain, statistics
from beholder.machine.draws import Draws
from beholder.nets.build import build
from beholder.nets.spec import NetSpec
from beholder.sources import scan

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)


class Fake:
    """Random pixels in memory that count what is read of them."""

    shape = (3, 6, 5)

    def __init__(self, number: int = 23, *, wait: float = 0.0) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (number, *self.shape), dtype=np.uint8)
        self.read: list[int] = []
        self.wait = wait

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        time.sleep(self.wait)
        self.read += positions.tolist()
        return self.pixels[positions]


class Torn(Fake):
    def take(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
        raise OSError("the disk is gone")


def batches(
    pixels: Fake, *, batch: int = 4, plan: Augment | None = None, memory: int = 0, seed: int = 3, workers: int = 0
) -> Batches:
    targets = torch.eye(len(pixels))
    normal = {"mean": MEAN, "std": STD}
    return Batches(pixels, targets, batch=batch, seed=seed, device="cpu", plan=plan, memory=memory, workers=workers, **normal)


def normalised(pixels: npt.NDArray[np.uint8]) -> torch.Tensor:
    shape = (1, 3, 1, 1)
    values = (pixels.astype(np.float64) / 255 - np.reshape(MEAN, shape)) / np.reshape(STD, shape)
    return torch.from_numpy(values).float()


def reading() -> int:
    return sum(thread.name.startswith("beholder-read-ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_batch_is_the_pictures_it_names(memory: int) -> None:
    pixels = Fake()
    for batch in batches(pixels, memory=memory).epoch(0):
        assert batch.images.dtype == batch.targets.dtype == torch.float32
        assert batch.indices.dtype == torch.int64
        assert torch.allclose(batch.images, normalised(pixels.pixels[batch.indices.numpy()]), atol=1e-5)
        assert torch.equal(batch.targets.argmax(1), batch.indices)


@pytest.mark.parametrize("plan", [None, preset("light"), Augment(rotate=20, erase=0.5, mixup=0.3, cutmix=1.0)])
def test_resident_and_streamed_batches_are_equal_to_the_bit(plan: Augment | None) -> None:
    held, streamed = batches(Fake(), plan=plan, memory=1 << 30), batches(Fake(), plan=plan)
    assert held.resident
    assert not streamed.resident
    for epoch in range(3):
        for a, b in zip(held.epoch(epoch), streamed.epoch(epoch), strict=True):
            assert torch.equal(a.images, b.images)
            assert torch.equal(a.targets, b.targets)
            assert torch.equal(a.indices, b.indices)


def test_memory_is_the_boundary_of_what_stays() -> None:
    size = 23 * 3 * 6 * 5
    assert batches(Fake(), memory=size).resident
    assert not batches(Fake(), memory=size - 1).resident


@given(st.integers(1, 40), st.integers(1, 12), st.integers(0, 5))
def test_an_epoch_sees_each_picture_once_in_full_batches(number: int, batch: int, epoch: int) -> None:
    these = batches(Fake(number), batch=batch, memory=1 << 30)
    sizes = [b.indices.tolist() for b in these.epoch(epoch)]
    seen = [index for indices in sizes for index in indices]
    assert len(sizes) == len(these)
    assert len(set(seen)) == len(seen) == len(these) * min(batch, number)
    assert number - len(seen) < min(batch, number) if number >= batch else len(seen) == number


def test_no_pictures_are_no_batches() -> None:
    these = batches(Fake(0))
    assert len(these) == 0
    assert list(these.epoch(0)) == []


def test_the_order_is_of_the_seed_and_the_epoch() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return [i for batch in batches(Fake(), seed=seed, memory=1 << 30).epoch(epoch) for i in batch.indices.tolist()]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def same(a: Batch, b: Batch) -> bool:
    return torch.equal(a.images, b.images) and torch.equal(a.indices, b.indices)


@pytest.mark.parametrize("memory", [0, 1 << 30])
def test_a_later_start_gives_the_same_batches_and_reads_nothing_before(memory: int) -> None:
    plan = preset("standard")
    full = list(batches(Fake(), plan=plan, memory=memory).epoch(2))
    pixels = Fake()
    these = batches(pixels, plan=plan, memory=memory)
    pixels.read.clear()
    rest = list(these.epoch(2, start=3))
    assert all(same(a, b) for a, b in zip(full[3:], rest, strict=True))
    skipped = {int(i) for batch in full[:3] for i in batch.indices}
    assert not skipped & set(pixels.read)


def test_a_batch_is_augmented_and_mixed_by_its_draws() -> None:
    pixels = Fake()
    plan = Augment(rotate=15, brightness=0.3, mixup=0.5)
    batch = next(iter(batches(pixels, plan=plan).epoch(1)))
    draws = Draws(3, 1, batch.indices)
    images = augment(torch.from_numpy(pixels.pixels[batch.indices.numpy()]).float() / 255, draws, plan)
    images, targets = mix(images, torch.eye(23)[batch.indices], draws, plan)
    expected = (images - torch.tensor(MEAN).reshape(1, 3, 1, 1)) / torch.tensor(STD).reshape(1, 3, 1, 1)
    assert torch.allclose(batch.images, expected, atol=1e-5)
    assert torch.equal(batch.targets, targets)


def settled(pixels: Fake, number: int) -> int:
    """Wait until so many pictures were read, and a moment in which more could be; return how many were."""
    for _ in range(2000):
        if len(pixels.read) >= number:
            break
        time.sleep(0.01)
    time.sleep(0.05)
    return len(pixels.read)


def test_streaming_reads_a_few_batches_ahead_and_stops_when_left() -> None:
    pixels = Fake(400)
    epoch = batches(pixels).epoch(0)
    next(epoch)
    assert settled(pixels, 4 * (READY + 1)) == 4 * (READY + 1)
    assert 1 <= reading() <= READY
    epoch.close()
    assert reading() == 0


@pytest.mark.parametrize("workers", [1, 2, 64])
def test_the_number_of_workers_changes_no_batch_and_reads_no_further_ahead(workers: int) -> None:
    plan = preset("strong")
    pixels = Fake(400, wait=0.0005)
    epoch = batches(pixels, plan=plan, workers=workers).epoch(1)
    first = next(epoch)
    assert settled(pixels, 4 * (READY + 1)) == 4 * (READY + 1)
    expected = batches(Fake(400), plan=plan, memory=1 << 30).epoch(1)
    for a, b in zip([first, *epoch], expected, strict=True):
        assert same(a, b)
        assert torch.equal(a.targets, b.targets)


@pytest.mark.slow
def test_streaming_four_times_the_memory_stalls_for_less_than_a_twentieth_of_the_time(tmp_path: Path) -> None:
    """Pictures of CIFAR's size from the cache on disk, and a step of fastnet at a quarter of its width."""
    x = np.random.default_rng(0).integers(0, 256, (4096, 32, 32, 3), dtype=np.uint8)
    pixels = cached(scan((x, np.arange(4096) % 10)), PixelPolicy(32, 32), root=tmp_path)
    net = build(NetSpec("fastnet", channels=3, height=32, width_px=32, classes=10, width=0.25)).train()
    targets = torch.nn.functional.one_hot(torch.arange(4096) % 10, 10).float()
    these = Batches(
        pixels, targets, batch=512, seed=0, device="cpu", mean=MEAN, std=STD, plan=preset("light"), memory=x.nbytes // 4
    )
    assert not these.resident
    began = time.perf_counter()
    for batch in these.epoch(0):
        torch.nn.functional.cross_entropy(net(batch.images), batch.targets).backward()
    assert these.stall < 0.05 * (time.perf_counter() - began)


def test_waiting_for_pixels_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second passes by each look at the clock, so each of two batches is waited for a second."""
    seconds = iter(range(100))
    monkeypatch.setattr(loader, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    streamed, held = batches(Fake(8)), batches(Fake(8), memory=1 << 30)
    list(streamed.epoch(0))
    list(held.epoch(0))
    assert (streamed.stall, held.stall) == (2, 0)


def test_an_error_of_the_reading_thread_is_raised_here() -> None:
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches(Torn()).epoch(0))
    assert reading() == 0


def test_plain_reads_all_in_order() -> None:
    pixels = Fake()
    parts = list(plain(pixels, batch=10, device="cpu", mean=MEAN, std=STD))
    assert [len(part) for part in parts] == [10, 10, 3]
    assert torch.allclose(torch.cat(parts), normalised(pixels.pixels), atol=1e-5)
    assert list(plain(Fake(0), batch=10, device="cpu", mean=MEAN, std=STD)) == []


def test_statistics_agree_with_numpy() -> None:
    pixels = Fake(50)
    mean, std = statistics(pixels)
    values = pixels.pixels.astype(np.float64) / 255
    assert mean == pytest.approx(values.mean((0, 2, 3)))
    assert std == pytest.approx(values.std((0, 2, 3)))


def test_statistics_read_a_sample_spread_over_all() -> None:
    pixels = Fake(500)
    statistics(pixels, sample=20)
    assert pixels.read == list(range(0, 500, 25))


def test_statistics_of_one_colour_can_be_divided_by() -> None:
    pixels = Fake(5)
    pixels.pixels[:] = 7
    mean, std = statistics(pixels)
    assert mean == pytest.approx((7 / 255,) * 3)
    assert std == pytest.approx((1 / 255,) * 3)
