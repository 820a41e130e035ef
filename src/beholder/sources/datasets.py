"""Map-style data sets of PyTorch: anything with a length whose items are (picture, label)."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from beholder import image
from beholder.base import events
from beholder.base.errors import BeholderError, DataError, PictureError, UsageError
from beholder.base.names import Names
from beholder.base.records import Pictures
from beholder.sources import labels
from beholder.sources.listing import assemble

Array = npt.NDArray[np.generic]

LOOKED_AT = 32
"""Items that are read before all else, twice each: what is not fit, and what is drawn anew at each reading, shows in them.

What strikes one reading in ten is seen in 999 sets of 1,000.
"""

EACH_CLASS = 256
"""Classes of which one item each is read, to see whether it has the label that the set lists for it."""

_ITEM = "an item is (picture, label): a Pillow picture, a tensor (C, H, W) or an array (H, W, C), and a whole number or a name"


@dataclass(frozen=True, eq=False)
class DatasetStore:
    """Pictures of a data set by position; one thread at a time reads, as data sets seldom expect more.

    low, high: between what its numbers lie, where they are to be scaled to 0..1
    """

    data: Any
    name: str
    low: float = 0.0
    high: float = 1.0
    lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def read(self, key: str) -> Array:
        """Return the picture at position `key`. Raises `PictureError` (unreadable)."""
        try:
            with self.lock:
                found = picture_of(_parts(self.data[int(key)])[0])
        except Exception as error:  # data sets raise what they like, and one bad item is no end of a run
            why = error if isinstance(error, BeholderError) else f"{type(error).__name__}: {error}"
            raise PictureError(f"cannot read picture {key} of {self.name}: {why}", code="unreadable") from error
        if found.dtype.kind != "f" or (self.low, self.high) == (0.0, 1.0):
            return found
        scaled = (np.asarray(found, np.float64) - self.low) / ((self.high - self.low) or 1.0)
        return np.clip(scaled, 0, 1).astype(np.float32)

    def stamp(self, key: str) -> str:
        """Return "": what a data set gives may change, so its content is always looked at."""
        return ""


def is_dataset(source: object) -> bool:
    """Return whether something is a data set of PyTorch, or has its two methods and is no array, text or collection."""
    torch = sys.modules.get("torch")
    if torch is not None:
        if isinstance(source, torch.Tensor):
            return False
        if isinstance(source, (torch.utils.data.Dataset, torch.utils.data.DataLoader)):
            return True
    if isinstance(source, (str, bytes, Sequence, Mapping, np.ndarray)) or hasattr(source, "__array__"):
        return False
    return callable(getattr(source, "__getitem__", None)) and callable(getattr(source, "__len__", None))


def pictures(data: Any) -> Pictures:
    """Return the pictures of a data set with their labels; its `classes` are their names, where it has some.

    Labels are read from the lists that data sets of torchvision keep, where some items bear them out, else from every item.
    Raises `UsageError` (bad-source) for what has no length or no items by position, `DataError` (bad-dataset,
    random-pictures, no-pictures, no-labels, …).
    """
    count, name, names = _length(data), type(data).__name__, _classes(data)
    wide, looked = _looked_at(data, count, labelled=True)
    told = _listed(data, count, names, {position: _labels(label, names) for position, label in looked.items()})
    low, high = 0.0, 1.0
    if told is None or wide:
        found, low, high = _read(data, count, wide)
        told = [_labels(label, names) for label in found]
    width = len(str(max(count - 1, 0)))
    return assemble(
        DatasetStore(data, name, low, high),
        [f"{i:0{width}d}" for i in range(count)],
        told,
        multi=any(len(row) != 1 for row in told),
        notes=[f"values of the pictures from {low:g} to {high:g} were scaled to 0..1"] if wide else [],
    )


def bare(data: Any) -> tuple[DatasetStore, Names]:
    """Return the store of a data set whose items are pictures, with or without labels, and the names of its pictures."""
    count = _length(data)
    if _looked_at(data, count, labelled=False)[0]:
        _, low, high = _read(data, count, True)
        store = DatasetStore(data, type(data).__name__, low, high)
    else:
        store = DatasetStore(data, type(data).__name__)
    width = len(str(max(count - 1, 0)))
    return store, Names.of(f"{i:0{width}d}" for i in range(count))


def picture_of(given: Any) -> Array:
    """Return what stands for a picture in an item as an array (H, W) or (H, W, C). Raises `TypeError`, `PictureError`."""
    if hasattr(given, "getexif") and hasattr(given, "mode"):
        return image.array_of(given)
    tensor = hasattr(given, "detach")
    found = given.detach().cpu().numpy() if tensor else np.asarray(given)
    if found.dtype.kind not in "fiub" or found.ndim not in (2, 3):
        raise TypeError(f"{type(given).__name__} of shape {found.shape} and type {found.dtype} is no picture; {_ITEM}")
    if tensor and found.ndim == 3:
        found = np.moveaxis(found, 0, 2)
    if found.dtype.kind in "iu" and found.dtype not in (np.uint8, np.uint16) and found.size and found.min() >= 0:
        found = found.astype(np.uint8 if found.max() <= 255 else np.uint16)
    return cast(Array, found)


def _length(data: Any) -> int:
    kind = type(data).__name__
    if hasattr(data, "batch_sampler"):
        raise UsageError(f"a {kind} gives batches", code="bad-source", hint="give what it draws from: loader.dataset")
    hint = "give a map-style data set, with __len__ and __getitem__; of a stream, make a list or files first"
    if not hasattr(type(data), "__getitem__"):
        raise UsageError(f"{kind} has no items by position", code="bad-source", hint=hint)
    try:
        return len(data)
    except Exception as error:
        raise UsageError(f"{kind} has no length", code="bad-source", hint=hint) from error


def _parts(item: Any) -> tuple[Any, Any]:
    """Return (picture, label) of an item, which may be a picture alone."""
    if isinstance(item, (tuple, list)) and len(item) >= 1:
        return item[0], item[1] if len(item) > 1 else None
    return item, None


def _item(data: Any, position: int) -> tuple[Any, Any]:
    try:
        return _parts(data[position])
    except Exception as error:
        if isinstance(error, BeholderError):
            raise
        text = f"item {position} of {type(data).__name__} cannot be read: {type(error).__name__}: {error}"
        raise DataError(text, code="bad-dataset", hint=_ITEM) from error


def _looked_at(data: Any, count: int, *, labelled: bool) -> tuple[bool, dict[int, Any]]:
    """Read a few items twice; return whether their numbers lie outside 0..1, and their labels by position.

    Raises `DataError` for what is not fit.
    """
    wide, kind, told = False, type(data).__name__, {}
    for position in sorted({count * k // LOOKED_AT for k in range(LOOKED_AT)} if count else ()):
        given, label = _item(data, position)
        if labelled and label is None:
            what = f"item {position} of {kind} is a {type(given).__name__} without a label"
            raise DataError(what, code="no-labels", hint=_hint(given))
        told[position] = label
        found, again = (_picture(kind, position, one) for one in (given, _item(data, position)[0]))
        if found.shape != again.shape or not np.array_equal(found, again, equal_nan=found.dtype.kind == "f"):
            hint = "leave random transforms out (dataset.transform = None): the recipe's augment= draws them anew each epoch"
            text = f"{kind} gives another picture each time item {position} is read"
            raise DataError(text, code="random-pictures", hint=hint)
        values = np.asarray(found, np.float64) if found.dtype.kind == "f" else np.zeros(0)
        wide = wide or bool(((values < 0) | (values > 1)).any())
    return wide, told


def _hint(given: Any) -> str:
    """Return what an item has to be; of one with names for its parts, as Hugging Face's have, where such sets are read."""
    named = "; of a set of the Hugging Face Hub, give its name as the source: hf:OWNER/NAME"
    return _ITEM + (named if isinstance(given, Mapping) else "")


def _picture(kind: str, position: int, given: Any) -> Array:
    try:
        return picture_of(given)
    except Exception as error:
        text = f"item {position} of {kind} is not usable: {error}"
        raise DataError(text, code="bad-dataset", hint=_hint(given)) from error


def _read(data: Any, count: int, wide: bool) -> tuple[list[Any], float, float]:
    """Return the labels, and between what the numbers of the pictures lie where `wide`; every item is read."""
    low, high, found = np.inf, -np.inf, []
    for position in range(count):
        given, label = _item(data, position)
        found.append(label)
        if wide:
            values = _picture(type(data).__name__, position, given)
            if values.dtype.kind == "f" and values.size and np.isfinite(values).all():
                low, high = min(low, float(values.min())), max(high, float(values.max()))
        events.progress("reading the items", position + 1, count)
    return found, *((low, high) if wide else (0.0, 1.0))


def _listed(data: Any, count: int, names: Sequence[str], looked: Mapping[int, tuple[str, ...]]) -> list[tuple[str, ...]] | None:
    """Return the labels of all items as the data set lists them; None where it lists none, or an item has another one.

    looked: labels of some items by position, as they were read. One item of each class is read besides: a data set that is
    made of another may merge, rename or reorder the classes of which it still has the list.
    """
    try:
        told = [_labels(target, names) for target in _targets(data) or ()]
    except Exception:  # noqa: BLE001  (what a set keeps under the names of such lists may be anything; its items say)
        return None
    if len(told) != count or any(told[position] != label for position, label in looked.items()):
        return None
    first: dict[tuple[str, ...], int] = {}
    for position, label in enumerate(told):
        first.setdefault(label, position)
    seen = set(looked.values())
    rest = islice((position for label, position in first.items() if label not in seen), EACH_CLASS)
    return told if all(_labels(_item(data, position)[1], names) == told[position] for position in rest) else None


def _targets(data: Any) -> Sequence[Any] | None:
    """Return the label of each item from the lists that data sets keep, None where there are none, or they are changed."""
    if getattr(data, "target_transform", None) is not None or _paired(getattr(data, "transforms", None)):
        return None
    indices, inner, several = (getattr(data, word, None) for word in ("indices", "dataset", "datasets"))
    if indices is not None and inner is not None:
        below = _targets(inner)
        return None if below is None else [below[int(i)] for i in indices]
    if isinstance(several, (tuple, list)):
        each = [_targets(one) for one in several]
        return None if any(one is None for one in each) else [label for one in each for label in cast(Any, one)]
    found = getattr(data, "targets", None)
    if found is None or not hasattr(found, "__len__") or isinstance(found, (str, Mapping)) or len(found) != len(data):
        return None
    return list(found)


def _paired(both: Any) -> bool:
    """Return whether what torchvision calls `transforms` changes labels: all but a transform of the picture alone may."""
    return both is not None and getattr(both, "target_transform", both) is not None


def _classes(data: Any) -> tuple[str, ...]:
    """Return the names of the classes, () where a data set has none."""
    inner, several = getattr(data, "dataset", None), getattr(data, "datasets", None)
    if inner is not None and not hasattr(data, "classes"):
        return _classes(inner)
    if isinstance(several, (tuple, list)) and not hasattr(data, "classes"):
        each = {_classes(one) for one in several}
        return each.pop() if len(each) == 1 else ()
    found = getattr(data, "classes", None)
    if found is None or isinstance(found, (str, Mapping)) or not hasattr(found, "__iter__"):
        return ()
    return tuple(name[0] if isinstance(name, tuple) and name else str(name) for name in found)


def _labels(target: Any, names: Sequence[str]) -> tuple[str, ...]:
    """Return the labels of an item: a class by number or name, or several as 0 and 1. Raises `DataError` (bad-dataset)."""
    value = target.detach().cpu().numpy() if hasattr(target, "detach") else target
    if value is None or isinstance(value, (str, bytes)):
        return (labels.text(value),)
    array = np.asarray(value) if not isinstance(value, Mapping) else np.empty(0, object)
    if array.dtype.kind not in "fiub":
        raise _no_label(target)
    if array.ndim == 1 and len(array) > 1 and np.isin(array, (0, 1)).all():
        return tuple(_name(int(k), names) for k in np.flatnonzero(array))
    number = float(array.ravel()[0]) if array.size == 1 else math.inf
    if math.isnan(number):
        return ("",)
    if not number.is_integer():
        raise _no_label(target)
    return (_name(int(array.ravel()[0]), names),)


def _name(number: int, names: Sequence[str]) -> str:
    if not names:
        return str(number)
    if number == -1:
        return ""
    if not 0 <= number < len(names):
        text = f"a label is {number}, and there are {len(names)} names of classes"
        raise DataError(text, code="bad-dataset", hint="labels count from 0, as `classes` does")
    return names[number]


def _no_label(target: Any) -> DataError:
    what = f"a label is {str(target)[:40]!r}, a {type(target).__name__}"
    hint = "a label is a whole number or a name, or a row of 0 and 1 for several; boxes: docs/DETECTION.md"
    return DataError(what, code="bad-dataset", hint=hint)
