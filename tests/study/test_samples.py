"""What scikit-learn hands over as X and y, without any training."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.base import BaseEstimator

import beholder
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.study.samples import (
    ARRAYS,
    ROWS,
    SEVERAL,
    Reading,
    Samples,
    given,
    labels,
    learnt,
    numbered,
    seed_of,
    value_errors,
)


class Plain(BaseEstimator):
    """An estimator that only looks at X."""


def read(x: Any, **options: Any) -> tuple[list[Any], Reading, Plain]:
    """The pictures of X as they are read, how X is read, and the estimator that it was."""
    estimator = Plain()
    samples, reading = learnt(estimator, x, **options)
    return [samples.read(key) for key in samples.keys], reading, estimator


def test_arrays_are_pictures_whose_channels_are_last() -> None:
    x = np.arange(2 * 3 * 4 * 5, dtype=np.uint8).reshape(2, 3, 4, 5)
    found, reading, estimator = read(x)
    assert reading == Reading(ARRAYS)
    assert [picture.shape for picture in found] == [(4, 5, 3)] * 2
    assert (found[1] == x[1].transpose(1, 2, 0)).all()
    assert estimator.n_features_in_ == 60


@pytest.mark.parametrize(
    ("values", "levels", "wanted"),
    [
        (np.array([0.0, 0.5, 1.0]), (0.0, 1.0), [0, 128, 255]),
        (np.array([0.0, 0.1, 0.2], np.float32), (0.0, 1.0), [0, 26, 51]),
        (np.array([0, 7, 255]), (0.0, 255.0), [0, 7, 255]),
        (np.array([0, 300, 600]), (0.0, 600.0), [0, 128, 255]),
        (np.array([-1.0, 0.0, 1.0]), (-1.0, 1.0), [0, 128, 255]),
        (np.array([5.5, 5.5, 5.5]), (5.5, 5.5), [0, 0, 0]),
        (np.array([0, 7, 255], np.uint8), None, [0, 7, 255]),
        (np.array([0, 7, 60_000], np.uint16), (0.0, 65535.0), [0, 7, 60_000]),
        (np.array([False, True, True]), None, [False, True, True]),
    ],
)
def test_levels_are_decided_by_fit(values: Any, levels: Any, wanted: list[int]) -> None:
    found, reading, _ = read(values.reshape(1, 1, 3))
    assert reading.levels == levels
    assert found[0].tolist() == [wanted]


def test_later_pictures_are_read_by_the_levels_of_fit() -> None:
    _, reading, estimator = read(np.array([0.0, 10.0, 20.0]).reshape(1, 1, 3))
    later = given(estimator, np.array([-5.0, 10.0, 99.0]).reshape(1, 1, 3), reading)
    assert later.read("0").tolist() == [[0, 128, 255]]


BYTES, FLOATS, WIDE = np.array([0, 51, 255], np.uint8), np.array([0, 0.2, 1]), np.array([0, 300, 600])


@pytest.mark.parametrize(
    ("fit", "later", "wanted"),
    [
        (BYTES, FLOATS, [0, 51, 255]),
        (BYTES, FLOATS.astype(np.float32), [0, 51, 255]),
        (BYTES, BYTES.astype(float), [0, 51, 255]),
        (BYTES, BYTES.astype(np.int64), [0, 51, 255]),
        (BYTES.astype(np.int64), FLOATS, [0, 51, 255]),
        (BYTES.astype(np.int64), np.array([-3, 51, 300]), [0, 51, 255]),
        (FLOATS, BYTES, [0, 51, 255]),
        (FLOATS, BYTES.astype(np.int64), [0, 51, 255]),
        (FLOATS, np.array([0, 1, 1]), [0, 255, 255]),
        (FLOATS, np.array([-0.1, 0.2, 1.3]), [0, 51, 255]),
        (BYTES > 0, FLOATS, [0, 51, 255]),
        (np.array([0, 7, 60_000], np.uint16), np.array([0, 7, 60_000]), [0, 7, 60_000]),
        (np.array([0, 7, 60_000], np.uint16), FLOATS, [0, 51, 255]),
        (WIDE, np.array([0, 30, 150], np.uint8), [0, 13, 64]),
        (WIDE, np.array([0, 30, 600], np.uint16), [0, 13, 255]),
    ],
)
def test_levels_of_another_type_than_that_of_fit_are_read_by_what_they_are(fit: Any, later: Any, wanted: list[int]) -> None:
    _, reading, estimator = read(fit.reshape(1, 1, 3))
    found = given(estimator, later.reshape(1, 1, 3), reading)
    assert found.read("0").tolist() == [wanted]


@pytest.mark.parametrize(
    ("fit", "later"),
    [
        (BYTES, np.array([-1.5, 0.0, 1.5])),
        (BYTES, WIDE),
        (BYTES, np.array([0.0, 300.0, 600.0])),
        (FLOATS, BYTES.astype(float)),
        (FLOATS, WIDE),
        (BYTES.astype(np.int64), np.array([0.0, -2.0, 2.0])),
    ],
)
def test_numbers_that_are_no_levels_of_the_pictures_of_fit_are_refused(fit: Any, later: Any) -> None:
    _, reading, estimator = read(fit.reshape(1, 1, 3))
    with pytest.raises(UsageError, match="it was fitted on levels from 0 to") as caught:
        given(estimator, later.reshape(1, 1, 3), reading)
    assert caught.value.code == "other-kind"
    assert isinstance(caught.value, ValueError)


def test_rows_are_pictures_of_their_shape() -> None:
    rows = np.arange(24, dtype=np.uint8).reshape(2, 12)
    assert [picture.shape for picture in read(rows)[0]] == [(1, 12)] * 2
    found, reading, _ = read(rows, shape=(2, 2, 3))
    assert reading == Reading(ROWS, (2, 2, 3))
    assert (found[1] == rows[1].reshape(2, 2, 3)).all()
    table = read(pd.DataFrame(rows).add_prefix("p"))[2]
    assert list(table.feature_names_in_[:2]) == ["p0", "p1"]
    for shape in ((3, 4, 5), (12,), (0, 12), "3x4", 12):
        with pytest.raises(UsageError, match="shape") as caught:
            read(rows, shape=shape)
        assert isinstance(caught.value, ValueError)


def test_a_second_fit_forgets_the_columns_of_the_first() -> None:
    estimator = Plain()
    learnt(estimator, pd.DataFrame({"a": [1.0, 2.0]}))
    assert estimator.n_features_in_ == 1
    learnt(estimator, [Image.new("L", (2, 2))])
    assert not hasattr(estimator, "n_features_in_")
    assert not hasattr(estimator, "feature_names_in_")


def test_paths_name_their_pictures_and_may_be_repeated(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.new("L", (2, 2), 7).save(path)
    for x in ([str(path), path, Image.new("L", (2, 2))], np.array([str(path)] * 2), pd.DataFrame({"path": [str(path)] * 2})):
        samples, reading = learnt(Plain(), x)
        assert reading == Reading(SEVERAL)
        assert samples.keys[:2] == [str(path), f"{path} (picture 1)"]
        assert samples.read(samples.keys[1]) == path.read_bytes()
        assert samples.stamp(samples.keys[0]) == samples.stamp(samples.keys[1]) != ""
    samples = learnt(Plain(), [str(path), Image.new("L", (2, 2)), "/nowhere.png"])[0]
    assert samples.stamp("1") == ""
    assert samples.stamp("/nowhere.png") == ""


def test_pictures_of_several_sizes_are_a_list(tmp_path: Path) -> None:
    found, reading, _ = read([np.zeros((2, 3), np.uint8), np.ones((4, 3), np.uint8)])
    assert reading.kind == SEVERAL
    assert [picture.shape for picture in found] == [(2, 3), (4, 3)]
    assert read([np.zeros((2, 3), np.uint8)] * 2)[1].kind == ARRAYS
    assert read([[1.0, 2.0], [3.0, 4.0]])[1].kind == ROWS


@pytest.mark.parametrize("x", ["a.png", b"bytes", Path("a.png"), Image.new("L", (2, 2))])
def test_one_picture_is_no_list(x: Any) -> None:
    with pytest.raises(UsageError, match="one picture, not several"):
        learnt(Plain(), x)


def test_labels_are_sorted_classes() -> None:
    x = Samples.of([np.zeros((2, 2), np.uint8)] * 4)
    found = labels(["b", "a", "b", "c"], x)
    assert found.classes.tolist() == ["a", "b", "c"]
    assert found.targets.tolist() == [1, 0, 1, 2]
    assert labels([2.0, 10.0, 2.0, 10.0], x).names == ("2", "10")
    assert labels([True, False, True, True], x).names == ("False", "True")
    several = labels([[0, 1], [1, 1], [0, 0], [1, 0]], x)
    assert several.targets.dtype == np.uint8
    assert several.names == ("0", "1")
    assert numbered(["p", "q", "p", "p"], x) is not None
    assert numbered(["p", "q", "p", "p"], x).tolist() == [0, 1, 0, 0]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("y", "says"),
    [
        (None, "y is None"),
        ([0, 1], "inconsistent numbers of samples"),
        ([0.5, 1.5, 2.0, 3.0], "Unknown label type"),
        ([0.0, np.nan, 1.0, 1.0], "NaN"),
        (["a", None, "a", "b"], "neither all text nor all numbers"),
        ([1, 1, 1, 1], "only 1 class"),
        ([[0, 2], [1, 0], [2, 1], [0, 0]], "1d array"),
    ],
)
def test_labels_that_are_none(y: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        labels(y, Samples.of([np.zeros((2, 2), np.uint8)] * 4))


def test_errors_are_value_errors_and_keep_what_they_are() -> None:
    for kind in (UsageError, DataError, PictureError):
        with pytest.raises(kind, match="wrong") as caught, value_errors():
            raise kind("it is wrong", code="bad", hint="do it right")
        assert isinstance(caught.value, ValueError)
        assert (caught.value.code, caught.value.hint) == ("bad", "do it right")
        assert isinstance(caught.value, PictureError) == (kind is PictureError)
        again = pickle.loads(pickle.dumps(caught.value))  # noqa: S301  (as it comes out of a process of joblib)
        assert (type(again), str(again)) == (type(caught.value), str(caught.value))
    with pytest.raises(beholder.MachineError) as machine, value_errors():
        raise beholder.MachineError("the disk is full")
    assert not isinstance(machine.value, ValueError)


def test_seeds() -> None:
    assert seed_of(7) == seed_of(np.int64(7)) == 7
    assert seed_of(np.random.RandomState(3)) == seed_of(np.random.RandomState(3))
    with pytest.raises(ValueError, match="cannot be used to seed"):
        seed_of("x")
