"""DICOM pictures by pydicom, the extra `dicom`, as a reader of the standard sees them on a screen.

Stored values go through the modality transformation (rescale slope and intercept, or its table), then through the first window
that the file names (PS3.3 C.11.2.1: LINEAR, LINEAR_EXACT or SIGMOID), else its VOI table, else from the least to the largest
value, padding left out; plain 8-bit values without any of these stay as they are. MONOCHROME1 is inverted; palettes and YBR
become RGB. Of several frames the first counts. Overlays are not drawn.
"""

from __future__ import annotations

import io
import logging
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from beholder.base.arrays import U8, Values
from beholder.base.errors import PictureError
from beholder.base.limits import Limits
from beholder.image.depth import in_bytes, scaled, spread
from beholder.image.kinds import Header
from beholder.image.refusal import bad, check_bytes, check_pixels

if TYPE_CHECKING:
    from pydicom import Dataset


def header(data: bytes, limits: Limits) -> Header:
    """Return size and kind of a picture without decoding its pixels."""
    file = _opened(data, limits)
    return Header(int(file.Rows), int(file.Columns), 1 if _grey(file) else 3, "DICOM")


def pixels(data: bytes, channels: int, background: tuple[int, int, int], limits: Limits, bits: int = 0) -> U8:
    """Return the first frame, (H, W) or (H, W, 3); (H, W) only where `channels` is 1 or the picture is grey.

    Raises `PictureError`: no-pixels, no-decoder (a transfer syntax for which there is no decoder), truncated, damaged, …
    """
    del background, bits  # DICOM knows no transparency, and says its range by itself
    file = _opened(data, limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = _stored(file)
        if _grey(file):
            return _shown(values, file)
        if file.PhotometricInterpretation == "PALETTE COLOR":
            from pydicom.pixels.processing import apply_color_lut

            made = scaled(apply_color_lut(values, file))
        else:
            top = 2 ** int(file.BitsStored) - 1
            made = values if top == 255 else in_bytes(values, lambda block: np.clip(np.asarray(block / top), 0, 1))
    return np.asarray(Image.fromarray(np.ascontiguousarray(made)).convert("L")) if channels == 1 else made


def _opened(data: bytes, limits: Limits) -> Dataset:
    import pydicom

    check_bytes(data, limits)
    logging.getLogger("pydicom").disabled = True
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = pydicom.dcmread(io.BytesIO(data))
        if not any(name in file for name in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
            raise PictureError(
                "the DICOM file holds no pixels", code="no-pixels", hint="it is a report or a plan: leave it out"
            )
        if file.get("Rows") is None or file.get("Columns") is None:
            raise bad("damaged", "it does not say its rows and columns")
    check_pixels(int(file.Rows), int(file.Columns), limits)
    return file


def _grey(file: Dataset) -> bool:
    return str(file.get("PhotometricInterpretation", "")).startswith("MONOCHROME")


def _stored(file: Dataset) -> Values:
    """Return the stored values of the first frame; colours as RGB or palette indices."""
    from pydicom.pixels.utils import pixel_array

    try:
        return pixel_array(file, index=0)
    except (RuntimeError, NotImplementedError) as error:
        if isinstance(error, NotImplementedError) or "missing dependencies" in str(error):
            syntax = file.file_meta.TransferSyntaxUID.name
            hint = "decompress it first, for example with gdcmconv --raw or dcmdjpeg, or install pylibjpeg"
            raise PictureError(f"no decoder for its transfer syntax, {syntax}", code="no-decoder", hint=hint) from error
        raise


def _shown(stored: Values, file: Dataset) -> U8:
    """Return stored grey values as they are shown, (H, W)."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    values = apply_modality_lut(stored, file)
    if not np.isfinite(values).all():
        raise PictureError("the picture holds NaN or infinite values", code="not-finite", hint="leave it out, or repair it")
    window = _window(file)
    if window:
        made = in_bytes(values, lambda block: windowed(block, *window))
    elif file.get("VOILUTSequence"):
        table = apply_voi(values.astype(np.int64), file)
        made = spread(table, 0.0, 2.0 ** int(file.VOILUTSequence[0].LUTDescriptor[2]) - 1)
    elif stored.dtype == np.uint8 and np.array_equal(values, stored):
        made = stored if file.BitsStored == 8 else spread(stored, 0.0, 2.0 ** int(file.BitsStored) - 1)
    else:
        seen = values[stored != file.PixelPaddingValue] if "PixelPaddingValue" in file else values
        seen = seen if seen.size else values
        made = spread(values, float(seen.min()), float(seen.max()))
    return 255 - made if file.PhotometricInterpretation == "MONOCHROME1" else made


def _window(file: Dataset) -> tuple[float, float, str] | None:
    """Return centre, width and function of the first window; None where there is none, or one of no width."""
    centre, width = (_first(file.get(name)) for name in ("WindowCenter", "WindowWidth"))
    function = str(file.get("VOILUTFunction") or "LINEAR").strip().upper()
    least = 1.0 if function == "LINEAR" else 0.0
    if centre is None or width is None or not np.isfinite((centre, width)).all() or width < least or width == 0:
        return None
    return centre, width, function


def _first(value: Any) -> float | None:
    if isinstance(value, (str, bytes)) or value is None:
        return None
    value = value if np.isscalar(value) or isinstance(value, float) else next(iter(value), None)
    return None if value is None else float(value)


def windowed(values: Values, centre: float, width: float, function: str) -> Values:
    """Return values through a window, float64 in 0..1. Source: DICOM PS3.3, C.11.2.1.2 and C.11.2.1.3."""
    values = values.astype(np.float64)
    if function == "SIGMOID":
        return np.asarray(1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700))))
    if function == "LINEAR_EXACT":
        return np.clip((values - centre) / width + 0.5, 0, 1)
    if width == 1:
        return np.asarray((values > centre - 0.5).astype(np.float64))
    return np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
