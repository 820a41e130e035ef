"""DICOM through pydicom: depth, rescale, windows, photometric interpretations, frames and transfer syntaxes."""

from __future__ import annotations

import io
import sys
from typing import Any

import numpy as np
import pytest
from PIL import Image

from beholder import image
from beholder.base.errors import PictureError
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import PixelPolicy

pydicom: Any = pytest.importorskip("pydicom")
RNG = np.random.default_rng(0)
CT = RNG.integers(0, 4096, (14, 18), np.uint16)


def dicom(pixels: np.ndarray, *, photometric: str = "MONOCHROME2", bits: int = 0, syntax: str = "", **fields: Any) -> bytes:
    """A DICOM file of pixels (H, W), (H, W, 3) or with `NumberOfFrames` (N, H, W), stored in `bits` bits."""
    file = pydicom.Dataset()
    file.file_meta = pydicom.dataset.FileMetaDataset()
    file.file_meta.TransferSyntaxUID = syntax or pydicom.uid.ExplicitVRLittleEndian
    file.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage
    file.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    shape = pixels.shape[1:] if "NumberOfFrames" in fields else pixels.shape
    file.Rows, file.Columns = shape[:2]
    file.SamplesPerPixel = 3 if len(shape) == 3 else 1
    if file.SamplesPerPixel == 3:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = photometric
    file.BitsAllocated = 8 * pixels.itemsize
    file.BitsStored = bits or file.BitsAllocated
    file.HighBit = file.BitsStored - 1
    file.PixelRepresentation = int(pixels.dtype.kind == "i")
    for name, value in fields.items():
        setattr(file, name, value)
    file.PixelData = pixels.tobytes()
    file["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, file, enforce_file_format=True)
    return buffer.getvalue()


def shown(data: bytes) -> np.ndarray:
    return image.decode(data, channels=1)[:, :, 0].astype(float)


def code(data: bytes, limits: Limits = LIMITS) -> str:
    with pytest.raises(PictureError) as caught:
        image.load(data, PixelPolicy(8, 8, 3), limits=limits)
    assert caught.value.hint
    return caught.value.code


def stretched(values: np.ndarray) -> np.ndarray:
    return (values - values.min()) / (values.max() - values.min()) * 255


def test_without_a_window_values_run_from_least_to_largest() -> None:
    data = dicom(CT, bits=12)
    assert np.abs(shown(data) - stretched(CT.astype(float))).max() <= 0.501
    assert image.header(data) == image.Header(14, 18, 1, "DICOM")
    signed = RNG.integers(-1000, 3000, (9, 7), np.int16)
    assert np.abs(shown(dicom(signed)) - stretched(signed.astype(float))).max() <= 0.501


def test_padding_does_not_count_as_least() -> None:
    values = CT.astype(np.int16)
    values[:4] = -2000
    found = shown(dicom(values, PixelPaddingValue=-2000))
    assert (found[:4] == 0).all()
    assert np.abs(found[4:] - stretched(CT[4:].astype(float))).max() <= 0.501


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("slope", "intercept"), [(1, 0), (2, -1024), (0.5, -100)])
def test_windows_are_those_of_the_standard(function: str, slope: float, intercept: float) -> None:
    from pydicom.pixels.processing import apply_modality_lut, apply_windowing

    fields = {"RescaleSlope": slope, "RescaleIntercept": intercept, "VOILUTFunction": function}
    data = dicom(CT, bits=12, WindowCenter=[600, 40], WindowWidth=[1500, 80], **fields)
    file = pydicom.dcmread(io.BytesIO(data))
    expected = apply_windowing(apply_modality_lut(CT, file), file, index=0)
    low, high = (v * slope + intercept for v in (0, 4095))
    assert np.abs(shown(data) - (expected - low) / (high - low) * 255).max() <= 0.501
    assert len(np.unique(shown(data))) > 30


def test_a_window_of_no_width_does_not_count() -> None:
    assert np.array_equal(shown(dicom(CT, bits=12, WindowCenter=100, WindowWidth=0)), shown(dicom(CT, bits=12)))


def test_a_table_of_values_of_interest_is_used_where_there_is_no_window() -> None:
    table = pydicom.Dataset()
    table.LUTDescriptor = [4096, 0, 16]
    table.LUTData = (65535 - np.arange(4096) * 16).astype(np.uint16).tobytes()
    table["LUTData"].VR = "OW"
    data = dicom(CT, bits=12, VOILUTSequence=[table])
    assert np.abs(shown(data) - (65535 - CT * 16.0) / 257).max() <= 0.501


def test_monochrome1_is_inverted() -> None:
    for fields in ({}, {"WindowCenter": 600, "WindowWidth": 1500}):
        dark, light = (shown(dicom(CT, bits=12, photometric=f"MONOCHROME{k}", **fields)) for k in (1, 2))
        assert np.array_equal(dark, 255 - light)


def test_eight_bits_without_more_stay_as_they_are() -> None:
    grey = RNG.integers(50, 200, (6, 8), np.uint8)
    assert np.array_equal(shown(dicom(grey)), grey)
    assert np.array_equal(shown(dicom(grey, RescaleSlope=1, RescaleIntercept=0)), grey)


def test_of_several_frames_the_first_counts() -> None:
    frames = RNG.integers(0, 256, (3, 6, 8), np.uint8)
    assert np.array_equal(shown(dicom(frames, NumberOfFrames=3)), frames[0])


def test_colour_palette_and_ybr_become_rgb() -> None:
    rgb = RNG.integers(0, 256, (6, 8, 3), np.uint8)
    data = dicom(rgb, photometric="RGB")
    assert np.array_equal(image.decode(data, channels=3), rgb)
    assert image.header(data).channels == 3
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    assert np.array_equal(image.decode(data, channels=1)[:, :, 0], luma)
    ybr = np.asarray(Image.fromarray(rgb).convert("YCbCr"))
    assert np.abs(image.decode(dicom(ybr, photometric="YBR_FULL"), channels=3).astype(int) - rgb).max() <= 3
    deep = RNG.integers(0, 65536, (6, 8, 3), np.uint16)
    assert np.abs(image.decode(dicom(deep, photometric="RGB"), channels=3) - deep / 257).max() <= 0.501
    tables = {}
    for name, values in zip(("Red", "Green", "Blue"), RNG.integers(0, 65536, (3, 256), np.uint16), strict=True):
        tables[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        tables[f"{name}PaletteColorLookupTableData"] = values.tobytes()
    index = RNG.integers(0, 256, (6, 8), np.uint8)
    data = dicom(index, photometric="PALETTE COLOR", **tables)
    expected = np.stack([np.frombuffer(v, np.uint16)[index] for k, v in tables.items() if k.endswith("Data")], axis=2)
    assert np.abs(image.decode(data, channels=3) - expected / 257).max() <= 0.501


def test_compressed_pixels_are_decoded_or_refused_with_a_reason() -> None:
    grey = RNG.integers(0, 256, (16, 24), np.uint8)
    file = pydicom.dcmread(io.BytesIO(dicom(grey)))
    file.compress(pydicom.uid.RLELossless)
    buffer = io.BytesIO()
    file.save_as(buffer)
    assert np.array_equal(shown(buffer.getvalue()), grey)
    jpeg = io.BytesIO()
    Image.fromarray(grey).save(jpeg, "JPEG")
    for syntax, expected in (("1.2.840.10008.1.2.4.50", ""), ("1.2.840.10008.1.2.4.80", "no-decoder")):
        file = pydicom.dcmread(io.BytesIO(dicom(grey)))
        file.PixelData = pydicom.encaps.encapsulate([jpeg.getvalue()])
        file["PixelData"].is_undefined_length = True
        file.file_meta.TransferSyntaxUID = syntax
        buffer = io.BytesIO()
        file.save_as(buffer)
        if expected:
            assert code(buffer.getvalue()) == expected
        else:
            assert np.array_equal(shown(buffer.getvalue()), np.asarray(Image.open(jpeg)))


def test_refusals_have_reason_codes() -> None:
    data = dicom(CT, bits=12)
    assert code(data, Limits(pixels=100)) == "too-many-pixels"
    assert code(data[:-40]) == "truncated"
    assert code(data[:140]) in ("no-pixels", "damaged", "truncated")
    file = pydicom.dcmread(io.BytesIO(data))
    del file.PixelData
    buffer = io.BytesIO()
    file.save_as(buffer)
    assert code(buffer.getvalue()) == "no-pixels"


def test_without_the_extra_the_hint_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    data = dicom(CT, bits=12)
    monkeypatch.setitem(sys.modules, "pydicom", None)
    with pytest.raises(PictureError, match="pydicom") as caught:
        image.load(data, PixelPolicy(8, 8, 3))
    assert caught.value.code == "needs-extra"
    assert caught.value.hint == "pip install 'beholder[dicom]'"
