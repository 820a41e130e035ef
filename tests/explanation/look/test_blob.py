"""Arrays in one piece: each comes back as it went in, from a multiple of four bytes on."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest

from beholder.explanation.look.blob import Blob


def test_arrays_come_back_as_they_went_in() -> None:
    blob = Blob()
    given = [
        np.arange(5, dtype=np.uint8),
        np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3),
        np.array([[-127], [3]], np.int8),
        np.zeros((0, 4), np.float32),
        np.arange(8, dtype=">f4")[::2],
    ]
    specs = [blob.add(array) for array in given]
    raw = zlib.decompress(base64.b64decode(blob.text()))
    assert len(raw) == blob.size
    for spec, array in zip(specs, given, strict=True):
        assert spec["at"] % 4 == 0
        kind = {"f32": "<f4", "u8": "u1", "i8": "i1"}[spec["type"]]
        found = np.frombuffer(raw, kind, array.size, spec["at"]).reshape(spec["shape"])
        assert np.array_equal(found, array)


def test_a_type_that_no_page_reads_is_refused() -> None:
    with pytest.raises(KeyError):
        Blob().add(np.zeros(3, np.float64))
