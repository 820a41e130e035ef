"""What Pillow makes of a file, written once more and plainly: the oracle of the fuzzer."""

from __future__ import annotations

import io
import warnings
from typing import Any

import numpy as np
from PIL import Image, ImageOps

FORMATS = ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "AVIF", "JPEG2000")


def reference(data: bytes) -> tuple[int, Any] | None:
    """Return a tolerance and the pixels int16 (H, W, 3) on white; None for what Pillow refuses.

    Exact where Pillow itself makes RGB; one level where depth is scaled or transparency composed.
    """
    if data[4:8] == b"ftyp":
        return _heif(data)
    if data[128:132] == b"DICM" and not data.startswith((b"\xff\xd8", b"\x89PNG", b"GIF8", b"RIFF", b"II", b"MM", b"BM")):
        return _dicom(data)
    return _pillow(data)


def _pillow(data: bytes) -> tuple[int, Any] | None:
    if _elsewhere(data):
        return _tifffile(data)
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            image.load()
            tiff = image.format == "TIFF"
            if image.format == "PNG" and image.mode == "L" and isinstance(image.info.get("transparency"), int):
                image.info["transparency"] = image.info["transparency"] * 255 // (2 ** data[24] - 1)
            tolerance, made = _rgb(image if tiff else ImageOps.exif_transpose(image))
            upper = image.format == "PNG" and data[24] == 16 and data[25] in (2, 4, 6)  # of which Pillow keeps the upper bytes
            few = image.format == "JPEG2000" and image.mode != "I;16"  # of few bits white is less than white
            return 255 if few else 3 if upper else tolerance, made
    except Exception:  # noqa: BLE001 - whatever it raises, it refuses
        return None


def _elsewhere(data: bytes) -> bool:
    """Return True for a deep TIFF that Pillow reads falsely or not at all."""
    if data[:2] not in (b"II", b"MM"):
        return False
    from beholder.image import tiff

    try:
        form = tiff._form(data)
    except Exception:  # noqa: BLE001 - Pillow may read it all the same
        return False
    return form is not None and not form.by_pillow()


def _tifffile(data: bytes) -> tuple[int, Any] | None:
    """What tifffile reads of plain grey or RGB; of other forms only the size is compared."""
    try:
        import tifffile

        with tifffile.TiffFile(io.BytesIO(data)) as file:
            page = file.pages[0]
            values, white, turn = page.asarray(), page.photometric == 0, page.tags.get(274)
    except Exception:  # noqa: BLE001 - it is stricter or laxer than others
        return _size_only(data)
    if values.dtype != np.uint16 or values.ndim not in (2, 3) or page.samplesperpixel not in (1, 3) or turn is not None:
        return _size_only(data)
    values = np.moveaxis(values, 0, -1) if page.planarconfig == 2 else values
    made = np.rint(values / 257)
    made = 255 - made if white else made
    return 1, (made if made.ndim == 3 else np.repeat(made[:, :, None], 3, axis=2)).astype(np.int16)


def _size_only(data: bytes) -> tuple[int, Any] | None:
    from beholder.base.limits import LIMITS
    from beholder.image import tiff

    head = tiff.header(data, LIMITS)
    return 255, np.zeros((head.height, head.width, 3), np.int16)


def _rgb(image: Image.Image) -> tuple[int, Any]:
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        made = np.rint(_unit(image) * 255)
        if isinstance(image.info.get("transparency"), int):
            made[np.asarray(image) == image.info["transparency"]] = 255
        return 1, np.repeat(made[:, :, None], 3, axis=2).astype(np.int16)
    if image.mode in ("RGBa", "La"):
        image = image.convert(image.mode[:-1].upper() + "A")
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        pixels = np.asarray(image.convert("RGBA")).astype(np.float32)
        share = pixels[:, :, 3:] / 255
        return 1, np.rint(pixels[:, :, :3] * share + 255 * (1 - share)).astype(np.int16)
    if image.mode == "LAB":
        return 255, np.asarray(Image.new("RGB", image.size)).astype(np.int16)
    return 0, np.asarray(image.convert("RGB")).astype(np.int16)


def _unit(image: Image.Image) -> Any:
    """Values of more than eight bits in 0..1."""
    values = np.asarray(image).astype(np.float64)
    bits = max(getattr(image, "tag_v2", {}).get(258, (16,)))
    if 8 < bits < 16:
        return values / (2**bits - 1)
    if image.format == "TIFF" and bits == 32 and image.mode == "I" and values.min() >= 0 and values.max() <= 255:
        return values / 255
    low, high = values.min(), values.max()
    if image.mode != "F" and low >= 0 and high <= 65535:
        return values / 65535
    if image.mode == "F" and low >= 0 and high <= 1:
        return values
    return (values - low) / ((high - low) or 1.0)


def _heif(data: bytes) -> tuple[int, Any] | None:
    found = _pillow(data)
    if found is not None:
        return found
    try:
        import pillow_heif

        file = pillow_heif.open_heif(data, convert_hdr_to_8bit=False)
        values = np.asarray(file)
        if values.dtype == np.uint16:
            values = np.rint(values / 257.0).astype(np.uint8)
        return 1, _rgb(Image.fromarray(values))[1]
    except Exception:  # noqa: BLE001
        return None


def _dicom(data: bytes) -> tuple[int, Any] | None:
    """By pydicom's own windowing; a picture that is no grey one with a window is only asked to have its size."""
    try:
        import pydicom
        from pydicom.pixels.utils import pixel_array

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            file = pydicom.dcmread(io.BytesIO(data))
            values = pixel_array(file, index=0)
        return 255, np.zeros((*values.shape[:2], 3), np.int16)
    except Exception:  # noqa: BLE001
        return None
