from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beholder import image
from beholder.base.errors import DataError, UsageError
from beholder.sources import scan

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (6, 5, 7, 3), np.uint8)
Y = np.array([0, 1, 10, 1, 0, 10])


def test_arrays_in_memory() -> None:
    pictures = scan((X, Y))
    assert pictures.classes == ("0", "1", "10")
    assert pictures.targets.tolist() == [0, 1, 2, 1, 0, 2]
    np.testing.assert_array_equal(pictures.store.read(pictures.keys[3]), X[3])
    assert pictures.store.stamp("0") == ""


@pytest.mark.parametrize(
    "x",
    [X.transpose(0, 3, 1, 2), X.astype(np.int64), list(X), X.astype(np.float64)],
    ids=["channels first", "int64", "list", "float 0..255"],
)
def test_other_forms_of_the_same_pixels(x: Any) -> None:
    pictures = scan((x, Y))
    low, high = X.min(), X.max()
    expected = X if np.asarray(x).dtype.kind != "f" else np.rint((X - float(low)) / (high - low) * 255).astype(np.uint8)
    for i, key in enumerate(pictures.keys):
        np.testing.assert_array_equal(image.decode(pictures.store.read(key), channels=3), expected[i])


def test_a_range_of_its_own_is_scaled_for_all_alike_and_said() -> None:
    x = np.zeros((3, 8, 8))
    x[0, 0, 0], x[1, 0, 0] = 16, 8
    pictures = scan((x, [0, 1, 0]))
    assert [image.decode(pictures.store.read(k), channels=1).max() for k in pictures.keys] == [255, 128, 0]
    assert pictures.notes == ("values of x from 0 to 16 were scaled to 0..1",)


def test_pictures_of_different_sizes() -> None:
    pictures = scan(([np.zeros((4, 5), np.uint8), np.zeros((6, 3, 3), np.uint8)], ["a", "b"]))
    assert [np.shape(pictures.store.read(k)) for k in pictures.keys] == [(4, 5), (6, 3, 3)]


@pytest.mark.parametrize(
    ("y", "multi", "targets"),
    [
        (["b", "a", "b"], False, [1, 0, 1]),
        ([[1], [0], [1]], False, [1, 0, 1]),
        ([1.0, 0.0, 1.0], False, [1, 0, 1]),
        (np.eye(3)[[2, 0, 1]], False, [2, 0, 1]),
        ([[1, 1], [0, 1], [0, 0]], True, [[1, 1], [0, 1], [0, 0]]),
    ],
)
def test_labels_in_every_form(y: Any, multi: bool, targets: list[Any]) -> None:
    pictures = scan((X[:3], y))
    assert pictures.multi == multi
    assert pictures.targets.tolist() == targets


def test_npz_with_and_without_parts(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    assert scan(tmp_path / "a.npz").targets.tolist() == [0, 1, 2, 1, 0, 2]
    np.savez_compressed(tmp_path / "b.npz", x_train=X[:4], y_train=Y[:4], x_test=X[4:], y_test=Y[4:])
    pictures = scan(tmp_path / "b.npz")
    assert pictures.parts.tolist() == [0, 0, 0, 0, 2, 2]
    np.testing.assert_array_equal(pictures.store.read(pictures.keys[5]), X[5])
    np.savez(tmp_path / "c.npz", train_images=X, train_labels=Y[:, None], val_images=X, val_labels=Y[:, None])
    assert scan(tmp_path / "c.npz").parts.tolist() == [0] * 6 + [1] * 6


@pytest.mark.parametrize(("x", "y"), [("x_{}", "y_{}"), ("{}_images", "{}_labels"), ("X{}", "Y{}"), ("{}Data", "{}Target")])
def test_parts_of_an_npz_by_any_name(tmp_path: Path, x: str, y: str) -> None:
    named = {"train": 0, "validation": 1, "holdout": 2}
    arrays = {name.format(part): values for part in named for name, values in ((x, X), (y, Y))}
    np.savez(tmp_path / "a.npz", **arrays, mean=np.zeros(3))
    pictures = scan(tmp_path / "a.npz")
    assert pictures.parts.tolist() == [part for part in named.values() for _ in range(6)]
    assert "mean" in pictures.notes[0]


def test_several_labels_in_one_text() -> None:
    pictures = scan((X[:4], ["a|b", "b", "a", "b|c"]))
    assert pictures.targets.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0], [0, 1, 1]]


@pytest.mark.parametrize(
    ("x", "y", "error", "code"),
    [
        (X.reshape(6, -1), Y, DataError, "bad-arrays"),
        (X, Y[:5], DataError, "bad-arrays"),
        (X, [0.5] * 6, DataError, "bad-arrays"),
        (X.astype(complex), Y, DataError, "bad-arrays"),
        (X, np.zeros(6, int), DataError, "one-class"),
        (X[:0], Y[:0], DataError, "no-pictures"),
        (X, [None] * 6, DataError, "no-labels"),
        (X, [object()] * 6, DataError, "bad-arrays"),
    ],
)
def test_arrays_that_cannot_be_used(x: Any, y: Any, error: type, code: str) -> None:
    with pytest.raises(error) as caught:
        scan((x, y))
    assert caught.value.code == code
    assert caught.value.hint


@pytest.mark.parametrize("names", [("x",), ("x_train", "x_test")])
def test_an_npz_without_labels_is_one_clear_error(names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, **dict.fromkeys(names, X), mean=np.zeros(3))
    for labels in (True, None):
        with pytest.raises(DataError, match=f"has pictures .{', '.join(names)}. and no labels of them") as caught:
            scan(path, labels=labels)
        assert (caught.value.code, "add y" in caught.value.hint) == ("no-labels", True)
    with pytest.raises(UsageError, match=r"not read from an \.npz") as other:
        scan(path, labels=False)
    assert (other.value.code, "numpy.load" in other.value.hint) == ("unknown-source", True)
    assert len(scan(np.load(path)[names[0]], labels=False)) == len(X)


def test_npz_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    for content, code in (({"a": X}, "no-arrays"), ({"x": np.array([{}]), "y": Y[:1]}, "not-an-archive")):
        np.savez(path, allow_pickle=True, **content)
        with pytest.raises(DataError) as caught:
            scan(path)
        assert caught.value.code == code
    path.write_bytes(b"nothing")
    with pytest.raises(DataError) as caught:
        scan(path)
    assert caught.value.code == "not-an-archive"


def test_what_is_no_source_at_all() -> None:
    with pytest.raises(UsageError) as caught:
        scan(3)  # type: ignore[arg-type]
    assert caught.value.code == "bad-source"
