"""Pictures that are arrays already: (x, y) in memory, or an .npz."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.records import Pictures
from beholder.data.limits import LIMITS, Limits
from beholder.data.sources import inflate
from beholder.data.sources.listing import assemble

Array = npt.NDArray[np.generic]

NAMES = (
    (("x", "y"), -1), (("images", "labels"), -1), (("data", "target"), -1),
    (("x_train", "y_train"), 0), (("x_valid", "y_valid"), 1), (("x_val", "y_val"), 1), (("x_test", "y_test"), 2),
    (("train_images", "train_labels"), 0), (("val_images", "val_labels"), 1), (("test_images", "test_labels"), 2),
)  # fmt: skip
"""What an .npz may call its arrays (lower case), and the part each stands for."""


class ArrayStore:
    """Arrays (N, H, W) or (N, H, W, C), or a list of (H, W[, C]); the key is the position as text."""

    def __init__(self, pictures: Sequence[Array] | Array, name: str = "arrays") -> None:
        self._pictures = pictures
        self._name = name

    @property
    def name(self) -> str:
        """Return "arrays", or the path of the .npz."""
        return self._name

    def read(self, key: str) -> Array:
        """Return the picture at position `key`. Raises `PictureError` (unreadable)."""
        try:
            return np.asarray(self._pictures[int(key)])
        except (ValueError, IndexError) as error:
            raise PictureError(f"there is no picture {key} in {self._name}", code="unreadable") from error

    def stamp(self, key: str) -> str:
        """Return "": arrays may change in place, so their content is always looked at."""
        return ""


def from_arrays(source: Any) -> Pictures:
    """Return the pictures of (x, y) in memory.

    x: (N, H, W), (N, H, W, C) or (N, C, H, W) with C of 1, 3 or 4; uint8, uint16, or floats; or a list of such pictures
    y: (N,) whole numbers or text; (N, K) of 0 and 1: one-hot, or multi-hot where a row has not exactly one 1
    Raises `UsageError` (bad-source), `DataError` (bad-arrays).
    """
    if not isinstance(source, (tuple, list)) or len(source) != 2:
        raise UsageError(
            f"a source is a path or arrays (x, y), not {type(source).__name__}",
            code="bad-source",
            hint="for example beholder.scan((x, y)) with x uint8 (N, H, W, 3) and y (N,)",
        )
    return _pictures([(source[0], source[1], -1)], "arrays")


def from_npz(path: Path, *, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of an .npz with x and y, or x_train, y_train, x_test, y_test; pickled objects are refused.

    Raises `DataError` (not-an-archive, no-arrays, too-many-bytes, bad-arrays).
    """
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
        inflate.check(path, sum(m.file_size for m in members), sum(m.compress_size for m in members), limits)
        with np.load(path, allow_pickle=False) as file:
            names = {name.lower(): name for name in file.files}
            found = [(file[names[x]], file[names[y]], part) for (x, y), part in NAMES if x in names and y in names]
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, zlib.error, NotImplementedError) as error:
        raise DataError(
            f"{path} is not an .npz of plain arrays: {error}",
            code="not-an-archive",
            hint="write it with numpy.savez(path, x=x, y=y); arrays of Python objects are refused",
        ) from error
    if not found:
        listed = ", ".join(names.values()) or "none"
        raise DataError(
            f"{path} has no arrays x and y; its arrays are: {listed}",
            code="no-arrays",
            hint="name them x and y, or x_train, y_train, x_test and y_test",
        )
    return _pictures(found, str(path.absolute()))


def _pictures(found: Sequence[tuple[Any, Any, int]], name: str) -> Pictures:
    stacks = [_stack(x) for x, _, _ in found]
    labels = [_labels(np.asarray(y), len(x)) for x, (_, y, _) in zip(stacks, found, strict=True)]
    multi = any(len(row) != 1 for rows in labels for row in rows)
    pictures = stacks[0] if len(stacks) == 1 else [picture for stack in stacks for picture in stack]
    pictures, notes = _ranged(pictures)
    width = len(str(max(len(pictures) - 1, 0)))
    return assemble(
        ArrayStore(pictures, name),
        [f"{i:0{width}d}" for i in range(len(pictures))],
        [row for rows in labels for row in rows],
        multi=multi,
        parts=[part for stack, (_, _, part) in zip(stacks, found, strict=True) for _ in range(len(stack))],
        notes=notes,
    )


def _stack(x: Any) -> Sequence[Array] | Array:
    if isinstance(x, (list, tuple)) and len({np.shape(picture) for picture in x}) > 1:
        return [_channels_last(np.asarray(picture)[None])[0] for picture in x]
    array = np.asarray(x)
    if array.ndim == 4 or (array.ndim == 3 and len(array)):
        return _channels_last(array)
    raise bad_arrays(f"x has the shape {array.shape}", "x is (N, H, W), (N, H, W, C) or (N, C, H, W); reshape flat rows first")


def _channels_last(x: Array) -> Array:
    """Return (N, H, W) or (N, H, W, C); the channels' axis is the one of 1, 3 or 4, the last one if both could be."""
    if x.ndim == 3 or (x.ndim == 4 and x.shape[3] in (1, 3, 4)):
        return x
    if x.ndim == 4 and x.shape[1] in (1, 3, 4):
        return np.moveaxis(x, 1, 3)
    raise bad_arrays(f"x has the shape {x.shape}", "one axis of x holds the channels: 1, 3 or 4 of them")


def _labels(y: Array, n: int) -> list[tuple[str, ...]]:
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if len(y.shape) == 0 or len(y) != n:
        raise bad_arrays(f"there are {n:,} pictures and labels of shape {y.shape}", "give one label for each picture")
    if y.ndim == 2 and np.isin(y, (0, 1)).all():
        return [tuple(str(k) for k in np.flatnonzero(row)) for row in y]
    if y.ndim != 1 or (y.dtype.kind == "f" and not np.array_equal(y, np.round(y))):
        raise bad_arrays(
            f"labels of shape {y.shape} and type {y.dtype}", "y is (N,) whole numbers or text, or (N, K) of 0 and 1"
        )
    if y.dtype.kind == "O" and not all(isinstance(label, (str, int, np.integer)) for label in y.tolist()):
        raise bad_arrays("labels that are neither numbers nor text", "y is (N,) whole numbers or text, or (N, K) of 0 and 1")
    return [(str(int(label)) if isinstance(label, float) else str(label),) for label in y.tolist()]


def _ranged(pictures: Sequence[Array] | Array) -> tuple[Sequence[Array] | Array, list[str]]:
    """Bring numbers that are neither bytes, uint16 nor floats in 0..1 to such a range, the same for the whole array."""
    kinds = {np.asarray(p).dtype for p in pictures} if isinstance(pictures, list) else {np.asarray(pictures).dtype}
    if kinds <= {np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool)}:
        return pictures, []
    if any(kind.kind not in "fiub" for kind in kinds):
        raise bad_arrays(f"pictures of type {', '.join(map(str, kinds))}", "x holds numbers: uint8, uint16 or floats")
    low = min(float(np.min(p)) for p in pictures)
    high = max(float(np.max(p)) for p in pictures)
    if not np.isfinite([low, high]).all():
        return pictures, []
    if all(kind.kind in "iub" for kind in kinds) and low >= 0 and high <= 65535:
        kind = np.uint8 if high <= 255 else np.uint16
        return _each(pictures, lambda p: p.astype(kind)), []
    if low >= 0 and high <= 1:
        return pictures, []
    span = (high - low) or 1.0
    note = f"values of x from {low:g} to {high:g} were scaled to 0..1"
    return _each(pictures, lambda p: ((p.astype(np.float64) - low) / span).astype(np.float32)), [note]


def _each(pictures: Sequence[Array] | Array, change: Any) -> Sequence[Array] | Array:
    return [change(p) for p in pictures] if isinstance(pictures, list) else change(pictures)


def bad_arrays(what: str, hint: str) -> DataError:
    """Return the error for arrays that are no pictures or no labels."""
    return DataError(f"cannot use these arrays: {what}", code="bad-arrays", hint=hint)
