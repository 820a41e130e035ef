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
    try:
        with warnings.catch_warnings(), Image.open(io.BytesIO(data), formats=FORMATS) as image:
            warnings.simplefilter("ignore")
            image.load()
            tiff = image.format == "TIFF"
            return _rgb(image if tiff else ImageOps.exif_transpose(image))
    except Exception:  # noqa: BLE001 - whatever it raises, it refuses
        return None


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
