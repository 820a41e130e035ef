"""What speaks for a box: the heat lies where covering costs the box its score, and says so in a file and in JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from tests import squares

import beholder
from beholder.base.arrays import F32, U8
from beholder.base.errors import PictureError, UsageError
from beholder.bundle.detector import Detector
from beholder.data.loader import normalised
from beholder.data.split import split
from beholder.explanation.boxes import BoxExplanation, chosen, explain, framed, point_of
from beholder.image import decode
from beholder.learn.detect import train


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> beholder.Pictures:
    return beholder.scan(squares.drawn(tmp_path_factory.mktemp("squares") / "set"))


@pytest.fixture(scope="module")
def detector(source: beholder.Pictures) -> Detector:
    fields: dict[str, Any] = {"epochs": 8, "batch": 8, "size": 96, "views": 2}
    return train(split(source, seed=0), precision="fp32", averaging=0.9, seed=3, **fields)


def pixels(source: beholder.Pictures, row: int = 0) -> U8:
    data = source.store.read(source.keys[row])
    assert isinstance(data, bytes)
    return decode(data, channels=3)


def lost(detector: Detector, picture: U8, told: BoxExplanation) -> F32:
    """What covering each place costs the logit of the box: float32 (H, W) at the net's pixels."""
    looked = detector.looked(picture)
    x = normalised(torch.from_numpy(looked.pixels[None]), detector.config.mean, detector.config.std)
    _, found = chosen(detector, looked.pixels, looked.size, label=told.label, box=None)
    assert found.box == told.box
    point = point_of(detector, x, looked.size, found)
    height, width = x.shape[2:]
    places = [(top, left) for top in range(0, height, 8) for left in range(0, width, 8)]
    covered = x.repeat(len(places) + 1, 1, 1, 1)
    for row, (top, left) in enumerate(places):
        covered[row, :, top : top + 8, left : left + 8] = 0
    with torch.no_grad():
        logits = detector.net(covered).logits[:, point.row, point.label]
    heat = (logits[-1] - logits[:-1]).relu().reshape(height // 8, width // 8)
    return np.asarray(heat.repeat_interleave(8, 0).repeat_interleave(8, 1))


def test_the_heat_lies_where_covering_costs_the_score(detector: Detector, source: beholder.Pictures) -> None:
    agreed, inside = [], []
    for row in range(4):
        picture = pixels(source, row)
        told = explain(detector, picture)
        oracle = lost(detector, picture, told)
        size = (oracle.shape[1], oracle.shape[0])
        heat = np.asarray(Image.fromarray(told.heat).resize(size, Image.Resampling.BILINEAR))
        agreed.append(np.corrcoef(heat.ravel(), oracle.ravel())[0, 1])
        left, top, right, bottom = (max(0, round(v)) for v in told.box)
        inside.append(told.heat[top:bottom, left:right].sum() / told.heat.sum())
        assert told.heat.shape == picture.shape[:2]
        assert told.heat.max() == pytest.approx(1, abs=0.05)
    assert np.mean(agreed) > 0.4
    assert np.mean(inside) > 0.6


def test_the_box_explained_is_one_that_is_told(detector: Detector, source: beholder.Pictures) -> None:
    picture = pixels(source)
    told = detector(picture, threshold=0.0).boxes
    surest = explain(detector, picture)
    assert (surest.box, surest.number, surest.label) == (told[0].box, 0, told[0].label)
    assert surest.p == told[0].p
    for name in detector.classes:
        mine = [box for box in told if box.label == name]
        assert not mine or explain(detector, picture, label=name).box == mine[0].box
    said = surest.json()
    assert set(said) == {"label", "p", "box", "number", "stride", "method", "reason", "covered", "remark"}
    assert said["box"] == [round(v, 2) for v in told[0].box]
    assert said["stride"] in (8, 16, 32)


def test_a_box_by_number_and_what_is_refused(detector: Detector, source: beholder.Pictures, tmp_path: Path) -> None:
    picture = pixels(source)
    told = detector(picture).boxes
    if len(told) > 1:
        assert explain(detector, picture, box=1).box == told[1].box
    with pytest.raises(UsageError, match="no class 'blue'"):
        explain(detector, picture, label="blue")
    with pytest.raises(UsageError, match="no box 99"):
        explain(detector, picture, box=99)
    with pytest.raises(UsageError):
        explain(tmp_path / "none.beholder", picture)
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(PictureError):
        explain(detector, tmp_path / "a.png")


def test_the_picture_is_saved_with_the_box_and_stays_as_it_was(
    detector: Detector, source: beholder.Pictures, tmp_path: Path
) -> None:
    told = explain(detector, pixels(source))
    before = told.explanation.picture.copy()
    path = told.save(tmp_path / "why.png")
    with Image.open(path) as image:
        assert image.width > 400
    assert (told.explanation.picture == before).all()
    with pytest.raises(UsageError):
        told.save(tmp_path / "why.txt")


def test_a_frame_is_drawn_around_the_pixels_of_the_box() -> None:
    picture = np.full((40, 60, 3), 128, np.uint8)
    drawn = framed(picture, (10.0, 5.0, 30.0, 25.0))
    assert (drawn[5, 10] == 255).all()
    assert (drawn[24, 29] == 255).all()
    assert (drawn[15, 20] == 128).all()
    assert (framed(picture, (-5.0, -5.0, 1.0, 100.0))[20, 40] == 128).all()


def test_the_net_stays_as_it_was(detector: Detector, source: beholder.Pictures) -> None:
    before = {name: value.clone() for name, value in detector.net.state_dict().items()}
    explain(detector, pixels(source))
    assert all(torch.equal(value, before[name]) for name, value in detector.net.state_dict().items())
    assert all(parameter.grad is None for parameter in detector.net.parameters())
