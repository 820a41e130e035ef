"""The quick roads of `image` against the reference, Pillow: which file takes which, and how far pixels may differ."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from beholder import image
from beholder.base.errors import PictureError
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import PixelPolicy
from beholder.image import jpeg2000, pillow, tiff
from beholder.image.fit import resized
from beholder.image.kinds import kind
from beholder.image.refusal import refusing

WHITE = (255, 255, 255)
SCENE = Image.effect_mandelbrot((61, 45), (-2, -1.2, 0.6, 1.2), 60).convert("RGB")
SCENE.paste((200, 40, 90), (5, 8, 30, 20))


def jpeg(picture: Image.Image = SCENE, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", **options)
    return buffer.getvalue()


def oriented(number: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = number
    return jpeg(exif=exif.tobytes())


def reference(data: bytes, channels: int = 3) -> Any:
    """What Pillow alone makes of a file, or the readers of what it gets wrong: pixels, or the code of the refusal."""
    road: Any = {"TIFF": tiff, "JPEG2000": jpeg2000}.get(kind(data), pillow)
    try:
        with refusing():
            return np.ascontiguousarray(road.pixels(data, channels, WHITE, LIMITS))
    except PictureError as error:
        return error.code


def found(data: bytes, channels: int = 3) -> Any:
    try:
        with refusing():
            return image._upright(data, channels, WHITE, LIMITS)
    except PictureError as error:
        return error.code


def agree(data: bytes, channels: int = 3) -> bool:
    """Whether a file has the pixels or the refusal that Pillow gives it, or libjpeg says that its pixels are damaged.

    A JPEG that claims more pixels than Pillow takes at once is scaled while it is decoded, and refused for what is wrong then.
    """
    a, b = found(data, channels), reference(data, channels)
    if isinstance(a, str) and (a == "damaged" or b == "too-many-pixels"):
        return True
    return a == b if isinstance(a, str) or isinstance(b, str) else np.array_equal(a, b)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Grows with each picture that simplejpeg decoded."""
    calls: list[bool] = []
    plain = simplejpeg.decode_jpeg

    def counted(*args: Any, **options: Any) -> Any:
        pixels = plain(*args, **options)
        calls.append(True)
        return pixels

    monkeypatch.setattr(simplejpeg, "decode_jpeg", counted)
    return calls


ORDINARY = {
    "baseline": jpeg(),
    "full colour": jpeg(quality=95, subsampling=0),
    "half colour": jpeg(quality=60, subsampling=1),
    "progressive": jpeg(progressive=True),
    "restarts": jpeg(restart_marker_blocks=3),
    "grey": jpeg(SCENE.convert("L")),
    "stored as RGB": jpeg(keep_rgb=True),
    "comment": jpeg(comment="by hand"),
    "profile": jpeg(icc_profile=b"\0" * 300),
    **{f"orientation {k}": oriented(k) for k in range(10)},
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ORDINARY)
def test_an_ordinary_jpeg_takes_the_quick_road_to_the_same_pixels(name: str, channels: int, quick: list[bool]) -> None:
    assert agree(ORDINARY[name], channels)
    assert quick == [True]


OTHERS = {
    "cmyk": jpeg(SCENE.convert("CMYK")),
    "truncated": jpeg()[:-40],
    "cut in the header": jpeg()[:100],
    "png": ORDINARY["baseline"][:0] + b"\x89PNG\r\n\x1a\n" + b"\0" * 40,
    "empty": b"",
    "no scan": b"\xff\xd8\xff\xe0\x00\x04\0\0" * 3,
    "twelve bits": jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c"),
    "lossless": jpeg().replace(b"\xff\xc0\x00\x11\x08", b"\xff\xc3\x00\x11\x08"),
    "noise between segments": jpeg().replace(b"\xff\xdb", b"\0\0\xff\xdb", 1),
    "a wrong byte in the scan": jpeg()[:-60] + b"\xff\x17" + jpeg()[-58:],
}


def test_a_scan_with_bits_that_mean_nothing_is_damaged() -> None:
    """Pillow passes on what libjpeg made of it: the rest of the picture is grey."""
    data = bytearray(jpeg(SCENE.resize((256, 256)), quality=90))
    start = data.index(b"\xff\xda") + 14
    for k in range(200):
        data[start + 900 + k] = (37 * k + 11) % 255
    whole = reference(jpeg(SCENE.resize((256, 256)), quality=90))
    assert np.mean(np.abs(reference(bytes(data)).astype(int) - whole) > 8) > 0.5
    assert found(bytes(data)) == "damaged"


@pytest.mark.parametrize("name", OTHERS)
def test_everything_else_is_judged_by_pillow(name: str, quick: list[bool]) -> None:
    assert agree(OTHERS[name])
    assert quick == []


def test_limits_hold_on_the_quick_road() -> None:
    for limits, code in ((Limits(pixels=100), "too-many-pixels"), (Limits(bytes=100), "too-many-bytes")):
        with pytest.raises(PictureError) as caught:
            image.load(ORDINARY["baseline"], PixelPolicy(8, 8, 3), limits=limits)
        assert caught.value.code == code


def test_without_simplejpeg_the_pixels_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    policy = PixelPolicy(24, 24, 3)
    here = [image.load(data, policy) for data in ORDINARY.values()]
    monkeypatch.setitem(__import__("sys").modules, "simplejpeg", None)
    for data, pixels in zip(ORDINARY.values(), here, strict=True):
        assert np.array_equal(image.load(data, policy), pixels)


@settings(max_examples=300)
@given(st.sampled_from(sorted(ORDINARY)), st.lists(st.tuples(st.integers(0, 1500), st.binary(max_size=4)), max_size=4))
def test_a_damaged_jpeg_has_the_pixels_or_the_refusal_that_pillow_gives_it(name: str, cuts: list[tuple[int, bytes]]) -> None:
    data = ORDINARY[name]
    for at, noise in cuts:
        data = data[:at] + noise + data[at + 2 :]
    assert agree(data)


def test_damage_that_makes_a_jpeg_claim_more_pixels_than_pillow_takes_is_refused() -> None:
    data = ORDINARY["baseline"]
    claims = data[:163] + b"-" + data[165:]
    assert isinstance(found(claims), str)
    assert reference(claims) == "too-many-pixels"
    assert agree(claims)


@settings(max_examples=200)
@given(st.integers(0, 2**32), st.tuples(*[st.integers(1, 90)] * 4), st.sampled_from([1, 3]), st.booleans())
def test_resizing_differs_from_pillow_by_two_levels_at_most(seed: int, size: tuple[int, ...], depth: int, hard: bool) -> None:
    height, width, tall, wide = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)[:, :, : depth if depth == 3 else 1]
    pixels = (pixels > 127).astype(np.uint8) * 255 if hard else pixels
    pixels = pixels if depth == 3 else pixels[:, :, 0]
    expected = np.asarray(Image.fromarray(pixels).resize((wide, tall), Image.Resampling.BILINEAR))
    assert np.abs(resized(pixels, tall, wide).astype(int) - expected).max() <= 2


def real(shared: Path) -> Iterator[bytes]:
    for name, step in (("trashnet-originals-200", 4), ("exif-orientation", 1), ("brain-mri", 5), ("ants-bees", 8)):
        with zipfile.ZipFile(shared / "data" / f"{name}.zip") as file:
            yield from (file.read(info) for info in file.infolist()[::step] if not info.is_dir())
    with tarfile.open(shared / "data" / "hostile-images.tar.xz") as tar:
        files = (tar.extractfile(member) for member in tar if member.isfile())
        yield from (file.read() for file in files if file is not None)


@pytest.mark.slow
@pytest.mark.shared
def test_real_pictures_are_within_the_stated_tolerance(shared: Path) -> None:
    """EXIF, CMYK, grey, palettes, 16 bits and damage: pixels before resizing are equal; after it two levels apart at most."""
    worst, means = [], []
    for data in real(shared):
        pixels, expected = found(data), reference(data)
        assert isinstance(pixels, str) == isinstance(expected, str)
        if isinstance(pixels, str):
            assert pixels == expected
            continue
        assert np.array_equal(pixels, expected)
        ours = image.load(data, PixelPolicy(224, 224, 3)).transpose(1, 2, 0)
        theirs = np.asarray(Image.fromarray(expected).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR))
        apart = np.abs(ours.astype(int) - theirs)
        worst.append(int(apart.max()))
        means.append(apart.mean())
    assert len(worst) > 250
    assert max(worst) <= 2
    assert np.mean(np.array(worst) == 2) < 0.05
    assert np.mean(means) < 0.03
