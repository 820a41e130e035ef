from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from beholder.base import events
from beholder.data.arrays import arrays


def test_a_folder_becomes_four_arrays(leaves: Path) -> None:
    (x_train, y_train), (x_test, y_test) = arrays(leaves)
    assert x_train.shape[1:] == x_test.shape[1:] == (20, 24, 3)
    assert len(x_train) == len(y_train) == 30
    assert len(x_test) == len(y_test) == 6
    assert (x_train.dtype, y_train.dtype) == (np.uint8, np.int64)
    assert np.bincount(y_test).tolist() == [2, 2, 2]
    first = np.asarray(Image.open(leaves / "healthy/00.png"))
    assert any(np.array_equal(first, picture) for picture in np.concatenate([x_train, x_test]))


def test_a_test_part_of_its_own_is_used_and_grey_has_no_channels(tmp_path: Path) -> None:
    x = np.arange(10 * 6 * 6, dtype=np.uint16).astype(np.uint8).reshape(10, 6, 6)
    y = np.arange(10) % 2
    np.savez(tmp_path / "a.npz", x_train=x[:5], y_train=y[:5], x_val=x[5:8], y_val=y[5:8], x_test=x[8:], y_test=y[8:])
    (x_train, y_train), (x_test, y_test) = arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(x_train, x[:8])
    np.testing.assert_array_equal(x_test, x[8:])
    np.testing.assert_array_equal(np.concatenate([y_train, y_test]), y)
    assert arrays(tmp_path / "a.npz", size=12)[0][0].shape == (8, 12, 12)


def test_the_seed_chooses_the_test_part(leaves: Path) -> None:
    def held(seed: int) -> bytes:
        return arrays(leaves, seed=seed)[1][0].tobytes()

    assert held(0) == held(0) != held(1)


def test_bad_pictures_are_left_out_with_a_warning(leaves: Path) -> None:
    (leaves / "rust/05.png").write_bytes(b"no picture")
    said: list[events.Event] = []
    with events.listen(said.append, alone=True):
        (x_train, y_train), (x_test, y_test) = arrays(leaves)
    assert len(x_train) + len(x_test) == len(y_train) + len(y_test) == 35
    warnings = [event.message for event in said if event.kind == "warn"]
    assert len(warnings) == 1
    assert "rust/05.png" in warnings[0]


@pytest.mark.shared
@pytest.mark.slow
def test_fashion_mnist_has_the_published_statistics(shared: Path) -> None:
    (x_train, y_train), (x_test, _) = arrays(shared / "data" / "fashion-mnist.zip")
    assert (x_train.shape, x_test.shape) == ((60_000, 28, 28), (10_000, 28, 28))
    assert np.bincount(y_train).tolist() == [6000] * 10
    assert x_train.mean() / 255 == pytest.approx(0.2860, abs=5e-5)
    assert x_train.std() / 255 == pytest.approx(0.3530, abs=5e-5)
