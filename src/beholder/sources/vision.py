"""`torchvision:NAME`: the classification sets that torchvision knows, read by its own classes.

Their files lie in the cache folder, under torchvision/. torchvision compares checksums of the sets it ships as arrays before it
opens them. Where a class lets files be opened by others, `image/` opens them, as everywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, MachineError, PictureError, UsageError, did_you_mean
from beholder.base.files import identity
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import PARTS, Pictures
from beholder.machine.folders import cache_folder
from beholder.sources.folder import file_bytes
from beholder.sources.listing import assemble, some
from beholder.sources.remote import not_allowed

_BOOL = {"train": {"train": True}, "test": {"train": False}}
_TWO = {"train": {"split": "train"}, "test": {"split": "test"}}
_THREE = {"train": {"split": "train"}, "valid": {"split": "val"}, "test": {"split": "test"}}
_VAL = {"train": {"split": "train"}, "valid": {"split": "val"}}
_WHOLE: dict[str, dict[str, Any]] = {"": {}}

SETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {
    "MNIST": _BOOL, "FashionMNIST": _BOOL, "KMNIST": _BOOL, "QMNIST": _BOOL, "CIFAR10": _BOOL, "CIFAR100": _BOOL, "USPS": _BOOL,
    "EMNIST": {part: {"split": "balanced", **which} for part, which in _BOOL.items()},
    "SVHN": _TWO, "STL10": _TWO, "GTSRB": _TWO, "FER2013": _TWO, "Food101": _TWO, "StanfordCars": _TWO,
    "Flowers102": _THREE, "DTD": _THREE, "FGVCAircraft": _THREE, "RenderedSST2": _THREE, "PCAM": _THREE,
    "Country211": {**_THREE, "valid": {"split": "valid"}},
    "OxfordIIITPet": {"train": {"split": "trainval"}, "test": {"split": "test"}},
    "Imagenette": _VAL, "CLEVRClassification": _VAL, "ImageNet": _VAL,
    "EuroSAT": _WHOLE, "SEMEION": _WHOLE, "Caltech101": _WHOLE, "Caltech256": _WHOLE, "SUN397": _WHOLE,
}  # fmt: skip
"""The sets with one label a picture, and what their classes are called with for each part; "" where a set has no parts."""

_PASSED_ON = {"EMNIST", "QMNIST"}
"""Classes that take `download` without naming it."""


@dataclass(frozen=True)
class VisionStore:
    """Pictures of torchvision's data sets by part; a key is the part, a slash and the position. name: torchvision:NAME."""

    name: str
    sets: Mapping[str, Any]
    limits: Limits

    def read(self, key: str) -> bytes | npt.NDArray[np.generic]:
        """Return the file's bytes where the picture is one, else its pixels. Raises `PictureError` (unreadable, …)."""
        found = self._picture(key)
        if isinstance(found, (str, Path)):
            return file_bytes(found, name=key, limits=self.limits)
        if getattr(found, "mode", "L") not in ("L", "RGB", "RGBA"):
            found = found.convert("RGB")
        return np.asarray(found)

    def stamp(self, key: str) -> str:
        """Return size, times of last change and inode of a file, "" for pixels."""
        found = self._picture(key)
        if not isinstance(found, (str, Path)):
            return ""
        return identity(Path(found).stat())

    def _picture(self, key: str) -> Any:
        part, _, number = key.rpartition("/")
        try:
            return self.sets[part][int(number)][0]
        except (KeyError, ValueError, IndexError, OSError) as error:
            raise PictureError(
                f"cannot read {key} of {self.name}: {error}", code="unreadable", hint="fetch it again"
            ) from error


def pictures(name: str, *, limits: Limits = LIMITS, allow_download: bool = False, root: Path | None = None) -> Pictures:
    """Return a set of torchvision, from its copy in the cache folder (or `root`), downloaded there if that is allowed.

    name: as torchvision writes it, such as CIFAR10. Raises `UsageError` (unknown-source, download-not-allowed),
    `MachineError` (download-failed).
    """
    if name not in SETS:
        raise UsageError(f"there is no torchvision:{name}", code="unknown-source", hint=did_you_mean(name, SETS))
    folder = cache_folder(root) / "torchvision"
    sets = {part: _opened(name, which, folder, allow_download) for part, which in SETS[name].items()}
    keys: list[str] = []
    labels: list[tuple[str, ...]] = []
    parts: list[int] = []
    for part, data in sets.items():
        names = _class_names(data)
        width = len(str(len(data)))
        for i, target in enumerate(_targets(data)):
            keys.append(f"{part}/{i:0{width}}")
            none = names and target == -1
            labels.append((names[target] if 0 <= target < len(names) else "" if none else str(target),))
            parts.append(PARTS.index(part) if part else -1)
    return assemble(VisionStore(f"torchvision:{name}", sets, limits), keys, labels, parts=parts)


def _opened(name: str, which: Mapping[str, Any], folder: Path, allow_download: bool) -> Any:
    from torchvision import datasets

    made = getattr(datasets, name)
    fields = dict(which)
    takes = inspect.signature(made.__init__).parameters
    if "loader" in takes:
        fields["loader"] = _itself
    able = "download" in takes or name in _PASSED_ON
    off = {"download": False} if able else {}
    try:
        return made(str(folder), **fields, **off)
    except (RuntimeError, OSError, ValueError) as error:
        if not able:
            text = f"torchvision:{name} is not in {folder}, and torchvision does not fetch it: {error}"
            hint = "put the files that torchvision's documentation names there"
            raise DataError(text, code="not-there", hint=hint) from error
        if not allow_download:
            raise not_allowed(f"torchvision:{name}") from error
    events.note(f"torchvision downloads {name} to {folder}")
    folder.mkdir(parents=True, exist_ok=True)
    try:
        return made(str(folder), **fields, download=True)
    except Exception as error:  # torchvision raises what its many servers and formats lead to
        raise MachineError(
            f"torchvision could not fetch {name}: {error}", code="download-failed", hint="run again, or check the network"
        ) from error


def _itself(path: Any) -> Any:
    """Stand in for the loader: the path is enough, for the picture is opened elsewhere."""
    return path


def _class_names(data: Any) -> list[str]:
    names = getattr(data, "classes", None) or getattr(data, "categories", None) or []
    return [name[0] if isinstance(name, tuple) else str(name) for name in names]


def _targets(data: Any) -> list[int]:
    """Return the class of each picture, from a list that the set keeps, else by asking for one picture after another."""
    for word in ("targets", "labels", "_labels", "y", "_samples"):
        found = getattr(data, word, None)
        if found is not None and len(found) == len(data):
            return [_first(row[1] if word == "_samples" else row) for row in found]
    events.note(f"reading the labels of {len(data):,} pictures one by one")
    return [_first(data[i][1]) for i in range(len(data))]


def _first(target: Any) -> int:
    row: Sequence[Any] = np.asarray(target).ravel().tolist()
    if not row or row[0] is None:
        raise DataError("some pictures of it have no label", code="no-labels", hint=f"its label is {some([str(target)])}")
    return int(row[0])
