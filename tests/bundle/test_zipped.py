"""A bundle as the bytes of a zip: whole, the same each time, verified."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable

import numpy as np
import pytest

import beholder
from beholder.bundle.bundle import Bundle
from beholder.bundle.format import HASHED
from beholder.bundle.zipped import packed, unpacked


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    chance = np.random.default_rng(0)
    x = np.concatenate([chance.integers(0, 90, (12, 8, 8)), chance.integers(160, 255, (12, 8, 8))]).astype(np.uint8)
    parts = beholder.split(beholder.scan((x, np.repeat([0, 1], 12))), val=0.3, test=0.0)
    with beholder.listen(alone=True):
        made = beholder.train(parts, net="logistic", epochs=2)
    assert isinstance(made, Bundle)
    return made


def test_what_is_packed_comes_back(bundle: Bundle) -> None:
    data = packed(bundle)
    again = unpacked(data)
    assert packed(bundle) == data
    assert again.path is None
    assert bundle.path is None
    assert again.recipe == bundle.recipe
    assert again.splits == bundle.splits
    images = np.random.default_rng(1).integers(0, 255, (5, 1, 8, 8)).astype(np.uint8)
    assert (again.probabilities(images) == bundle.probabilities(images)).all()
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert set(archive.namelist()) >= {*HASHED, "config.json"}


Change = Callable[[dict[str, bytes], zipfile.ZipFile], object]


def _without_weights(files: dict[str, bytes], archive: zipfile.ZipFile) -> None:
    for name, data in files.items():
        if name != "model.safetensors":
            archive.writestr(name, data)


def _with_other_scores(files: dict[str, bytes], archive: zipfile.ZipFile) -> None:
    for name, data in files.items():
        archive.writestr(
            name, b"{}" + b" " * (len(data) - 2) if name == "scores.json" else data.replace(b"logistic", b"logistik")
        )


def _with_a_path(files: dict[str, bytes], archive: zipfile.ZipFile) -> None:
    archive.writestr("../escaped", b"")


def _compressed(files: dict[str, bytes], archive: zipfile.ZipFile) -> None:
    archive.writestr("config.json", b"0" * 10**6, compress_type=zipfile.ZIP_DEFLATED)


def _twice(files: dict[str, bytes], archive: zipfile.ZipFile) -> None:
    archive.writestr("config.json", b"{}")
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive.writestr("config.json", b"{}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_without_weights, "model.safetensors is missing"),
        (_with_other_scores, "config.json was changed"),
        (_with_a_path, "no name of a file in a bundle"),
        (_compressed, "config.json is compressed"),
        (_twice, "holds a file twice"),
    ],
)
def test_what_packed_does_not_write_is_refused(change: Change, says: str, bundle: Bundle) -> None:
    with zipfile.ZipFile(io.BytesIO(packed(bundle))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        change(files, archive)
    with pytest.raises(beholder.BundleError, match=says) as caught:
        unpacked(buffer.getvalue())
    assert caught.value.code == "damaged"


def test_what_is_no_zip_is_refused() -> None:
    for data in (b"", b"PK\x03\x04", b"x" * 100):
        with pytest.raises(beholder.BundleError, match="the packed bundle is damaged"):
            unpacked(data)
