"""Small copies of torchvision's sets, in the files that torchvision itself reads."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torchvision
from PIL import Image

from beholder import image
from beholder.base import events
from beholder.base.errors import DataError, MachineError, PictureError, UsageError
from beholder.sources import vision
from beholder.sources.vision import SETS, pictures

RNG = np.random.default_rng(0)


def save(path: Path, colour: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 5), (colour, 0, 0)).save(path)
    return path


def mnist(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Thirty digits of training and ten of test, as idx files."""
    x, y = RNG.integers(0, 256, (40, 28, 28), np.uint8), np.arange(40, dtype=np.uint8) % 10
    raw = root / "torchvision/MNIST/raw"
    raw.mkdir(parents=True)
    for name, rows in (("train", slice(0, 30)), ("t10k", slice(30, 40))):
        n = rows.stop - rows.start
        (raw / f"{name}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, n, 28, 28) + x[rows].tobytes())
        (raw / f"{name}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, n) + y[rows].tobytes())
    return x, y


def test_arrays(tmp_path: Path) -> None:
    x, y = mnist(tmp_path)
    found = pictures("MNIST", root=tmp_path)
    assert len(found) == 40
    assert found.classes[:2] == ("0 - zero", "1 - one")
    assert found.targets.tolist() == y.tolist()
    assert found.parts.tolist() == [0] * 30 + [2] * 10
    assert found.store.name == "torchvision:MNIST"
    read = [found.store.read(key) for key in found.keys]
    np.testing.assert_array_equal(np.stack([np.asarray(picture) for picture in read]), x)
    assert found.store.stamp(found.keys[0]) == ""
    with pytest.raises(PictureError):
        found.store.read("train/99")


def test_files_are_opened_by_our_own_decoder(tmp_path: Path) -> None:
    for i, name in enumerate(("Forest", "River")):
        save(tmp_path / f"torchvision/eurosat/2750/{name}/{name}_{i}.jpg", 40 * i)
    found = pictures("EuroSAT", root=tmp_path)
    assert found.classes == ("Forest", "River")
    assert set(found.parts.tolist()) == {-1}
    data = found.store.read(found.keys[1])
    assert isinstance(data, bytes)
    assert image.header(data).format == "JPEG"
    assert found.store.stamp(found.keys[0]) != ""


def test_three_parts(tmp_path: Path) -> None:
    base = tmp_path / "torchvision/dtd/dtd"
    (base / "labels").mkdir(parents=True)
    for part in ("train", "val", "test"):
        names = [f"{kind}/{kind}_{part}.jpg" for kind in ("banded", "dotted")]
        (base / "labels" / f"{part}1.txt").write_text("\n".join(names) + "\n")
        for name in names:
            save(base / "images" / name)
    found = pictures("DTD", root=tmp_path)
    assert found.classes == ("banded", "dotted")
    assert found.parts.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_set_that_opens_its_own_pictures(tmp_path: Path) -> None:
    base = tmp_path / "torchvision/gtsrb"
    for name in ("00000", "00001"):
        save(base / f"GTSRB/Training/{name}/1.ppm", 200)
    save(base / "GTSRB/Final_Test/Images/7.ppm")
    (base / "GT-final_test.csv").write_text("Filename;ClassId\n7.ppm;1\n")
    found = pictures("GTSRB", root=tmp_path)
    assert found.classes == ("0", "1")
    assert found.parts.tolist() == [0, 0, 2]
    pixels = np.asarray(found.store.read(found.keys[0]))
    assert (pixels.shape, pixels[0, 0].tolist()) == ((5, 6, 3), [200, 0, 0])


def test_what_is_not_here_needs_permission(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError) as caught:
        pictures("CIFAR10", root=tmp_path)
    assert caught.value.code == "download-not-allowed"
    assert not list(tmp_path.iterdir()), "nothing is written without permission"
    monkeypatch.setattr(torchvision.datasets.MNIST, "download", lambda self: mnist(Path(self.root).parent))
    with events.listen(alone=True):
        assert len(pictures("MNIST", root=tmp_path, allow_download=True)) == 40

    def broken(_: object) -> None:
        raise gzip.BadGzipFile("cut")

    monkeypatch.setattr(torchvision.datasets.KMNIST, "download", broken)
    with events.listen(alone=True), pytest.raises(MachineError) as failed:
        pictures("KMNIST", root=tmp_path, allow_download=True)
    assert failed.value.code == "download-failed"


def test_a_set_that_torchvision_does_not_fetch(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        pictures("FER2013", root=tmp_path, allow_download=True)
    assert caught.value.code == "not-there"


def test_names_are_those_of_torchvision() -> None:
    with pytest.raises(UsageError) as caught:
        pictures("CIFAR-10")
    assert caught.value.hint == "did you mean 'CIFAR10'?"
    assert all(hasattr(torchvision.datasets, name) for name in SETS)


def test_labels_by_asking_for_each_picture() -> None:
    with events.listen(alone=True):
        assert vision._targets([("a", np.array([3])), ("b", 4)]) == [3, 4]
        with pytest.raises(DataError):
            vision._targets([("a", None)])
