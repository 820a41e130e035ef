"""Pictures that are arrays already: (x, y) in memory, or an .npz."""

from __future__ import annotations

import math
import re
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base.errors import DataError, PictureError, UsageError
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import Pictures
from beholder.sources import inflate, labels
from beholder.sources.division import division
from beholder.sources.listing import assemble, some
from beholder.sources.parts import part_of

Array = npt.NDArray[np.generic]

_ERRORS = (
    zipfile.BadZipFile, OSError, EOFError, ValueError, zlib.error, NotImplementedError, MemoryError, OverflowError, SyntaxError,
    TypeError, AttributeError, RecursionError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""What is raised of an .npz that is none, or of one that was made to hurt: its headers are Python literals."""

_X = {"x", "image", "images", "img", "imgs", "data", "picture", "pictures"}
_Y = {"y", "label", "labels", "target", "targets", "class", "classes"}
"""Words by which an .npz calls its pictures and its labels; others may say the part: x_train, val_labels, testImages."""


def roles(names: Iterable[str]) -> tuple[list[tuple[str, str, int]], list[str]]:
    """Return (pictures, labels, part) of the arrays of an .npz by their names, and the names of those that are neither.

    >>> roles(["x_train", "y_train", "holdout_images", "holdout_labels", "mean"])
    ([('x_train', 'y_train', 0), ('holdout_images', 'holdout_labels', 2)], ['mean'])
    """
    found: dict[tuple[int, bool], str] = {}
    left = []
    for name in names:
        role = _role(name)
        if role is None or found.setdefault(role, name) != name:
            left.append(name)
    pairs = [(x, found[part, False], part) for (part, of_x), x in found.items() if of_x and (part, False) in found]
    used = {name for x, y, _ in pairs for name in (x, y)}
    return pairs, [*left, *(name for name in found.values() if name not in used)]


def _role(name: str) -> tuple[int, bool] | None:
    """Return (part, whether it holds pictures) of an array by its name, None for one that is neither pictures nor labels."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower()
    words = re.findall(r"[a-z]+", re.sub(r"\b([xy])(?=[a-z]{3})", r"\1 ", spaced))
    known = [word for word in words if word in _X | _Y]
    given = {part_of(word) for word in words if word not in _X | _Y}
    if len(known) != 1 or len(given) > 1 or None in given:
        return None
    part = next(iter(given), None)
    return (-1 if part is None else part), known[0] in _X


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """Arrays (N, H, W) or (N, H, W, C), or a list of (H, W[, C]), by position. name: "arrays", or the path of the .npz."""

    pictures: Sequence[Array] | Array
    name: str = "arrays"

    def read(self, key: str) -> Array:
        """Return the picture at position `key`. Raises `PictureError` (unreadable)."""
        try:
            return np.asarray(self.pictures[int(key)])
        except (ValueError, IndexError) as error:
            raise PictureError(f"there is no picture {key} in {self.name}", code="unreadable") from error

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
        hint = "for example beholder.scan((x, y)) with x uint8 (N, H, W, 3) and y (N,)"
        raise UsageError(
            f"a source is a path, arrays (x, y) or a data set, not {type(source).__name__}", code="bad-source", hint=hint
        )
    return _pictures([(source[0], source[1], -1)], "arrays")


def bare(x: Any) -> tuple[ArrayStore, int, list[str]]:
    """Return the store of arrays without labels, how many they are, and what is to be said. Raises `DataError` (bad-arrays)."""
    found, notes = _ranged(_stack(x))
    return ArrayStore(found), len(found), notes


def from_npz(path: Path, *, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of an .npz with x and y, or x_train, y_train, x_test, y_test; pickled objects are refused.

    Raises `DataError` (not-an-archive, no-labels, no-arrays, too-many-bytes, bad-arrays).
    """
    try:
        with zipfile.ZipFile(path) as packed:
            members = packed.infolist()
        inflate.check(path, sum(m.file_size for m in members), sum(m.compress_size for m in members), limits)
        with np.load(path, allow_pickle=False) as file:
            names = list(file.files)
            wanted, unused = roles(names)
            _check_sizes(path, {name for x, y, _ in wanted for name in (x, y)})
            found = [(file[x], file[y], part) for x, y, part in wanted]
    except _ERRORS as error:
        hint = "write it with numpy.savez(path, x=x, y=y); arrays of Python objects are refused"
        raise DataError(f"{path} is not an .npz of plain arrays: {error}", code="not-an-archive", hint=hint) from error
    if not found and (bare := [name for name in names if (role := _role(name)) is not None and role[1]]):
        hint = "add y, a label for each picture; without labels give them in Python: numpy.load(path)['x']"
        raise DataError(f"{path} has pictures ({some(bare)}) and no labels of them", code="no-labels", hint=hint)
    if not found:
        listed = ", ".join(names) or "none"
        hint = "name them x and y, or x_train, y_train, x_test and y_test"
        raise DataError(f"{path} has no arrays x and y; its arrays are: {listed}", code="no-arrays", hint=hint)
    said = [f"arrays that are neither pictures nor labels of a part were left out: {some(unused)}"] if unused else []
    return _pictures(found, str(path.absolute()), said)


def _check_sizes(path: Path, names: set[str]) -> None:
    """Raise `ValueError` for an array of an .npz whose header claims another size than it has, before memory is asked for."""
    with zipfile.ZipFile(path) as packed:
        for info in packed.infolist():
            if info.filename.removesuffix(".npy") not in names:
                continue
            with packed.open(info) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, _, dtype = read(file)
                held = info.file_size - file.tell()
            if math.prod(shape) * dtype.itemsize != held or min(shape, default=1) < 0:
                raise ValueError(f"{info.filename} says it is {dtype} of the shape {shape}, and holds {held:,} bytes")


def _pictures(found: Sequence[tuple[Any, Any, int]], name: str, said: Sequence[str] = ()) -> Pictures:
    stacks = [_stack(x) for x, _, _ in found]
    told = [row for x, (_, y, _) in zip(stacks, found, strict=True) for row in _labels(_array(y, "y"), len(x))]
    made = division({row[0] for row in told if len(row) == 1}, where=name)
    told = [made.labels(row[0]) if len(row) == 1 and row[0] else row for row in told]
    multi = any(len(row) != 1 for row in told)
    pictures = stacks[0] if len(stacks) == 1 else [picture for stack in stacks for picture in stack]
    pictures, notes = _ranged(pictures)
    width = len(str(max(len(pictures) - 1, 0)))
    return assemble(
        ArrayStore(pictures, name),
        [f"{i:0{width}d}" for i in range(len(pictures))],
        told,
        multi=multi,
        parts=[part for stack, (_, _, part) in zip(stacks, found, strict=True) for _ in range(len(stack))],
        notes=[*said, *notes, *made.notes],
    )


def _array(values: Any, name: str) -> Array:
    try:
        return np.asarray(values)
    except (ValueError, TypeError, OverflowError) as error:
        raise bad_arrays(
            f"{name} is no array: {error}", "the rows of an array have one length and hold numbers or text"
        ) from error


def _stack(x: Any) -> Sequence[Array] | Array:
    several = [_array(picture, "a picture of x") for picture in x] if isinstance(x, (list, tuple)) else []
    if len({picture.shape for picture in several}) > 1:
        return [_channels_last(picture[None])[0] for picture in several]
    array = _array(several or x, "x")
    if array.ndim == 4 or (array.ndim == 3 and len(array)):
        return _channels_last(array)
    raise bad_arrays(f"x has the shape {array.shape}", "x is (N, H, W), (N, H, W, C) or (N, C, H, W); reshape flat rows first")


def _channels_last(x: Array) -> Array:
    """Return (N, H, W) or (N, H, W, C); the channels' axis is the one of 1, 3 or 4, the last one if both could be."""
    if 0 in x.shape[1:]:
        raise bad_arrays(f"x has the shape {x.shape}", "a picture has at least one pixel")
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
    values = y.tolist() if y.ndim == 1 else []
    if y.ndim != 1 or any(isinstance(v, float) and v == v and not v.is_integer() for v in values):
        raise bad_arrays(
            f"labels of shape {y.shape} and type {y.dtype}", "y is (N,) whole numbers or text, or (N, K) of 0 and 1"
        )
    if not all(v is None or isinstance(v, (str, bytes, int, float, np.integer)) for v in values):
        raise bad_arrays("labels that are neither numbers nor text", "y is (N,) whole numbers or text, or (N, K) of 0 and 1")
    return [(labels.text(value),) for value in values]


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
