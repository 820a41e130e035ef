"""What is computed of which pictures in which ranges: plan.json, and keys.parquet with the names of the pictures."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from beholder.base.errors import DataError, UsageError
from beholder.base.files import file_sha256, write_atomic
from beholder.base.names import Names
from beholder.bundle.format import CONFIG
from beholder.runtime.exports import LIST
from beholder.study.columns import arrow

PLAN, KEYS = "plan.json", "keys.parquet"

FORMAT = 1
"""Counts the versions of what lies in a folder of parts."""

SIZE = 2048
"""Pictures of a range at most, where nobody says how many ranges there are: what is lost with a worker."""

LEAST = 64
"""Ranges that there are at least, where there are pictures enough: so that they can be spread."""

MULTIPLE = 32
"""Of which the pictures of a range are a multiple, so that batches are those of a run without ranges."""

LIBRARIES = ("beholder", "torch", "torchvision", "timm", "numpy", "pillow", "simplejpeg", "onnxruntime", "openvino")
"""Whose versions may change what is computed."""


@dataclass(frozen=True)
class Plan:
    """What is computed of which pictures.

    kind:     labels | boxes | facts
    asked:    what has to be the same where the work goes on: digest of the model and of the listing, options, versions
    pictures, size: how many in all, and in a range; the last may have fewer
    source:   as `scan` takes it, labels as of `scan`; root: the folder below which the keys lie, "" where it has to be scanned
    prefix:   what stands before a key in the column `path`; millions: of pixels of a picture, at most
    model:    its absolute path, "" for facts; engine: what it runs on; trust: as of `load`
    net, weights: its architecture and the SHA-256 of its weights; classes: in the order of the probabilities
    features: how many of a picture are kept, 0: none
    """

    kind: str
    asked: dict[str, Any]
    pictures: int
    size: int
    source: Any
    root: str
    prefix: str
    millions: int
    labels: bool | None = False
    allow_download: bool = False
    model: str = ""
    engine: str = ""
    trust: bool = False
    net: str = ""
    weights: str = ""
    classes: list[str] = field(default_factory=list)
    features: int = 0
    format: int = FORMAT

    @property
    def ranges(self) -> int:
        """Return how many ranges there are."""
        return -(-self.pictures // self.size)

    def name(self, index: int) -> str:
        """Return what the part of a range is called."""
        return f"part-{index:05d}-of-{self.ranges:05d}.parquet"

    def within(self, index: int) -> tuple[int, int]:
        """Return from which row of the listing to which a range goes."""
        return index * self.size, min((index + 1) * self.size, self.pictures)


def size_of(pictures: int, ranges: int) -> int:
    """Return how many pictures a range has. ranges: how many are asked for, 0: by their number."""
    least = -(-pictures // ranges) if ranges else min(SIZE, -(-pictures // LEAST))
    return -(-least // MULTIPLE) * MULTIPLE if not ranges else max(1, least)


def digest(keys: Sequence[str]) -> str:
    """Return the SHA-256 of names, in their order."""
    code = hashlib.sha256()
    for key in keys:
        code.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return code.hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of what answers depend on, "" for what is not installed."""
    return {name: _version(name) for name in LIBRARIES}


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def model_digest(path: Path) -> str:
    """Return the SHA-256 of what a model says of itself and its exports, which name the hashes of all its other files.

    path: a bundle's folder, or an exported file. Raises `UsageError` (path-missing).
    """
    try:
        if path.is_file():
            return file_sha256(path)
        exports = path / LIST
        return file_sha256(path / CONFIG) + (file_sha256(exports) if exports.is_file() else "")
    except OSError as error:
        raise UsageError(f"there is no model at {path}", code="path-missing", hint="give the path of a bundle") from error


def read(folder: Path) -> Plan | None:
    """Return the plan of a folder of parts, None where there is none.

    Raises `UsageError` (place-taken) where other files lie there, `DataError` (bad-plan) for one of another version.
    """
    try:
        said = json.loads((folder / PLAN).read_bytes())
        return Plan(**said)
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError) as error:
        hint = "give another folder, or delete this one"
        raise DataError(f"{folder / PLAN} is no plan of this version of Beholder", code="bad-plan", hint=hint) from error
    if folder.is_dir() and any(entry.name != KEYS and not entry.name.startswith(".") for entry in folder.iterdir()):
        raise UsageError(f"{folder} holds other files", code="place-taken", hint="give a folder that is new or empty")
    return None


def write(folder: Path, plan: Plan, keys: Names) -> None:
    """Write a plan into a folder, after the names of its pictures: a row group a range."""
    pa = arrow()
    file, schema = io.BytesIO(), pa.schema([("key", pa.binary())])
    with pa.parquet.ParquetWriter(file, schema) as writer:
        for some in _ranges(plan, keys):
            values = [key.encode("utf-8", "surrogateescape") for key in some]
            writer.write_table(pa.table([pa.array(values, pa.binary())], schema=schema), row_group_size=plan.size)
    write_atomic(folder / KEYS, file.getvalue(), option="--parts")
    write_atomic(folder / PLAN, json.dumps(asdict(plan), indent=1).encode(), option="--parts")


def _ranges(plan: Plan, keys: Names) -> Iterator[Names]:
    for index in range(plan.ranges):
        start, stop = plan.within(index)
        yield keys[start:stop]


def digests(plan: Plan, keys: Names) -> list[str]:
    """Return the digest of the names of each range."""
    return [digest(some) for some in _ranges(plan, keys)]


def keys_of(folder: Path, index: int) -> list[str]:
    """Return the names of the pictures of a range. Raises `DataError` (bad-plan)."""
    pa = arrow()
    try:
        file = _keys(folder / KEYS, (folder / PLAN).stat().st_mtime_ns)
        values = file.read_row_group(index).column(0).to_pylist()
    except (OSError, pa.ArrowException) as error:
        hint = "delete the folder and begin again"
        raise DataError(f"{folder / KEYS} cannot be read: {error}", code="bad-plan", hint=hint) from error
    return [value.decode("utf-8", "surrogateescape") for value in values]


@lru_cache(maxsize=1)
def _keys(path: Path, _changed: int) -> Any:
    """Return the file of names, opened: that of a million pictures says a lot before the first."""
    return arrow().parquet.ParquetFile(path)
