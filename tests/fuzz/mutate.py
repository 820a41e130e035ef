"""Pictures of every format and mode, and what becomes of them when bits flip, bytes vanish and lengths lie.

`mutated(seed)` is a pure function of its seed: an offender is its number.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from PIL import Image

SCENE = Image.effect_mandelbrot((61, 45), (-2, -1.2, 0.6, 1.2), 60).convert("RGB")


@dataclass(frozen=True)
class Mutant:
    """A mutated file: of which sample it is made, how, and its bytes. cut: nothing was done but to end it early."""

    sample: str
    how: tuple[str, ...]
    data: bytes

    @property
    def cut(self) -> bool:
        return set(self.how) == {"cut"}


def _saved(picture: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def _exif(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif.tobytes()


def _alpha() -> Image.Image:
    picture = SCENE.copy()
    picture.putalpha(Image.linear_gradient("L").resize(SCENE.size))
    return picture


def _plain() -> dict[str, bytes]:
    """Every format in its usual form."""
    grey, small = SCENE.convert("L"), SCENE.resize((20, 15))
    return {
        "jpeg": _saved(SCENE, "JPEG", quality=80),
        "jpeg-grey": _saved(grey, "JPEG"),
        "jpeg-progressive": _saved(SCENE, "JPEG", progressive=True),
        "jpeg-restarts": _saved(SCENE, "JPEG", restart_marker_blocks=2, subsampling=0),
        "jpeg-exif": _saved(SCENE, "JPEG", exif=_exif(6)),
        "jpeg-cmyk": _saved(SCENE.convert("CMYK"), "JPEG"),
        "png": _saved(SCENE, "PNG"),
        "png-palette": _saved(SCENE.convert("P"), "PNG", transparency=3),
        "png-alpha": _saved(_alpha(), "PNG"),
        "png-1": _saved(SCENE.convert("1"), "PNG"),
        "png-exif": _saved(small, "PNG", exif=_exif(8)),
        "gif": _saved(SCENE, "GIF"),
        "gif-frames": _saved(small, "GIF", save_all=True, append_images=[small.rotate(90)], interlace=1),
        "webp": _saved(SCENE, "WEBP"),
        "webp-lossless": _saved(_alpha(), "WEBP", lossless=True, exif=_exif(3)),
        "webp-frames": _saved(small, "WEBP", save_all=True, append_images=[small.rotate(90)]),
        "bmp": _saved(small, "BMP"),
        "bmp-palette": _saved(SCENE.convert("P"), "BMP"),
        "ppm": _saved(small, "PPM"),
        "ppm-text": b"P2 4 3 255 " + b"0 12 255 7 " * 3,
        "pfm": _saved(small.convert("F"), "PPM"),
        "avif": _saved(SCENE, "AVIF", speed=10),
        "avif-alpha": _saved(_alpha().resize((20, 15)), "AVIF", speed=10),
        "jpeg2000": _saved(SCENE, "JPEG2000"),
        "jpeg2000-tiles": _saved(SCENE, "JPEG2000", tile_size=(32, 32), irreversible=True, quality_layers=[30, 10]),
        "jpeg2000-bare": _saved(small, "JPEG2000", no_jp2=True),
    }


def _tiffs() -> dict[str, bytes]:
    small = SCENE.resize((20, 15))
    ramp = np.linspace(0, 65535, 300).reshape(15, 20)
    return {
        "tiff": _saved(small, "TIFF", exif=_exif(5)),
        "tiff-lzw": _saved(SCENE, "TIFF", compression="tiff_lzw"),
        "tiff-deflate": _saved(SCENE, "TIFF", compression="tiff_adobe_deflate"),
        "tiff-jpeg": _saved(SCENE, "TIFF", compression="jpeg"),
        "tiff-packbits": _saved(SCENE.convert("P"), "TIFF", compression="packbits"),
        "tiff-fax": _saved(SCENE.convert("1"), "TIFF", compression="group4"),
        "tiff-cmyk": _saved(small.convert("CMYK"), "TIFF"),
        "tiff-16": _saved(Image.fromarray(ramp.astype(np.uint16)), "TIFF"),
        "tiff-float": _saved(Image.fromarray((ramp / 65535).astype(np.float32)), "TIFF"),
        "png-16": _saved(Image.fromarray(ramp.astype(np.uint16)), "PNG"),
    }


def _extras() -> dict[str, bytes]:
    """HEIF and DICOM, where their libraries are installed."""
    made: dict[str, bytes] = {}
    small = SCENE.resize((20, 15))
    try:
        import pillow_heif

        for name, picture in (("heif", SCENE), ("heif-alpha", _alpha())):
            buffer = io.BytesIO()
            pillow_heif.from_pillow(picture).save(buffer, quality=60)
            made[name] = buffer.getvalue()
    except ImportError:
        pass
    try:
        import pydicom

        for name, syntax in (("dicom", pydicom.uid.ExplicitVRLittleEndian), ("dicom-rle", pydicom.uid.RLELossless)):
            file = pydicom.Dataset()
            file.file_meta = pydicom.dataset.FileMetaDataset()
            file.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
            file.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
            file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
            file.SOPClassUID, file.SOPInstanceUID = pydicom.uid.SecondaryCaptureImageStorage, "1.2.3"
            file.Rows, file.Columns, file.SamplesPerPixel, file.PhotometricInterpretation = 15, 20, 1, "MONOCHROME2"
            file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 12, 11, 0
            file.WindowCenter, file.WindowWidth, file.RescaleSlope, file.RescaleIntercept = 900, 2000, 1, -24
            file.PixelData = (np.asarray(small.convert("L"), np.uint16) * 16).tobytes()
            file["PixelData"].VR = "OW"
            if syntax != file.file_meta.TransferSyntaxUID:
                file.compress(syntax)
            buffer = io.BytesIO()
            pydicom.dcmwrite(buffer, file, enforce_file_format=True)
            made[name] = buffer.getvalue()
    except ImportError:
        pass
    return made


@cache
def samples() -> dict[str, bytes]:
    """Return the pictures that are mutated, by name."""
    return {**_plain(), **_tiffs(), **_extras()}


NUMBERS = (0, 1, 2, 3, 7, 8, 127, 128, 255, 256, 1023, 32767, 32768, 65535, 65536, 1 << 20, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
"""What liars write where a length is expected."""


def _place(data: bytearray, rng: random.Random) -> int:
    """A position, in half of the cases among the first bytes, where headers are."""
    return rng.randrange(min(len(data), 96) if rng.random() < 0.5 else len(data)) if data else 0


def flip(data: bytearray, rng: random.Random) -> None:
    for _ in range(rng.choice((1, 1, 2, 8))):
        data[_place(data, rng)] ^= 1 << rng.randrange(8)


def cut(data: bytearray, rng: random.Random) -> None:
    del data[rng.randrange(len(data)) :]


def overwrite(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    noise = rng.randbytes(rng.choice((1, 2, 4, 16)))
    data[at : at + len(noise)] = rng.choice((noise, b"\0" * len(noise), b"\xff" * len(noise)))


def length(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    form = rng.choice(("<I", ">I", "<H", ">H"))
    number = rng.choice(NUMBERS) & (0xFFFFFFFF if form[1] == "I" else 0xFFFF)
    data[at : at + struct.calcsize(form)] = struct.pack(form, number)


def remove(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    del data[at : at + rng.choice((1, 2, 4, 12, 100))]


def insert(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = rng.randbytes(rng.choice((1, 4, 64)))


def swap(data: bytearray, rng: random.Random) -> None:
    """Exchange two blocks."""
    size = rng.choice((1, 4, 12, 64))
    a, b = _place(data, rng), _place(data, rng)
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]


def repeat(data: bytearray, rng: random.Random) -> None:
    at = _place(data, rng)
    data[at:at] = bytes(data[at : at + rng.choice((4, 12, 64, 300))]) * rng.choice((1, 2, 30))


def splice(data: bytearray, rng: random.Random) -> None:
    """Go on as another sample does."""
    other = samples()[rng.choice(sorted(samples()))]
    data[_place(data, rng) :] = other[rng.randrange(len(other)) :]


def chunks(data: bytearray, rng: random.Random) -> None:
    """Change, drop, double or exchange chunks of a PNG and mend the checksums, so that decoders believe it."""
    if not data.startswith(b"\x89PNG"):
        return swap(data, rng)
    found, at = [], 8
    while at + 12 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        found.append((bytes(data[at + 4 : at + 8]), bytes(data[at + 8 : at + 8 + size])))
        at += 12 + size
    if not found:
        return None
    k = rng.randrange(len(found))
    body = bytearray(found[k][1])
    deed = rng.randrange(4)
    if deed == 0 and body:
        flip(body, rng)
        found[k] = (found[k][0], bytes(body))
    elif deed == 1:
        found.insert(rng.randrange(len(found)), found[k])
    elif deed == 2:
        found.insert(rng.randrange(len(found)), found.pop(k))
    else:
        del found[k]
    data[8:] = b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in found
    )
    return None


WAYS: tuple[Callable[[bytearray, random.Random], None], ...] = (
    flip, flip, cut, overwrite, length, length, remove, insert, swap, repeat, splice, chunks,
)  # fmt: skip


def mutated(seed: int) -> Mutant:
    """Return the mutated file of a seed."""
    rng = random.Random(seed)
    name = rng.choice(sorted(samples()))
    data, how = bytearray(samples()[name]), []
    for _ in range(rng.choice((1, 1, 2, 4))):
        way = rng.choice(WAYS)
        if data:
            way(data, rng)
            how.append(way.__name__)
    return Mutant(name, tuple(how), bytes(data))
