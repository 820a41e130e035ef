"""304 odd and corrupt files: each gives the reference's pixels or a reason code, as its manifest says or as is stated here."""

from __future__ import annotations

import json
import tarfile
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from tests.fuzz.reference import reference

from beholder import image
from beholder.base.errors import PictureError

REASONS = {"not-a-picture", "damaged", "truncated", "too-many-pixels"}

NOT_OPENED = {"DDS": 14, "ICO": 7, "PSD": 7, "QOI": 4, "TGA": 20}
"""Formats that Pillow opens and we do not, and how many of their files it reads: refused as not-a-picture. Few pictures are
stored so, and TGA has no first bytes to be known by."""

STRICTER = {"0304_meta_suite_xcsn0g01.png": ("damaged", "made with a wrong checksum, to be refused; Pillow reads its pixels")}


@pytest.mark.shared
def test_hostile_pictures_are_read_or_refused(shared: Path) -> None:
    outcomes: Counter[str] = Counter()
    with tarfile.open(shared / "data" / "hostile-images.tar.xz") as tar:
        members = {Path(m.name).name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
    for row in json.loads(members.pop("manifest.json")):
        name, data = row["name"], members[row["name"]]
        expected = "pixels" if row["st"] == "ok" else "refused"
        if row["fmt"] in NOT_OPENED and expected == "pixels":
            expected = "not-a-picture"
        expected = STRICTER.get(name, (expected,))[0]
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            found = outcome(name, data)
        assert found == expected or (expected == "refused" and found in REASONS), (name, found)
        outcomes[found] += 1
    assert outcomes["pixels"] == 154
    assert sum(outcomes.values()) == 304


def outcome(name: str, data: bytes) -> str:
    """The reason code, or "pixels" where they are those of the reference."""
    try:
        pixels, head = image.decode(data, channels=3), image.header(data)
    except PictureError as error:
        return error.code if error.hint else "no hint"
    theirs = reference(data)
    assert theirs is not None, name
    tolerance, expected = theirs
    assert pixels.shape == expected.shape, name
    assert np.abs(pixels - expected).max() <= tolerance, name
    assert pixels.shape[:2] == (head.height, head.width), name
    return "pixels"
