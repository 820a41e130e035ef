"""TIFF, PNG and JPEG 2000 against readers that are not Pillow: tifffile, imagecodecs, OpenCV; skipped where one is absent."""

from __future__ import annotations

import io
import itertools
import struct
import zlib
from typing import Any

import numpy as np
import pytest

from beholder import image
from beholder.base.errors import PictureError

HEIGHT, WIDTH = 21, 37
LAYOUTS = (
    {}, {"byteorder": ">"}, {"tile": (16, 16)}, {"rowsperstrip": 5, "compression": "zlib"},
    {"compression": "zlib", "predictor": True}, {"compression": "zlib", "byteorder": ">", "tile": (16, 32)},
    {"compression": "lzw", "predictor": True, "byteorder": ">"}, {"compression": "packbits", "byteorder": ">"},
)  # fmt: skip
PHOTOMETRIC = (
    ("minisblack", 1, ""), ("miniswhite", 1, ""), ("rgb", 3, "contig"), ("rgb", 3, "separate"), ("rgb", 4, "contig"),
    ("rgb", 4, "separate"), ("separated", 4, "contig"), ("minisblack", 2, "contig"),
)  # fmt: skip
TYPES = ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "f2", "f4", "f8")


def values_of(kind: str, samples: int, *, alpha: bool) -> np.ndarray:
    """Smooth values over the whole range of a type, (H, W, samples); all of them opaque where there is transparency."""
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    part = np.stack([((columns * (5 + k) + rows * 3) % 64) / 63 for k in range(samples)], axis=2)
    dtype = np.dtype(kind)
    if dtype.kind == "f":
        values, most = part.astype(dtype), 1
    else:
        low, most = np.iinfo(dtype).min, np.iinfo(dtype).max
        values = np.minimum(part * (float(most) - low) + low, float(most) * (1 - 1e-9)).astype(dtype)
    if alpha:
        values[:, :, -1] = most
    return values


def expected_of(values: np.ndarray, photometric: str) -> np.ndarray:
    """What the rules of docs/PICTURES.md make of the values that were written, float64 (H, W, 1 or 3)."""
    colours = values[:, :, : {"rgb": 3, "separated": 4}.get(photometric, 1)].astype(np.float64)
    kind = values.dtype
    if kind == np.uint8:
        made = colours
    elif kind == np.int8:
        made = colours + 128
    elif kind.kind == "f":
        made = colours * 255
    elif kind == np.uint16:
        made = colours / 257
    else:
        made = (colours - colours.min()) / (colours.max() - colours.min()) * 255
    if photometric == "miniswhite":
        return 255 - made
    return (255 - made[:, :, :3]) * (255 - made[:, :, 3:]) / 255 if photometric == "separated" else made


def decoded(data: bytes, channels: int) -> np.ndarray | str:
    try:
        return image.decode(data, channels=channels)
    except PictureError as error:
        return error.code


@pytest.mark.parametrize("kind", TYPES)
def test_tiffs_are_read_as_tifffile_wrote_them_or_refused_as_such(kind: str) -> None:
    """Every type, by colour, planes, byte order, tiles, compression and predictor: right, or no-decoder, for one in eight."""
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    refused = []
    for (photometric, samples, planar), layout in itertools.product(PHOTOMETRIC, LAYOUTS):
        if kind == "u8" and "predictor" in layout:  # the oracle writes none
            continue
        alpha = samples == 2 or (photometric == "rgb" and samples == 4)
        values = values_of(kind, samples, alpha=alpha)
        options: dict[str, Any] = {"extrasamples": ["unassalpha"]} if alpha else {}
        written = np.moveaxis(values, -1, 0) if planar == "separate" else values[:, :, 0] if samples == 1 else values
        order = layout.get("byteorder", "<")
        buffer = io.BytesIO()
        tifffile.imwrite(
            buffer, written.astype(np.dtype(kind).newbyteorder(order)), photometric=photometric, planarconfig=planar or None,
            metadata=None, **{"byteorder": order, **layout}, **options,
        )  # fmt: skip
        data = buffer.getvalue()
        assert np.array_equal(tifffile.imread(io.BytesIO(data)), written), "the oracle reads back what it wrote"
        channels = 1 if samples < 3 else 3
        found = decoded(data, channels)
        if isinstance(found, str):
            refused.append((photometric, samples, planar, layout, found))
            continue
        off = np.abs(found - expected_of(values, photometric)).max()
        assert off <= (1.51 if photometric == "separated" else 0.52), (photometric, samples, planar, layout, off)
        head = image.header(data)
        assert (head.height, head.width, head.channels) == (HEIGHT, WIDTH, 4 if alpha else channels)
    assert {code for *_, code in refused} <= {"no-decoder"}
    assert len(refused) <= 0.125 * len(PHOTOMETRIC) * len(LAYOUTS), refused


@pytest.mark.parametrize(("bits", "colours"), list(itertools.product((10, 12, 16), (2, 3, 4))))
def test_deep_colour_of_jpeg_2000_keeps_white_white(bits: int, colours: int) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is not installed")
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    values = np.stack([(columns * (5 + k) + rows * 3) % 64 / 63 for k in range(colours)], axis=2) * (2**bits - 1)
    if colours in (2, 4):
        values[:, :, -1] = 2**bits - 1
    values = np.rint(values).astype(np.uint16)
    data = codecs.jpeg2k_encode(values, reversible=True, bitspersample=bits, codecformat="jp2")
    assert np.array_equal(codecs.jpeg2k_decode(data), values), "the oracle reads back what it wrote"
    seen = values[:, :, : 1 if colours == 2 else 3] / (2**bits - 1) * 255
    assert np.abs(image.decode(data, channels=1 if colours == 2 else 3) - seen).max() <= 0.51


@pytest.mark.parametrize(("bits", "colours"), list(itertools.product((2, 4, 7, 8), (1, 3))))
def test_few_bits_of_jpeg_2000_reach_white(bits: int, colours: int) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    rows, columns = np.mgrid[0:HEIGHT, 0:WIDTH]
    values = ((columns + rows) % 2**bits).astype(np.uint8)
    values = np.stack([np.roll(values, k, 0) for k in range(colours)], axis=2)
    data = codecs.jpeg2k_encode(
        values[:, :, 0] if colours == 1 else values, reversible=True, bitspersample=bits, codecformat="jp2"
    )
    assert np.abs(image.decode(data, channels=colours) - values * (255 / (2**bits - 1))).max() <= 0.5


def test_without_the_extra_deep_colour_of_jpeg_2000_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    from beholder.base.limits import LIMITS
    from beholder.image import child, jpeg2000

    data = codecs.jpeg2k_encode(np.full((8, 8, 3), 65535, np.uint16), reversible=True, bitspersample=16, codecformat="jp2")
    monkeypatch.setattr(jpeg2000, "find_spec", lambda name: None)
    question = {"wants": "pixels", "channels": 3, "background": [255] * 3, "limits": vars(LIMITS), "bits": 0}
    said, made = child.answer(question, data)
    assert made is None
    assert said["error"]["code"] == "needs-extra"
    assert "beholder[jpeg2000]" in said["error"]["hint"]


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_transparent_grey_of_few_bits_is_the_one_that_the_file_names(bits: int) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    levels, clear = 2**bits, min(2, 2**bits - 1)
    values = np.arange(16 * 16).reshape(16, 16) % levels
    ones = (values[:, :, None] >> np.arange(bits)[::-1]) & 1
    rows = b"".join(b"\0" + np.packbits(row.reshape(-1)).tobytes() for row in ones)
    head = struct.pack(">IIBBBBB", 16, 16, bits, 0, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"tRNS", struct.pack(">H", clear))
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    theirs = codecs.png_decode(data)
    expected = np.where(theirs[:, :, 1] == 0, 90, theirs[:, :, 0])
    assert np.array_equal(expected, np.where(values == clear, 90, values * 255 // (levels - 1)))
    assert np.array_equal(image.decode(data, channels=1, background=(90, 90, 90))[:, :, 0], expected)


@pytest.mark.parametrize(("kind", "samples"), [(".png", 3), (".png", 4), (".ppm", 3)])
def test_colour_of_sixteen_bits_is_rounded_not_cut(kind: str, samples: int) -> None:
    cv2 = pytest.importorskip("cv2", reason="opencv-python-headless is not installed")
    values = values_of("u2", samples, alpha=samples == 4)
    data = cv2.imencode(kind, values)[1].tobytes()
    assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED), values)
    assert np.abs(image.decode(data, channels=3) - values[:, :, 2::-1] / 257).max() <= 0.51


def test_whole_numbers_of_32_bits_that_are_bytes_are_bytes() -> None:
    tifffile = pytest.importorskip("tifffile", reason="tifffile is not installed")
    values = np.arange(256).reshape(16, 16)
    for kind in ("i4", "u4", "u8"):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, values.astype(kind), photometric="minisblack", metadata=None)
        assert np.array_equal(image.decode(buffer.getvalue(), channels=1)[:, :, 0], values), kind


@pytest.mark.parametrize(("bits", "photometric"), list(itertools.product((10, 12, 14), (0, 1))))
def test_packed_bits_reach_white_whatever_the_set_uses(bits: int, photometric: int) -> None:
    codecs = pytest.importorskip("imagecodecs", reason="imagecodecs is not installed")
    values = (np.arange(8 * 12).reshape(8, 12) * 37 % 2**bits).astype(np.uint16)
    values[0, :2] = 0, 2**bits - 1
    packed = codecs.packints_encode(values.ravel(), bits)
    tags = [(256, 12), (257, 8), (258, bits), (259, 1), (262, photometric), (273, 8), (277, 1), (278, 8), (279, len(packed))]
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    start = 8 + len(packed) + len(packed) % 2
    data = (
        b"II*\0" + struct.pack("<I", start) + packed.ljust(start - 8, b"\0") + struct.pack("<H", len(tags)) + body + b"\0" * 4
    )
    expected = values * (255 / (2**bits - 1))
    expected = 255 - expected if photometric == 0 else expected
    for used in (0, 16):
        found = image.decode(data, channels=1, bits=used)[:, :, 0]
        assert np.abs(found - expected).max() <= 0.51
    assert image.top(data) == 0
