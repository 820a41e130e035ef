from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from beholder import image
from beholder.base.errors import PictureError
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import PixelPolicy
from beholder.image import pillow

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (12, 20, 3), np.uint8)


@pytest.mark.parametrize("size", [(20, 12), (6, 4)])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_a_net_is_given_may_be_written_to(mode: str, size: tuple[int, int]) -> None:
    data = encoded(Image.fromarray(RGB).convert(mode))  # torch warns of arrays that may only be read
    for channels in (1, 3):
        pixels = image.load(data, PixelPolicy(height=size[1], width=size[0], channels=channels))
        assert pixels.shape == (channels, size[1], size[0])
        assert pixels.flags.writeable
        assert pixels.flags.c_contiguous


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def code(data: bytes | np.ndarray, limits: Limits = LIMITS) -> str:
    with pytest.raises(PictureError) as caught:
        image.load(data, PixelPolicy(8, 8, 3), limits=limits)
    assert caught.value.hint
    return caught.value.code


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_formats_give_the_pixels_that_were_saved(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(Image.fromarray(RGB), kind, **options)
    np.testing.assert_array_equal(image.decode(data, channels=3), RGB)
    np.testing.assert_array_equal(image.load(data, PixelPolicy(12, 20, 3)), RGB.transpose(2, 0, 1))
    assert image.header(data) == image.Header(12, 20, 3, kind)


@pytest.mark.parametrize("kind", ["JPEG", "GIF", "AVIF", "JPEG2000"])
def test_lossy_formats_come_near(kind: str) -> None:
    smooth = np.full((16, 24, 3), (200, 90, 30), np.uint8)
    found = image.decode(encoded(Image.fromarray(smooth), kind), channels=3)
    assert np.abs(found.astype(int) - smooth).max() <= 8


def upright(stored: np.ndarray, orientation: int) -> np.ndarray:
    """The EXIF standard, table 6: what row 0 and column 0 of the stored picture are in the upright one."""
    changes = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, -1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, 1),
    }
    return changes.get(orientation, changes[1])(stored)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "JPEG"])
@pytest.mark.parametrize("orientation", range(0, 10))
def test_exif_orientation_is_applied_in_every_format(kind: str, orientation: int) -> None:
    blocks = np.kron(RNG.integers(0, 2, (2, 3, 3), np.uint8) * 255, np.ones((16, 16, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(kind, {})
    data = encoded(Image.fromarray(blocks), kind, exif=exif.tobytes(), **options)
    found, expected = image.decode(data, channels=3), upright(blocks, orientation)
    assert found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= 24
    head = image.header(data)
    assert (head.height, head.width) == expected.shape[:2]


@pytest.mark.shared
def test_real_photos_in_all_orientations_show_the_same_scene(shared: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared / "data" / "exif-orientation.zip") as file:
        views = [image.load(file.read(f"Portrait_{n}.jpg"), PixelPolicy(48, 32, 3)).astype(float) for n in range(1, 9)]
    for view in views[1:]:
        assert np.abs(view - views[0]).mean() < 6


@given(hnp.arrays(np.uint16, (5, 7)))
def test_sixteen_bits_are_scaled_not_clipped(values: np.ndarray) -> None:
    expected = np.rint(values.astype(np.float64) / 257).astype(np.uint8)
    for data in (values, encoded(Image.fromarray(values)), encoded(Image.fromarray(values), "TIFF")):
        np.testing.assert_array_equal(image.decode(data, channels=1)[:, :, 0], expected)


@given(hnp.arrays(np.int32, (4, 6), elements=st.integers(-(2**31), 2**31 - 1)))
def test_wide_whole_numbers_are_scaled_by_their_range(values: np.ndarray) -> None:
    exact = values.astype(np.float64)
    low, high = exact.min(), exact.max()
    low, high = (0, 255 if high <= 255 else 65535) if low >= 0 and high <= 65535 else (low, max(high, low + 1))
    expected = (exact - low) / (high - low) * 255
    found = image.decode(encoded(Image.fromarray(values), "TIFF"), channels=1)[:, :, 0]
    assert np.abs(found - expected).max() <= 0.501


@given(hnp.arrays(np.float32, (4, 6), elements=st.floats(0, 1, width=32)))
def test_floats_from_0_to_1_are_scaled_by_255(values: np.ndarray) -> None:
    for data in (values, encoded(Image.fromarray(values), "TIFF")):
        assert np.abs(image.decode(data, channels=1)[:, :, 0] - values.astype(np.float64) * 255).max() <= 0.501


@given(hnp.arrays(np.float64, (4, 6), elements=st.floats(-1e6, 1e6)))
def test_other_floats_are_scaled_from_least_to_largest(values: np.ndarray) -> None:
    low, high = values.min(), values.max()
    low, high = (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)
    expected = (values - low) / ((high - low) or 1.0) * 255
    assert np.abs(image.decode(values, channels=1)[:, :, 0] - expected).max() <= 0.501


def test_a_tiff_of_twelve_bits_uses_its_own_range() -> None:
    tiff = bytearray(encoded(Image.fromarray(np.array([[0, 4095]], np.uint16)), "TIFF"))
    assert image.decode(bytes(tiff), channels=1)[0, :, 0].tolist() == [0, 16]
    values = np.array([[0, 2048, 4095]], np.uint16)
    packed = int("".join(f"{v:012b}" for v in values[0].tolist()).ljust(40, "0"), 2).to_bytes(5, "big")
    data = b"II*\0\x0e\0\0\0\0" + packed + _directory(width=3, height=1, bits=12, offset=9, size=5)
    assert image.decode(data, channels=1)[0, :, 0].tolist() == [0, 128, 255]


def _directory(*, width: int, height: int, bits: int, offset: int, size: int) -> bytes:
    import struct

    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, 1), (273, offset), (277, 1), (278, height), (279, size)]
    return struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHLL", t, 4, 1, v) for t, v in tags) + b"\0\0\0\0"


@given(hnp.arrays(np.uint8, (5, 4, 4)), st.tuples(*[st.integers(0, 255)] * 3))
def test_alpha_is_composed_on_the_background(pixels: np.ndarray, background: tuple[int, int, int]) -> None:
    alpha = pixels[:, :, 3:].astype(np.float64) / 255
    expected = pixels[:, :, :3] * alpha + np.array(background) * (1 - alpha)
    for data in (encoded(Image.fromarray(pixels)), pixels):
        found = image.decode(data, channels=3, background=background)
        assert np.abs(found - expected).max() <= 1.01


def test_grey_with_alpha_stays_grey_and_a_transparent_palette_is_composed() -> None:
    two = Image.new("LA", (2, 1), (100, 255))
    two.putpixel((1, 0), (100, 0))
    assert image.decode(encoded(two), channels=1)[0, :, 0].tolist() == [100, 255]
    assert image.decode(encoded(two), channels=3, background=(255, 0, 0))[0].tolist() == [[100, 100, 100], [255, 0, 0]]
    indexed = Image.new("P", (2, 1))
    indexed.putpalette([10, 20, 30, 200, 100, 50])
    indexed.putpixel((1, 0), 1)
    data = encoded(indexed, transparency=0)
    assert image.header(data).channels == 4
    assert image.decode(data, channels=3, background=(1, 2, 3))[0].tolist() == [[1, 2, 3], [200, 100, 50]]


@pytest.mark.parametrize(
    ("mode", "colour", "kind", "expected"),
    [
        ("1", 1, "PNG", (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), "TIFF", (255, 0, 0)),
        ("CMYK", (0, 0, 0, 255), "TIFF", (0, 0, 0)),
        ("YCbCr", (76, 85, 255), "TIFF", (255, 0, 0)),
        ("LAB", (255, 128, 128), None, (255, 255, 255)),
        ("La", (255, 255), None, (255, 255, 255)),
        ("PA", (0, 0), None, (255, 255, 255)),
        ("HSV", (0, 255, 255), None, (255, 0, 0)),
    ],
)
def test_other_modes_become_rgb(mode: str, colour: Any, kind: str | None, expected: tuple[int, ...]) -> None:
    picture = Image.new(mode, (3, 2), colour)
    if kind:
        found = image.decode(encoded(picture, kind), channels=3)
    else:
        found = np.asarray(Image.fromarray(pillow.converted(picture, 3, (255, 255, 255))).convert("RGB"))
    assert found.shape == (2, 3, 3)
    assert np.abs(found.astype(int) - expected).max() <= 2


def test_an_animation_is_its_first_frame() -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "PNG", "WEBP"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert np.abs(image.decode(data, channels=3).astype(int) - (255, 0, 0)).max() <= 3


@given(
    st.sampled_from(["squash", "pad", "crop"]),
    st.integers(1, 60),
    st.integers(1, 60),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_every_fit_gives_the_asked_shape(
    fit: str, h: int, w: int, height: int, width: int, channels: int, colour: bool
) -> None:
    pixels = np.full((h, w, 3) if colour else (h, w), 77, np.uint8)
    policy = PixelPolicy(height, width, channels, fit, background=(77, 77, 77))
    found = image.load(pixels, policy)
    assert found.shape == (channels, height, width)
    assert (found == 77).all()


def test_fits_do_what_they_say() -> None:
    wide = np.zeros((10, 30, 3), np.uint8)
    wide[:, 10:20] = 200
    crop = image.load(wide, PixelPolicy(10, 10, 3, "crop"))
    assert (crop == 200).all()
    pad = image.load(wide, PixelPolicy(30, 30, 3, "pad", background=(9, 8, 7)))
    np.testing.assert_array_equal(pad[:, 10:20], wide.transpose(2, 0, 1))
    assert pad[:, 0, 0].tolist() == [9, 8, 7] == pad[:, 29, 29].tolist()
    squash = image.load(wide, PixelPolicy(10, 3, 1, "squash"))
    assert squash[0, 5].tolist()[1] > 130 > squash[0, 5].tolist()[0]


def test_reduction_is_antialiased() -> None:
    stripes = np.tile(np.array([0, 255], np.uint8), (64, 32))
    found = image.load(stripes, PixelPolicy(8, 8, 1))
    assert np.abs(found.astype(int) - 127).max() <= 10


@pytest.mark.parametrize("shape", [(4, 6), (4, 6, 1), (1, 4, 6)])
def test_grey_arrays_in_every_shape(shape: tuple[int, ...]) -> None:
    values = np.arange(24, dtype=np.uint8)
    assert image.decode(values.reshape(shape), channels=1).ravel().tolist() == values.tolist()
    assert image.load(values.reshape(shape), PixelPolicy(4, 6, 3)).shape == (3, 4, 6)


def test_channels_first_arrays() -> None:
    np.testing.assert_array_equal(image.decode(RGB.transpose(2, 0, 1), channels=3), RGB)


def test_luma_is_that_of_pillow() -> None:
    grey = np.asarray(Image.fromarray(RGB).convert("L"))
    np.testing.assert_array_equal(image.decode(encoded(Image.fromarray(RGB)), channels=1)[:, :, 0], grey)


def test_refusals_have_reason_codes() -> None:
    png, jpeg = encoded(Image.fromarray(RGB)), encoded(Image.fromarray(RGB), "JPEG")
    assert code(b"") == "empty"
    assert code(b"hello, world") == "not-a-picture"
    assert code(b"BMW is a car") == "not-a-picture"
    assert code(jpeg[: len(jpeg) // 2]) == "truncated"
    assert code(png[:20]) in ("truncated", "damaged")
    assert code(png[: len(png) // 2]) == "truncated"
    assert code(png, Limits(pixels=239)) == "too-many-pixels"
    assert code(png, Limits(bytes=len(png) - 1)) == "too-many-bytes"
    assert code(np.full((3, 3), np.nan)) == "not-finite"
    assert code(np.full((3, 3), np.inf, np.float32)) == "not-finite"
    assert code(np.zeros((3, 3), np.int64)) == "bad-array"
    assert code(np.zeros((5, 5, 2), np.uint8)) == "bad-array"
    assert code(np.zeros((0, 3), np.uint8)) == "bad-array"
    assert image.load(png, PixelPolicy(8, 8, 3), limits=Limits(pixels=240, bytes=len(png))).shape == (3, 8, 8)


@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"II*\0", b"BM", b"P5 "])
)
def test_noise_is_never_a_crash(noise: bytes, magic: bytes) -> None:
    for read in (image.header, lambda data: image.load(data, PixelPolicy(4, 4, 3))):
        with contextlib.suppress(PictureError):
            read(magic + noise)


@given(st.integers(0, 10_000), st.integers(0, 255))
def test_a_changed_byte_is_never_a_crash(position: int, value: int) -> None:
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "TIFF"):
        data = bytearray(encoded(Image.fromarray(RGB), kind))
        data[position % len(data)] = value
        with contextlib.suppress(PictureError):
            assert image.load(bytes(data), PixelPolicy(4, 4, 3)).shape == (3, 4, 4)
