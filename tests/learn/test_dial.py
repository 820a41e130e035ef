"""The width and the batch that follow from a measured speed."""

from __future__ import annotations

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
