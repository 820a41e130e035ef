"""The width and the batch that follow from a measured speed."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from beholder.base.fields import NetRecipe
from beholder.base.records import PixelPolicy
from beholder.learn import dial
from beholder.machine.device import Precision


@pytest.mark.parametrize(
    ("asked", "n", "seconds", "width", "batch", "rate"),
    [
        (0.0, 3000, 9.0, 0.5, 32, 1000.0),  # three passes: the width that it has
        (0.0, 3000, 6.0, 0.25, 64, 1000 * 2**1.4),  # two are too few, at half the width they would be five
        (0.0, 30_000, 6.0, 0.125, 256, 1000 * 4**1.4),
        (0.0, 50_000, 900.0, 0.75, 2048, 1000 * 1.5**-1.4),  # ten passes at the greater width, of many pictures
        (0.5, 30_000, 6.0, 0.5, 32, 1000.0),  # what a person asks for stays
        (0.5, 30_000, 60.0, 0.5, 256, 1000.0),  # 400 pictures a step leave 150 steps: the power of two below
    ],
)
def test_width_and_batch_follow_from_the_speed(
    asked: float, n: int, seconds: float, width: float, batch: int, rate: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dial, "seconds_each", lambda *_: 0.001)
    monkeypatch.setattr(dial, "threads", lambda *_: None)
    found = dial.dialled(
        NetRecipe(name="fastnet", width=0.5),
        PixelPolicy(16, 16, 3),
        n=n,
        classes=2,
        asked=asked,
        seconds=seconds,
        on=torch.device("cpu"),
        precision=Precision("fp32", torch.float32, "asked"),
    )
    assert (found.width, found.batch) == (width, batch)
    assert found.rate == pytest.approx(rate)
    assert found.why == f"width {width:g}: it learns about {rate:,.0f} pictures a second here and now"


@pytest.mark.parametrize(("device", "tried"), [("cpu", 1), ("meta", 0)])
def test_the_net_that_is_timed_is_the_one_that_will_learn(monkeypatch: pytest.MonkeyPatch, device: str, tried: int) -> None:
    made: list[Any] = []
    timed: list[Any] = []
    threads: list[Any] = []

    def create(net: NetRecipe, **how: Any) -> Any:
        made.append((net.width, net.weights, net.init, how))
        return SimpleNamespace(net=torch.nn.Linear(1, 1))

    def seconds_each(net: Any, images: Any, precision: Any) -> float:
        timed.append((tuple(images.shape), images.device.type, precision.name))
        return 0.001

    monkeypatch.setattr(dial, "create", create)
    monkeypatch.setattr(dial, "seconds_each", seconds_each)
    monkeypatch.setattr(dial, "threads", lambda *given: threads.append(given))
    dial.dialled(
        NetRecipe(name="fastnet", width=0.5, weights="auto", init="zca"),
        PixelPolicy(16, 20, 1),
        n=3000,
        classes=1,
        asked=0.25,
        seconds=9.0,
        on=torch.device(device),
        precision=Precision("fp32", torch.float32, "asked"),
    )
    assert made == [(0.25, "none", "auto", {"channels": 1, "size": (16, 20), "classes": 2})]
    assert timed == [((dial.SAMPLE, 1, 16, 20), device, "fp32")]
    assert len(threads) == tried


@pytest.mark.parametrize(
    ("name", "width", "n", "seconds", "chosen"),
    [
        ("fastnet", 0.5, 40_000, 8 * 40 * 1.5**1.4 + 0.01, 0.75),  # eight epochs at three quarters, to a hundredth of a second
        ("fastnet", 0.5, 40_000, 8 * 40 * 1.5**1.4 - 0.01, 0.5),
        ("fastnet", 0.5, 39_999, 900.0, 0.5),  # too few pictures
        ("fastnet", 0.25, 40_000, 9000.0, 0.25),
        ("fastnet", 0.25, 30_000, 1.0, 0.125),
        ("fastnet", 0.125, 30_000, 1.0, 0.125),  # there is no narrower one
        ("cnn", 1.0, 30_000, 1.0, 1.0),  # a net without a dial
        ("fastnet", 0.0, 3000, 9.0, 1.0),  # none is named: its full width
    ],
)
def test_a_width_is_changed_where_that_pays(
    monkeypatch: pytest.MonkeyPatch, name: str, width: float, n: int, seconds: float, chosen: float
) -> None:
    monkeypatch.setattr(dial, "create", lambda *_, **__: SimpleNamespace(net=torch.nn.Linear(1, 1)))
    monkeypatch.setattr(dial, "seconds_each", lambda *_: 0.001)
    monkeypatch.setattr(dial, "threads", lambda *_: None)
    how: dict[str, Any] = {"n": n, "classes": 2, "asked": 0.0, "seconds": seconds}
    exact = Precision("fp32", torch.float32, "asked")
    found = dial.dialled(
        NetRecipe(name=name, width=width), PixelPolicy(16, 16, 3), **how, on=torch.device("cpu"), precision=exact
    )
    assert found.width == chosen
