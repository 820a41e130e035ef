"""Conversions against values computed by hand: 16 bits in every kind of PNG and TIFF, transparent values, CMYK."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from beholder import image
from beholder.base.errors import PictureError
from beholder.image.depth import in_bytes, scaled
from beholder.image.integrity import check_jpeg2000, check_png

RNG = np.random.default_rng(0)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png16(values: np.ndarray, colour: int, more: bytes = b"") -> bytes:
    """A PNG of 16 bits; colour: 0 grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha, which Pillow does not write."""
    head = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + more + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def tiff16(values: np.ndarray) -> bytes:
    """A TIFF of 3 × 16 bits, which Pillow does not write."""
    (high, wide, depth), pixels = values.shape, values.astype("<u2").tobytes()
    tags = [(256, 3, 1, wide), (257, 3, 1, high), (258, 3, depth, 8), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 16)]
    tags += [(277, 3, 1, depth), (278, 3, 1, high), (279, 4, 1, len(pixels))]
    body = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    start = b"II*\0" + struct.pack("<I", 16 + len(pixels)) + struct.pack("<4H", 16, 16, 16, 16)
    return start + pixels + struct.pack("<H", len(tags)) + body + b"\0\0\0\0"


DEEP = hnp.arrays(np.uint16, (4, 5, 3))


@given(DEEP)
def test_colours_of_sixteen_bits_are_scaled_to_half_a_level(values: np.ndarray) -> None:
    """Both bytes of each count: half a level from the exact value, white stays white."""
    for data in (png16(values, 2), tiff16(values)):
        assert np.abs(image.decode(data, channels=3) - values / 257).max() <= 0.501
    white = np.full((2, 2, 3), 65535, np.uint16)
    assert (image.decode(png16(white, 2), channels=3) == 255).all()


@given(hnp.arrays(np.uint16, (4, 5, 4)))
def test_transparency_of_sixteen_bits_is_composed_to_two_levels(values: np.ndarray) -> None:
    """Colour and transparency are rounded, half a level each, and so is the sum; Pillow's own is another half."""
    share = values[:, :, 3:] / 65535
    found = image.decode(png16(values, 6), channels=3, background=(10, 200, 90))
    assert np.abs(found - (values[:, :, :3] / 257 * share + np.array([10, 200, 90]) * (1 - share))).max() < 2
    grey, share = values[:, :, :1] / 257, values[:, :, 1:2] / 65535
    assert np.abs(image.decode(png16(values[:, :, :2], 4), channels=1) - (grey * share + 255 * (1 - share))).max() < 2


def test_a_transparent_value_of_sixteen_bits_becomes_the_background() -> None:
    data = png16(np.array([[1000, 65535, 30000]]), 0, chunk(b"tRNS", struct.pack(">H", 30000)))
    assert image.decode(data, channels=1)[0, :, 0].tolist() == [4, 255, 255]
    assert image.decode(data, channels=3)[0].tolist() == [[4] * 3, [255] * 3, [255] * 3]
    assert image.decode(data, channels=3, background=(9, 8, 7))[0].tolist() == [[4] * 3, [255] * 3, [9, 8, 7]]
    assert image.decode(data, channels=1, background=(255, 0, 0))[0, :, 0].tolist() == [4, 255, 76]


def test_a_transparent_colour_of_sixteen_bits_becomes_the_background_and_its_neighbours_do_not() -> None:
    values = np.array([[[1000, 2000, 3000], [1001, 2000, 3000], [65535, 0, 0]]])
    data = png16(values, 2, chunk(b"tRNS", struct.pack(">3H", 1000, 2000, 3000)))
    assert image.decode(data, channels=3, background=(9, 8, 7))[0].tolist() == [[9, 8, 7], [4, 8, 12], [255, 0, 0]]


@given(hnp.arrays(np.uint8, (4, 5, 4)))
def test_cmyk_is_ink_on_white(values: np.ndarray) -> None:
    buffer = io.BytesIO()
    Image.fromarray(values, "CMYK").save(buffer, "TIFF")
    ink = values.astype(float)
    expected = (255 - ink[:, :, :3]) * (255 - ink[:, :, 3:]) / 255
    assert np.abs(image.decode(buffer.getvalue(), channels=3) - expected).max() <= 0.501


def test_cmyk_of_a_jpeg_is_ink_on_white() -> None:
    """Adobe's JPEGs hold it inverted."""
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    values = np.stack([np.tile(ramp, (64, 1)), np.tile(ramp[:, None], (1, 64)), *np.zeros((2, 64, 64), np.uint8)], axis=2)
    buffer = io.BytesIO()
    Image.fromarray(values, "CMYK").save(buffer, "JPEG", quality=95)
    assert np.abs(image.decode(buffer.getvalue(), channels=3) - (255.0 - values[:, :, :3])).max() <= 8


@given(st.integers(1, 256), st.booleans(), st.integers(0, 2**32))
def test_palettes_give_their_colours(colours: int, clear: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.integers(0, 256, (colours, 3), np.uint8)
    index = rng.integers(0, colours, (5, 6), np.uint8)
    picture = Image.fromarray(index)
    picture.putpalette(table.tobytes())
    expected = table[index]
    buffer = io.BytesIO()
    if clear:
        alpha = rng.integers(0, 256, colours, np.uint8)
        picture.save(buffer, "PNG", transparency=alpha.tobytes())
        share = alpha[index][:, :, None] / 255
        assert np.abs(image.decode(buffer.getvalue(), channels=3) - (expected * share + 255 * (1 - share))).max() <= 1.01
    else:
        picture.save(buffer, "PNG")
        np.testing.assert_array_equal(image.decode(buffer.getvalue(), channels=3), expected)


def test_values_in_blocks_are_the_values_at_once() -> None:
    deep = RNG.integers(0, 65536, (2100, 1000), np.uint16)
    np.testing.assert_array_equal(scaled(deep), np.rint(deep.astype(np.float32) / 65535 * 255).astype(np.uint8))
    assert in_bytes(np.zeros((0, 5)), lambda block: block).shape == (0, 5)


def code(data: bytes) -> str:
    with pytest.raises(PictureError) as caught:
        image.decode(data, channels=3)
    return caught.value.code


def test_a_bit_that_turned_over_in_a_png_is_seen_wherever_it_is() -> None:
    buffer = io.BytesIO()
    Image.effect_mandelbrot((61, 45), (-2, -1.2, 0.6, 1.2), 60).save(buffer, "PNG")
    data = buffer.getvalue()
    check_png(data)
    whole = image.decode(data, channels=3)
    for at in range(16, len(data), 7):
        changed = bytearray(data)
        changed[at] ^= 1 << at % 8
        with contextlib.suppress(PictureError):
            assert np.array_equal(image.decode(bytes(changed), channels=3), whole)
    changed = bytearray(data)
    changed[-30] ^= 4
    assert code(bytes(changed)) == "damaged"


@pytest.mark.parametrize("bare", [False, True])
def test_a_jpeg_2000_without_all_of_its_tiles_is_truncated(bare: bool) -> None:
    buffer = io.BytesIO()
    scene = Image.effect_mandelbrot((61, 45), (-2, -1.2, 0.6, 1.2), 60)
    scene.save(buffer, "JPEG2000", tile_size=(32, 32), no_jp2=bare)
    data = buffer.getvalue()
    check_jpeg2000(data)
    starts = [k for k in range(len(data)) if data[k : k + 4] == b"\xff\x90\0\x0a"]
    assert len(starts) == 4
    for end in starts:
        assert code(data[:end]) == "truncated"


@pytest.mark.parametrize("most", [511, 1023, 4095, 16383])
def test_a_ppm_that_says_its_range_is_read_by_it_whatever_the_set_uses(most: int) -> None:
    wanted = np.arange(0, 256, 5, dtype=np.uint8)[None]
    values = np.rint(wanted / 255 * most).astype(">u2")
    data = b"P5\n%d 1\n%d\n" % (values.size, most) + values.tobytes()
    assert image.top(data) == 0, "no set has to be asked"
    for bits in (0, 10, 12, 16):
        assert (image.decode(data, channels=1, bits=bits)[:, :, 0] == wanted).all()


def test_a_deep_tiff_that_does_not_say_what_zero_is_has_black_there() -> None:
    """As libtiff reads it: `TIFFRGBAImageBegin` takes one channel without a photometric for brightness."""
    entries = [(256, 4, 4), (257, 4, 1), (258, 3, 16), (259, 3, 1), (273, 4, 0), (278, 4, 1), (279, 4, 8)]
    start = 8 + 2 + 12 * len(entries) + 4
    entries[4] = (273, 4, start)
    table = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    values = struct.pack("<4H", 0, 0x5555, 0xAAAA, 0xFFFF)
    data = b"II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + table + b"\0\0\0\0" + values
    assert image.decode(data, channels=1).ravel().tolist() == [0, 85, 170, 255]
