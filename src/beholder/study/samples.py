"""What scikit-learn hands over as X and y: arrays, rows of numbers, paths, pictures of Pillow; as pictures and targets."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import assert_all_finite, check_array, check_consistent_length, column_or_1d, validate_data

from beholder.base import events
from beholder.base.arrays import I64, U8, Values
from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.files import identity
from beholder.base.records import Pictures, PixelPolicy
from beholder.bundle.given import Taken, naming, one
from beholder.image import load
from beholder.sources.arrays import bare

ROWS, ARRAYS, SEVERAL = "rows", "arrays", "several"
"""Kinds of X: numbers (N, F); arrays (N, H, W[, C]) of one size; single pictures in any form, paths among them."""

UNIT, BYTE, WORD = (0.0, 1.0), (0.0, 255.0), (0.0, 65535.0)
"""Black and white of floats, of uint8 and of uint16."""


class UsageValueError(UsageError, ValueError):
    """A `UsageError` where scikit-learn expects a ValueError."""


class DataValueError(DataError, ValueError):
    """A `DataError` where scikit-learn expects a ValueError."""


class PictureValueError(PictureError, ValueError):
    """A `PictureError` where scikit-learn expects a ValueError."""


@contextmanager
def value_errors() -> Iterator[None]:
    """Raise what is wrong with arguments and pictures as a ValueError too, which scikit-learn expects and handles."""
    try:
        yield
    except (UsageError, DataError) as error:
        if isinstance(error, ValueError):
            raise
        kinds = {PictureError: PictureValueError, DataError: DataValueError, UsageError: UsageValueError}
        kind = next(found for base, found in kinds.items() if isinstance(error, base))
        raise kind(error.message, code=error.code, hint=error.hint) from error


@dataclass(frozen=True)
class Reading:
    """How X is read, decided when an estimator is fitted.

    kind: `ROWS`, `ARRAYS` or `SEVERAL`; shape: of the picture that a row is, () for other kinds
    levels: which numbers are black and white; None for uint8 and bool, which are levels already
    """

    kind: str
    shape: tuple[int, ...] = ()
    levels: tuple[float, float] | None = None


@dataclass(frozen=True, eq=False)
class Samples:
    """Pictures in their order, as they were given. name: of each, as messages call it, unique; read as a store is."""

    items: Sequence[Any] | Values
    keys: list[str] = field(default_factory=list)
    rows: Mapping[str, int] = field(default_factory=dict)
    name: str = "X"

    @classmethod
    def of(cls, items: Sequence[Any] | Values) -> Samples:
        """Return the store: keys are paths where these are given, else positions; repeated paths get their position too."""
        rows: dict[str, int] = {}
        for row, item in enumerate(items):
            key = os.fsdecode(item) if isinstance(item, (str, os.PathLike)) else str(row)
            rows[key if key and key not in rows else f"{key} (picture {row})"] = row
        return cls(items, list(rows), rows)

    def __len__(self) -> int:
        return len(self.items)

    def read(self, key: str) -> Taken:
        """Return a picture as encoded bytes or an array. Raises `PictureError`, and `UsageError` for what is no picture."""
        return one(self.items[self.rows[key]])

    def pixels(self, key: str, policy: PixelPolicy) -> U8:
        """Return a picture as a net is given it, uint8 (C, height, width). Raises as `read` does, and names the picture."""
        with naming(key if isinstance(self.items[self.rows[key]], (str, os.PathLike)) else f"picture {key}"):
            return load(one(self.items[self.rows[key]], bits=policy.bits), policy)

    def stamp(self, key: str) -> str:
        """Return the identity of a file, "" for what lies in memory and may change in place."""
        item = self.items[self.rows[key]]
        try:
            return identity(os.stat(item)) if isinstance(item, (str, os.PathLike)) else ""  # noqa: PTH116
        except (OSError, ValueError):
            return ""

    def pictures(self, targets: I64 | U8 | None = None, names: tuple[str, ...] = (), groups: I64 | None = None) -> Pictures:
        """Return the table of these pictures; without targets they have no labels."""
        none = np.full(len(self), -1)
        found = np.empty((len(self), 0), np.uint8) if targets is None else targets
        return Pictures(self, self.keys, found, names, none.astype(np.int8), none if groups is None else groups)


def learnt(estimator: Any, x: Any, *, shape: object = None) -> tuple[Samples, Reading]:
    """Return the pictures of X of `fit`, and how X is read from now on; `n_features_in_` is set where X is one array.

    shape: (H, W) or (H, W, C) of the picture that a row of numbers is; None: one row of pixels
    Raises `ValueError` and `TypeError` as scikit-learn's own estimators do, `UsageError` for a shape that does not fit.
    """
    kind, values = _kinded(estimator, x, reset=True)
    if kind == SEVERAL:
        return Samples.of(values), Reading(SEVERAL)
    side = _shape(shape, values.shape[1]) if kind == ROWS else ()
    estimator.n_features_in_ = int(np.prod(values.shape[1:]))
    reading = Reading(kind, side, _levels(values))
    return _samples(values, reading), reading


def given(estimator: Any, x: Any, reading: Reading) -> Samples:
    """Return the pictures of X of `predict` or `transform`, read as those of `fit` were. Raises as `learnt` does."""
    kind, values = _kinded(estimator, x, reset=False, rows=reading.kind == ROWS)
    if (kind == ROWS) != (reading.kind == ROWS):
        was, now = ("rows of numbers", "pictures") if reading.kind == ROWS else ("pictures", "rows of numbers")
        hint = "give X in the form that it was fitted on; one picture as [picture]"
        raise UsageValueError(f"X holds {now}, and it was fitted on {was}", code="other-kind", hint=hint)
    if kind == SEVERAL:
        return Samples.of(values)
    return Samples.of(list(values)) if reading.kind == SEVERAL else _samples(values, reading)


def _kinded(estimator: Any, x: Any, *, reset: bool, rows: bool = True) -> tuple[str, Any]:
    """Return the kind of X, and X as an array, or as a list of what stands for one picture each.

    reset: in `fit`; rows: whether the columns of rows are compared with those of `fit`
    """
    found = _several(x)
    if found is None:
        array = np.asarray(x) if isinstance(x, (list, tuple)) else x
        axes = getattr(array, "ndim", 2)
        if axes not in (3, 4):
            return ROWS, validate_data(estimator, x, reset=reset, dtype="numeric") if rows or axes != 2 else array
    for name in ("n_features_in_", "feature_names_in_") if reset else ():  # of an earlier fit on rows
        estimator.__dict__.pop(name, None)
    if found is not None:
        return SEVERAL, found
    return ARRAYS, check_array(np.asarray(array), allow_nd=True, ensure_2d=False, input_name="X", dtype="numeric")


def _several(x: Any) -> list[Any] | None:
    """Return X as a list of single pictures, None for numbers: paths, Pillow's, bytes, open files, arrays of several sizes."""
    if _is_picture(x):
        hint = "give a list of pictures, of one where there is one: [path]"
        raise UsageValueError("X is one picture, not several", code="no-list", hint=hint)
    values = _column(x)
    if not isinstance(values, (list, tuple)) or not len(values):
        return None
    shapes = [tuple(np.shape(each)) if hasattr(each, "dtype") else () for each in values]
    if not all(_is_picture(each) or len(shape) >= 2 for each, shape in zip(values, shapes, strict=True)):
        return None
    return list(values) if len(set(shapes)) > 1 or shapes[0] == () else None


def _is_picture(item: object) -> bool:
    """Return whether this is one picture, and no array."""
    return isinstance(item, (str, bytes, os.PathLike, Image.Image)) or hasattr(item, "read")


def _column(x: Any) -> Any:
    """Return an array or a table of one column of paths or pictures as a list; anything else as it is."""
    array = np.asarray(x) if hasattr(x, "iloc") or isinstance(x, np.ndarray) else None
    if array is None or array.dtype.kind not in "OUST" or not array.size or array.size != len(array):
        return x
    flat = array.ravel().tolist()
    return flat if all(_is_picture(each) or len(np.shape(each)) >= 2 for each in flat) else x


def _shape(shape: object, count: int) -> tuple[int, ...]:
    """Return the shape of the picture that a row of `count` numbers is. Raises `UsageError` (bad-value)."""
    if shape is None:
        return 1, count
    sides = tuple(shape) if isinstance(shape, (tuple, list)) else ()
    if len(sides) not in (2, 3) or not all(isinstance(side, (int, np.integer)) and side > 0 for side in sides):
        hint = "for example shape=(28, 28), or (32, 32, 3)"
        raise UsageValueError(
            f"shape is (height, width) or (height, width, channels), not {shape!r}", code="bad-value", hint=hint
        )
    if int(np.prod(sides)) != count:
        hint = "a row holds height times width times channels numbers; None makes one row of pixels of it"
        raise UsageValueError(f"X has rows of {count} numbers, and shape={shape!r}", code="bad-value", hint=hint)
    return sides


def _levels(values: Values) -> tuple[float, float] | None:
    """Return which numbers are black and white: 0 and 1, or 0 and 255, where all lie within, else the least and the largest."""
    if values.dtype in (np.uint8, np.uint16, bool):
        return WORD if values.dtype == np.uint16 else None
    low, high = float(values.min()), float(values.max())
    usual = UNIT if values.dtype.kind == "f" else BYTE
    return usual if low >= 0 and high <= usual[1] else (low, high)


def _between(values: Values, levels: tuple[float, float] | None) -> tuple[float, float] | None:
    """Return which numbers are black and white in X, by the levels of `fit`; None where X holds levels as they are.

    Pictures of `fit` and of `predict` may be levels of two types: bytes, and floats in 0..1. What is of the type of `fit` and
    lies a little outside is clipped. Raises `UsageError` (other-kind) for numbers that are no levels of any such type.
    """
    if levels not in (None, UNIT, BYTE, WORD):
        return levels
    if values.dtype in (np.uint8, np.uint16, bool):
        return None
    low, high, real = float(values.min()), float(values.max()), values.dtype.kind == "f"
    white = (levels or BYTE)[1]
    if low >= 0 and ((real and high <= 1) or (not real and levels == UNIT and 1 < high <= 255)):
        return UNIT if real else BYTE
    beyond = white / 2 if levels is not None and real == (levels == UNIT) else 0.0
    if low < -beyond or high > white + beyond:
        what = f"X holds numbers from {low:g} to {high:g}, and it was fitted on levels from 0 to {white:g}"
        hint = "give X in the form that it was fitted on, or as uint8, or as floats in 0..1"
        raise UsageValueError(what, code="other-kind", hint=hint)
    return 0.0, white


def _samples(values: Values, reading: Reading) -> Samples:
    """Return arrays as pictures (N, H, W) or (N, H, W, C) of uint8, or of uint16 as they are."""
    if reading.kind == ROWS:
        values = values.reshape(-1, *reading.shape)
    levels = _between(values, reading.levels)
    if levels == WORD:
        values = np.rint(np.clip(values, *WORD)).astype(np.uint16)
    elif levels is not None:
        low, high = levels
        share = (values.astype(np.float64) - low) / ((high - low) or 1.0)
        values = np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8)
    return Samples.of(bare(values)[0].pictures)


@dataclass(frozen=True, eq=False)
class Labels:
    """What y says. classes: (K,), sorted; targets: int64 (N,), or uint8 (N, K); names: of the classes, as text, unique."""

    classes: npt.NDArray[Any]
    targets: I64 | U8
    names: tuple[str, ...]


def labels(y: Any, x: Samples) -> Labels:
    """Return the labels of `fit`: (N,) numbers or text, or (N, K) of 0 and 1.

    Raises `ValueError` as scikit-learn's own classifiers do: for none, for another number, for numbers that are no classes.
    """
    if y is None:
        raise ValueError("This estimator requires y to be passed, but the target y is None.")
    array = check_array(y, ensure_2d=False, dtype=None, input_name="y", ensure_min_samples=0)
    check_consistent_length(x.items, array)
    try:
        if type_of_target(array, input_name="y").startswith("multilabel"):
            classes = np.arange(array.shape[1])
            return Labels(classes, array.astype(np.uint8), _names(classes))
        array = column_or_1d(array, warn=True)
        check_classification_targets(array)
        classes, targets = np.unique(array, return_inverse=True)
    except TypeError as error:
        hint = "name every class by text, or every class by a number"
        raise DataValueError(f"y is neither all text nor all numbers: {error}", code="bad-arrays", hint=hint) from error
    if len(classes) < 2:
        hint = "give pictures of two classes at least"
        raise DataValueError(f"y has only {len(classes)} class: there is nothing to tell apart", code="one-class", hint=hint)
    return Labels(classes, targets.astype(np.int64), _names(classes))


def _names(classes: npt.NDArray[Any]) -> tuple[str, ...]:
    values = [int(each) if isinstance(each, float) and each.is_integer() else each for each in classes.tolist()]
    names = tuple(map(str, values))
    return names if len(set(names)) == len(names) else tuple(f"{row}: {name}" for row, name in enumerate(names))


def numbered(groups: Any, x: Samples) -> I64 | None:
    """Return groups (N,), of which equal ones stay in one part, as numbers; None for none."""
    if groups is None:
        return None
    array = column_or_1d(groups)
    check_consistent_length(x.items, array)
    assert_all_finite(array, input_name="groups")
    return np.unique(array, return_inverse=True)[1].astype(np.int64)


def seed_of(random_state: Any) -> int:
    """Return the seed of a recipe: the number itself, or one drawn from the generator; None: NumPy's global one."""
    if isinstance(random_state, (int, np.integer)) and not isinstance(random_state, bool):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def telling(verbose: object) -> Iterator[None]:
    """Say inside the block what is done only where `verbose` is true, and warnings always, but how busy the machine is."""
    if verbose:
        yield
    else:
        with events.only("warn", but="busy"):
            yield
