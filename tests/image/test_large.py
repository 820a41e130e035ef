"""Pictures of a hundred million pixels and more: JPEGs are scaled while they are decoded, others need leave."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder import image
from beholder.base import limits
from beholder.base.errors import PictureError, UsageError
from beholder.base.fields import DataRecipe
from beholder.base.limits import LIMITS, Limits, allow, allow_as
from beholder.base.records import PixelPolicy
from beholder.cli import run as running
from beholder.image import jpeg, pillow
from beholder.image.jpeg import reduction
from beholder.sources.crops import Box, CropStore


@pytest.fixture(autouse=True)
def usual() -> Iterator[None]:
    yield
    allow(limits.MILLIONS)
    assert Limits() == LIMITS


def gradient(width: int, height: int) -> Image.Image:
    ramp = np.linspace(0, 255, 64)
    small = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), np.full((64, 64), 80)], axis=2)
    return Image.fromarray(small.astype(np.uint8)).resize((width, height), Image.Resampling.BILINEAR)


def saved(picture: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def test_a_jpeg_of_108_million_pixels_is_read() -> None:
    data = saved(Image.new("L", (12000, 9000), 90), quality=30)
    assert (image.header(data).height, image.header(data).width) == (9000, 12000)
    made = image.load(data, PixelPolicy(16, 16, 3))
    assert np.abs(made.astype(int) - 90).max() <= 2
    assert image.decode(data, channels=1).shape == (4500, 6000, 1)
    with pytest.raises(PictureError) as caught:
        image.decode(data, channels=1, limits=Limits(pixels=10_000_000))
    assert caught.value.code == "too-many-pixels"


@pytest.mark.parametrize("turn", [1, 6])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_what_is_scaled_while_decoding_looks_the_same(
    monkeypatch: pytest.MonkeyPatch, turn: int, options: dict[str, object]
) -> None:
    """A gradient, for there two filters agree: within two levels of the whole picture's, upright too."""
    exif = Image.Exif()
    exif[0x0112] = turn
    data = saved(gradient(801, 603), quality=95, exif=exif.tobytes(), **options)
    whole = image.load(data, PixelPolicy(24, 32, 3)).astype(int)
    monkeypatch.setattr(jpeg, "REDUCED_FROM", 100_000)
    monkeypatch.setattr(jpeg, "REDUCED_TO", 50_000)
    assert reduction(603, 801) == 4
    made = pillow.pixels(data, 3, (255, 255, 255), LIMITS)
    assert made.shape == ((151, 201, 3) if turn == 1 else (201, 151, 3))
    small = np.asarray(Image.fromarray(made).resize((32, 24), Image.Resampling.BILINEAR)).transpose(2, 0, 1)
    assert np.abs(small - whole).max() <= 3


def test_a_jpeg_far_beyond_the_limit_is_refused_before_it_is_read() -> None:
    data = bytearray(saved(Image.new("L", (64, 64))))
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 9] = b"\xff\x00\xff\x00"  # 65,280 a side
    with pytest.raises(PictureError) as caught:
        image.decode(bytes(data), channels=3)
    assert caught.value.code == "too-many-pixels"
    assert "BEHOLDER_PIXELS" in str(caught.value.hint)


def test_the_limit_is_raised_by_an_option() -> None:
    data = saved(Image.new("1", (11000, 10000), 1), "PNG")
    with pytest.raises(PictureError) as caught:
        image.decode(data, channels=1)
    assert caught.value.code == "too-many-pixels"
    allow_as(DataRecipe(pixels=120))
    assert image.header(data).width == 11000
    assert (image.load(data, PixelPolicy(8, 8, 1)) == 255).all()


def test_the_variable_raises_it_too(monkeypatch: pytest.MonkeyPatch) -> None:
    running._allow_pixels("200")
    assert (LIMITS.pixels, LIMITS.memory) == (200_000_000, 2 << 30)
    for text in ("lots", "0", "-1", "5000"):
        with pytest.raises(UsageError, match="BEHOLDER_PIXELS"):
            running._allow_pixels(text)
    monkeypatch.setitem(os.environ, "BEHOLDER_PIXELS", "many")
    assert running.run(["predict", "nowhere"]) == 2


def test_boxes_of_a_picture_that_is_scaled_while_decoding_are_where_they_were_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "decode", lambda *_, **__: np.asarray(gradient(200, 150)))
    data = saved(gradient(800, 600))

    class Store:
        name = "set"

        def read(self, key: str) -> bytes:
            return data

        def stamp(self, key: str) -> str:
            return ""

    box = Box("a", 400, 300, 480, 340)
    found = CropStore(Store(), {}).read(f"x.jpg#{','.join(map(str, box.rounded()))}")
    assert found.shape == (10, 20, 3)
    assert np.array_equal(found, np.asarray(gradient(200, 150))[75:85, 100:120])


def test_pictures_of_usual_size_are_not_scaled(tmp_path: Path) -> None:
    assert [reduction(*size) for size in ((6000, 8000), (10000, 10000), (8160, 12240))] == [1, 1, 1]
    assert [reduction(*size) for size in ((10000, 10001), (9000, 12000), (20000, 20000), (40000, 40000))] == [2, 2, 4, 8]
