"""A set in which every picture has another format, from the folder to the pixels, and back from a bundle's point of view."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.mutate import samples

from beholder import image
from beholder.base.records import PixelPolicy
from beholder.data.cache import cached
from beholder.data.survey import survey
from beholder.sources import scan

ENDINGS = {
    "jpeg": "jpg", "png": "png", "gif": "gif", "webp": "webp", "bmp": "bmp", "ppm": "ppm", "avif": "avif", "jpeg2000": "jp2",
    "tiff": "tif", "heif": "heic", "dicom": "dcm",
}  # fmt: skip


def test_every_format_is_found_surveyed_and_cached(tmp_path: Path) -> None:
    pytest.importorskip("pillow_heif")
    pytest.importorskip("pydicom")
    for label in ("a", "b"):
        (tmp_path / "set" / label).mkdir(parents=True)
    for k, (name, end) in enumerate(ENDINGS.items()):
        (tmp_path / "set" / "ab"[k % 2] / f"{name}.{end}").write_bytes(samples()[name])
    pictures = scan(tmp_path / "set")
    assert len(pictures) == len(ENDINGS)
    found = survey(pictures)
    assert found.bad == 0
    assert set(found.formats) == {"JPEG", "PNG", "GIF", "WEBP", "BMP", "PPM", "AVIF", "JPEG2000", "TIFF", "HEIF", "DICOM"}
    pixels = cached(pictures, PixelPolicy(16, 16, 3), root=tmp_path)
    assert pixels.bad == ()
    expected = [image.load((tmp_path / "set" / key).read_bytes(), PixelPolicy(16, 16, 3)) for key in pictures.keys]
    assert np.array_equal(pixels.take(np.arange(len(pixels))), np.stack(expected))
