"""HEIF through pillow-heif: pixels, depth, alpha, orientation, and what happens without the extra."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder import image
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.base.records import PixelPolicy

RGB = np.random.default_rng(0).integers(0, 256, (46, 62, 3), np.uint8)


def heif(pixels: np.ndarray, mode: str = "RGB", **options: Any) -> bytes:
    """A lossless HEIF of pixels uint8, or of uint16 at 10 or 12 bits (mode RGB;16)."""
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    height, width = pixels.shape[:2]
    pillow_heif.encode(
        mode, (width, height), pixels.tobytes(), buffer, quality=-1, chroma=444, matrix_coefficients=0, **options
    )
    return buffer.getvalue()


def code(data: bytes, limits: Limits = Limits()) -> str:  # noqa: B008
    with pytest.raises(PictureError) as caught:
        image.load(data, PixelPolicy(8, 8, 3), limits=limits)
    assert caught.value.hint
    return caught.value.code


def test_pixels_are_those_that_were_saved() -> None:
    data = heif(RGB)
    np.testing.assert_array_equal(image.decode(data, channels=3), RGB)
    assert image.header(data) == image.Header(46, 62, 3, "HEIF")
    grey = np.asarray(Image.fromarray(RGB).convert("L"))
    np.testing.assert_array_equal(image.decode(data, channels=1)[:, :, 0], grey)


@pytest.mark.parametrize("bits", [10, 12])
def test_depth_is_scaled_not_clipped(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_heif = pytest.importorskip("pillow_heif")
    monkeypatch.setattr(pillow_heif.options, "SAVE_HDR_TO_12_BIT", bits == 12)
    values = np.linspace(0, 65535, 32 * 32 * 3).reshape(32, 32, 3).astype(np.uint16)
    found = image.decode(heif(values, "RGB;16"), channels=3)
    assert (found.min(), found.max()) == (0, 255)
    assert np.abs(found - values / 257).max() <= 1


def test_alpha_is_composed_on_the_background() -> None:
    alpha = np.linspace(0, 255, 46 * 62).reshape(46, 62, 1).astype(np.uint8)
    data = heif(np.concatenate([RGB, alpha], axis=2), "RGBA")
    assert image.header(data).channels == 4
    share = alpha / 255
    found = image.decode(data, channels=3, background=(10, 200, 30))
    assert np.abs(found - (RGB * share + np.array([10, 200, 30]) * (1 - share))).max() <= 1.01


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied_once(orientation: int) -> None:
    from beholder.image.pillow import turned

    exif = Image.Exif()
    exif[0x0112] = orientation
    pillow_heif = pytest.importorskip("pillow_heif")
    buffer = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(RGB)).save(
        buffer, exif=exif.tobytes(), quality=-1, chroma=444, matrix_coefficients=0
    )
    found = image.decode(buffer.getvalue(), channels=3)
    np.testing.assert_array_equal(found, turned(RGB, orientation))
    assert image.header(buffer.getvalue()).height == found.shape[0]


def test_refusals_have_reason_codes() -> None:
    data = heif(RGB)
    assert code(data, Limits(pixels=100)) == "too-many-pixels"
    assert code(data, Limits(bytes=100)) == "too-many-bytes"
    for end in (30, 200, len(data) // 2, len(data) - 9):
        assert code(data[:end]) in ("truncated", "damaged")


def test_without_the_extra_the_hint_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(PictureError, match="pillow-heif") as caught:
        image.load(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", PixelPolicy(8, 8, 3))
    assert caught.value.code == "needs-extra"
    assert caught.value.hint == "pip install 'beholder[heif]'"


def test_avif_is_told_from_heif_by_its_brands() -> None:
    from beholder.image.kinds import kind

    def begins(first: bytes, *others: bytes) -> str:
        box = b"ftyp" + first + b"\0\0\0\0" + b"".join(others)
        return kind((4 + len(box)).to_bytes(4, "big") + box + b"\0" * 40)

    assert begins(b"avif", b"mif1") == begins(b"mif1", b"miaf", b"avif") == begins(b"msf1", b"avis") == "AVIF"
    assert begins(b"heic") == begins(b"hevx") == begins(b"mif1", b"heic") == begins(b"mif1") == "HEIF"
    assert begins(b"isom", b"mp42") == ""
