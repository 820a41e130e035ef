"""What is said of pictures as columns of Parquet: answers, boxes, features, facts."""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import Values
from beholder.base.errors import DataError, UsageError
from beholder.base.names import readable
from beholder.duplicates.facts import FACTS, Facts

LABELS, BOXES, FACTS_OF = "labels", "boxes", "facts"
"""The kinds of what is computed in ranges."""

MAPPED = 1 << 20
"""Pictures from which on their facts, of 245 bytes each, lie in a file of the temporary folder."""

ABOUT = b"beholder"
"""The key of a part's metadata under which stands, as JSON, which range it is of and what is in it."""


def arrow() -> Any:
    """Return pyarrow. Raises `UsageError` (no-pyarrow) where it is not installed."""
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        text = "parts are Parquet, which takes pyarrow, and that is not installed"
        raise UsageError(text, code="no-pyarrow", hint='pip install "beholder[hf]"') from error
    return pa


def written(columns: Mapping[str, Any], about: Mapping[str, Any], *, named: Mapping[str, Mapping[str, str]]) -> bytes:
    """Return a part: a Parquet file of these columns. about: its metadata; named: column → its own metadata."""
    pa = arrow()
    fields = [pa.field(name, column.type, metadata=named.get(name)) for name, column in columns.items()]
    schema = pa.schema(fields, metadata={ABOUT: json.dumps(about)})
    file = io.BytesIO()
    words = [
        name for name, column in columns.items() if pa.types.is_string(column.type)
    ]  # of numbers it costs more than it saves
    table = pa.table(list(columns.values()), schema=schema)
    pa.parquet.write_table(table, file, use_dictionary=words, write_statistics=["row", *words])
    return file.getvalue()


def about(path: Path) -> dict[str, Any] | None:
    """Return the metadata of a part with its number of "rows"; None where there is no whole one at `path`."""
    pa = arrow()
    try:
        found = pa.parquet.read_metadata(path)
        said = json.loads(found.metadata[ABOUT])
    except (OSError, pa.ArrowException, KeyError, TypeError, ValueError):
        return None
    return {**said, "rows": found.num_rows} if isinstance(said, dict) else None


def errors_of(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return how many lines of answers have an error, by its code."""
    return dict(Counter(line["error"]["code"] for line in lines if "error" in line))


def of_lines(lines: Sequence[Mapping[str, Any]], start: int, *, classes: int, features: int) -> dict[str, Any]:
    """Return the columns of answers as `predict` gives them of labels or, where `classes` is 0, of boxes.

    start: row of the first in the source; features: how many a picture has, 0: none are kept
    """
    pa = arrow()
    columns = {
        "row": pa.array(range(start, start + len(lines)), pa.int64()),
        "path": pa.array([readable(line["path"]) for line in lines], pa.string()),
    }
    for name, kind in (_labels(pa) if classes else _boxes(pa)).items():
        if name == "probabilities":
            given = [list(line[name].values()) if name in line else None for line in lines]
            columns[name] = _fixed(pa, given, classes)
        else:
            columns[name] = pa.array([line.get(name) for line in lines], kind)
    if features:
        columns["features"] = _fixed(pa, [line.get("features") for line in lines], features)
    told = [line.get("error", {}) for line in lines]
    columns["error_code"] = pa.array([error.get("code") for error in told], pa.string())
    columns["error"] = pa.array([readable(error["message"]) if error else None for error in told], pa.string())
    return columns


def _labels(pa: Any) -> dict[str, Any]:
    return {
        "label": pa.string(),
        "p": pa.float64(),
        "probabilities": None,
        "abstain": pa.bool_(),
        "positive": pa.bool_(),
        "set": pa.list_(pa.string()),
        "ood": pa.bool_(),
        "ood_score": pa.float64(),
    }


def _boxes(pa: Any) -> dict[str, Any]:
    box = pa.struct([("label", pa.string()), ("p", pa.float64()), ("box", pa.list_(pa.float64()))])
    return {"width": pa.int32(), "height": pa.int32(), "boxes": pa.list_(box)}


def _fixed(pa: Any, rows: Sequence[Any], size: int) -> Any:
    """Return rows of `size` numbers each, or None, as a column of lists of float32."""
    values = np.zeros((len(rows), size), np.float32)
    for at, row in enumerate(rows):
        if row is not None:
            values[at] = row
    missing = pa.array([row is None for row in rows], pa.bool_())
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), size, mask=missing)


def of_facts(rows: Facts, paths: Sequence[str], start: int) -> dict[str, Any]:
    """Return the columns of facts (N,) of pictures; start: row of the first in the source."""
    pa = arrow()
    columns = {
        "row": pa.array(range(start, start + len(rows)), pa.int64()),
        "path": pa.array([readable(path) for path in paths], pa.string()),
    }
    return columns | {name: _column(pa, rows[name], FACTS[name]) for name in FACTS.names or ()}


def _column(pa: Any, values: Values, kind: np.dtype[Any]) -> Any:
    if kind.base.kind == "S":
        return pa.array([value.decode() for value in values.tolist()], pa.string())
    if not kind.shape:
        return pa.array(values)
    size = int(np.prod(kind.shape))
    if kind.base.itemsize == 1:  # digests and hashes
        return pa.FixedSizeBinaryArray.from_buffers(pa.binary(size), len(values), [None, pa.py_buffer(values.tobytes())])
    return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), size)


def read_facts(paths: Sequence[Path]) -> Facts:
    """Return the facts (N,) that parts hold, one part after the other; no more than one part is held beside them.

    Raises `DataError` (bad-parts).
    """
    pa, columns, at = arrow(), list(FACTS.names or ()), 0
    found = room_for(sum(_read(path, lambda path: pa.parquet.read_metadata(path).num_rows) for path in paths))
    for path in paths:
        table = _read(path, lambda path: pa.parquet.read_table(path, columns=columns).combine_chunks())
        rows = found[at : at + len(table)]
        for name in columns:
            rows[name] = _values(table[name], FACTS[name])
        at += len(table)
    return found


def _read(path: Path, work: Callable[[Path], Any]) -> Any:
    try:
        return work(path)
    except (OSError, arrow().ArrowException) as error:
        hint = "delete it and run again: it is made anew"
        raise DataError(f"{path} cannot be read: {error}", code="bad-parts", hint=hint) from error


def room_for(n: int) -> Facts:
    """Return facts (n,) that are 0; of very many in a file without a name, whose pages the system takes back as it needs to.

    Where the temporary folder has no room for that, they are in memory.
    """
    if n < MAPPED:
        return np.zeros(n, FACTS)
    with tempfile.TemporaryFile() as file:
        try:  # of a file with holes a full disk would end this process
            os.posix_fallocate(file.fileno(), 0, n * FACTS.itemsize)
        except (AttributeError, OSError):
            return np.zeros(n, FACTS)
        return np.asarray(np.memmap(file, FACTS, "r+", shape=(n,)))


def _values(column: Any, kind: np.dtype[Any]) -> Values:
    if kind.base.kind == "S":
        return np.array(column.to_pylist(), kind.base)
    if not kind.shape:
        values: Values = column.to_numpy()
        return values
    if kind.base.itemsize == 1:
        return np.frombuffer(b"".join(column.to_pylist()), kind.base).reshape(-1, *kind.shape)
    flat: Values = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(-1, *kind.shape)
