"""Parquet: pictures inside a column, as the Hugging Face Hub stores them, or a table with path,label.

A picture is a struct {bytes, path} or plain bytes. Class names come from the features that `datasets` writes into the schema.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.arrays import I8
from beholder.base.errors import DataError, MachineError, PictureError
from beholder.base.limits import LIMITS, Limits
from beholder.base.names import Names
from beholder.base.records import Pictures
from beholder.sources import inflate, labels
from beholder.sources.division import spread
from beholder.sources.folder import too_many_bytes
from beholder.sources.joined import JoinedStore
from beholder.sources.listing import assemble, no_pictures, tabled
from beholder.sources.parts import in_part, part_of
from beholder.sources.ranged import Ranged
from beholder.sources.table import COLUMNS

LABELS = (*COLUMNS["label"], "fine_label")
"""What a column of labels may be called, best first."""

HELD = 128 << 20
"""Bytes of row groups that the files of a source keep in memory, beside the one that was read last."""


@dataclass(frozen=True)
class Columns:
    """Where a file has its pictures and labels.

    nested: a picture is a struct; several: a row may have several labels; names: of the classes, () where labels are values
    split, group: columns of these, "" = none
    """

    image: str
    nested: bool
    label: str
    several: bool
    names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    split: str = ""
    group: str = ""


@dataclass
class Groups:
    """Row groups of the files of a source that are kept in memory, the last used, by file and number."""

    _held: OrderedDict[tuple[str, int], Any] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def get(self, file: str, group: int) -> Any:
        """Return the pictures of a row group, None where they are not kept."""
        with self._lock:
            if (file, group) in self._held:
                self._held.move_to_end((file, group))
            return self._held.get((file, group))

    def keep(self, file: str, group: int, column: Any) -> None:
        """Keep the pictures of a row group, in place of others where they are too many."""
        with self._lock:
            self._held[file, group] = column
            while len(self._held) > 1 and sum(held.nbytes for held in self._held.values()) > HELD:
                self._held.popitem(last=False)


@dataclass
class ParquetStore:
    """Pictures of one file; the key is the row as text. Reads a row group at a time.

    name: the absolute path, or the address; version: () → what is another text where the content is another
    """

    name: str
    version: Callable[[], str]
    columns: Columns
    limits: Limits
    groups: Groups
    _file: Any
    _starts: Any
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self, key: str) -> bytes:
        """Return a picture's bytes. Raises `PictureError` (unreadable, too-many-bytes), and what a file far away may raise."""
        row = int(key) if key.isdecimal() else -1
        if not 0 <= row < self._starts[-1]:
            raise PictureError(f"there is no row {key} in {self.name}", code="unreadable", hint="check the file")
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        value = self._column(group)[row - int(self._starts[group])].as_py()
        if not isinstance(value, bytes):
            raise PictureError(f"row {key} of {self.name} holds no bytes", code="empty", hint="leave the row out")
        if len(value) > self.limits.bytes:
            raise too_many_bytes(f"row {key} of {self.name}", len(value), self.limits.bytes)
        return value

    def stamp(self, key: str) -> str:
        """Return the version of the file, and the row."""
        return f"{self.version()}-{key}"

    def _column(self, group: int) -> Any:
        with self._lock:
            found = self.groups.get(self.name, group)
            if found is None:
                found = self._read(group)
                self.groups.keep(self.name, group, found)
            return found

    def _read(self, group: int) -> Any:
        import pyarrow as pa

        name = self.columns.image + (".bytes" if self.columns.nested else "")
        try:
            column = self._file.read_row_group(group, columns=[name], use_threads=False).column(0)
        except (pa.ArrowException, OSError) as error:
            raise PictureError(f"cannot read {self.name}: {error}", code="unreadable", hint="fetch it again") from error
        column = column.combine_chunks()
        return column.field("bytes") if self.columns.nested else column


def pictures_of(paths: Sequence[Path], *, name: str, root: Path, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of one or more files on this machine. root: from where on their names are told. Rest as `joined`."""
    return joined({os.path.relpath(path, root).replace("\\", "/"): path for path in paths}, name=name, limits=limits)


def joined(files: Mapping[str, Path | Ranged], *, name: str, limits: Limits = LIMITS) -> Pictures:
    """Return the pictures of files by name, all with the same columns; `name`: what the whole is called.

    The parts are those that the files' names say, such as train-00000-of-00002.parquet. Rows without a label are left out.
    Raises `MachineError` (missing-library), `DataError` (not-parquet, no-image-column, no-label-column, no-pictures, …).
    """
    groups = Groups()
    opened = {file: _opened(source, limits, groups) for file, source in files.items()}
    if not sum(int(store._starts[-1]) for store in opened.values()):
        raise no_pictures(name)
    notes = list(dict.fromkeys(note for store in opened.values() for note in store.columns.notes))
    notes += _incomplete(opened)
    whole = JoinedStore(name, opened)
    if any(store.columns.several for store in opened.values()):
        rows = [row for store in opened.values() for row in _sets(store)]
        parts = np.concatenate([_parts(file, store) for file, store in opened.items()])
        return assemble(whole, _keys(opened), rows, multi=True, parts=parts, groups=_groups(opened), notes=notes)
    known: dict[str, int] = {}
    targets = np.concatenate([_targets(store, known) for store in opened.values()])
    parts = np.concatenate([_parts(file, store) for file, store in opened.items()])
    divided, names, more = spread(targets, list(known), where=name)
    return tabled(whole, _keys(opened), divided, names, parts=parts, groups=_groups(opened), notes=[*notes, *more])


def _keys(opened: Mapping[str, ParquetStore]) -> Names:
    sizes = {file: int(store._starts[-1]) for file, store in opened.items()}
    return Names.of(f"{file}/{i:0{len(str(n))}}" for file, n in sizes.items() for i in range(n))


def _parts(file: str, store: ParquetStore) -> I8:
    """Return the part of each row: what its column says, else the file's name; -1 = none. Raises `DataError` (bad-split)."""
    named = np.full(int(store._starts[-1]), in_part(file), np.int8)
    if not store.columns.split:
        return named
    said = [labels.text(value) for value in _column(store, store.columns.split).to_pylist()]
    known = {name: part_of(name) if name else -1 for name in set(said)}
    odd = next((name for name, part in known.items() if part is None), "")
    if odd:
        hint = "the parts are train, valid and test"
        raise DataError(f"{store.name}: '{odd}' in the column {store.columns.split} is no part", code="bad-split", hint=hint)
    given = np.array([known[name] for name in said], np.int8)
    found: I8 = np.where(given < 0, named, given)
    return found


def _groups(opened: Mapping[str, ParquetStore]) -> list[str] | None:
    """Return the group of each row, "" = none; None where no file has a column of them."""
    if not any(store.columns.group for store in opened.values()):
        return None
    found: list[str] = []
    for store in opened.values():
        n, name = int(store._starts[-1]), store.columns.group
        found += [labels.text(value) for value in _column(store, name).to_pylist()] if name else [""] * n
    return found


def _incomplete(files: Iterable[str]) -> list[str]:
    """Return a note, and warn, where names such as train-00000-of-00002.parquet say that files are missing."""
    found = [match for file in files if (match := re.search(r"(.*)-\d{5}-of-(\d{5})", file))]
    counts = Counter((match[1], int(match[2])) for match in found)
    notes = [f"only {n} of the {total} files {stem}-… are there" for (stem, total), n in counts.items() if n < total]
    for note in notes:
        events.warn(note, hint="fetch the others too, if you want all pictures", code="missing-files")
    return notes


def holds_pictures(path: Path, *, limits: Limits = LIMITS) -> bool:
    """Return whether the pictures are inside a file, which is else a table. Raises as `pictures_of` does."""
    return bool(_image(_file(path, limits).schema_arrow, {}))


def rows_of(path: Path, *, limits: Limits = LIMITS) -> list[list[str]] | None:
    """Return a table with path,label as lines of text cells, the columns' names first; None where the pictures are inside."""
    if holds_pictures(path, limits=limits):
        return None
    table = _file(path, limits).read()
    rows = [list(table.column_names)]
    columns = [[labels.cell(value) for value in column.to_pylist()] for column in table.columns]
    return rows + [list(row) for row in zip(*columns, strict=True)]


def _file(path: Path | Ranged, limits: Limits) -> Any:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        text = f"reading {path} takes pyarrow, which is not installed"
        hint = "pip install 'beholder[hf]'"
        raise MachineError(text, code="missing-library", hint=hint) from error
    try:
        file = pq.ParquetFile(path)  # not mapped: a mapped file that shrinks would kill the process
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(
            f"{path} is not a Parquet file, or is damaged: {error}", code="not-parquet", hint="fetch or write it again"
        ) from error
    size = path.stat().st_size if isinstance(path, Path) else path.size
    inflate.check(path, sum(group.total_byte_size for group in groups), size, limits)
    if file.metadata.num_rows > limits.members:
        raise DataError(f"{path} holds more than {limits.members:,} rows", code="too-many-members", hint="raise Limits.members")
    return file


def _opened(path: Path | Ranged, limits: Limits, groups: Groups) -> ParquetStore:
    file = _file(path, limits)
    sizes = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
    name, version = (
        (str(path.absolute()), partial(inflate.version, path)) if isinstance(path, Path) else (path.address, path.version)
    )
    return ParquetStore(name, version, _columns(file.schema_arrow, name), limits, groups, file, np.cumsum([0, *sizes]))


def _columns(schema: Any, where: str) -> Columns:
    features = _features(schema)
    image = _image(schema, features)
    if not image:
        raise _no_column(where, schema, "image", "a picture is a struct of bytes and path, or bytes, in a column named image")
    known = [name for name in LABELS if name in schema.names]
    known += [name for name, what in features.items() if name not in known and _class_names(what) and name in schema.names]
    if not known:
        raise _no_column(where, schema, "label", "name the column of the labels 'label'")
    notes = (f"labels are those of the column {known[0]}; not used: {', '.join(known[1:])}",) if known[1:] else ()
    import pyarrow as pa

    nested = not _is_bytes(schema.field(image).type)
    kind = schema.field(known[0]).type
    several = bool(pa.types.is_list(kind) or pa.types.is_large_list(kind))
    names = _class_names(features.get(known[0]))
    split, group = (next((name for name in COLUMNS[what] if name in schema.names), "") for what in ("split", "group"))
    return Columns(image, nested, known[0], several, names, notes, split, group)


def _features(schema: Any) -> dict[str, Any]:
    """Return what `datasets` wrote about the columns, {} if nothing."""
    try:
        found = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _class_names(feature: Any) -> tuple[str, ...]:
    """Return the names of a ClassLabel, or of a sequence of them, which `datasets` has written in several ways."""
    if isinstance(feature, list) and feature:
        return _class_names(feature[0])
    if not isinstance(feature, dict):
        return ()
    names = feature.get("names")
    if feature.get("_type") == "ClassLabel" and isinstance(names, list) and all(isinstance(name, str) for name in names):
        return tuple(names)
    return _class_names(feature.get("feature"))


def _image(schema: Any, features: dict[str, Any]) -> str:
    """Return the column that holds pictures: what the features call one, else the first of bytes, or of a struct with bytes."""
    features = features or _features(schema)
    for name in schema.names:
        what = features.get(name)
        if isinstance(what, dict) and what.get("_type") == "Image" and _holds_bytes(schema.field(name).type):
            return str(name)
    held = [str(name) for name in schema.names if _holds_bytes(schema.field(name).type)]
    return next((name for name in held if name not in LABELS), "")


def _holds_bytes(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_bytes(kind.field("bytes").type)
    return _is_bytes(kind)


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _no_column(where: str, schema: Any, what: str, hint: str) -> DataError:
    listed = ", ".join(schema.names) or "none"
    return DataError(f"{where} has no column of {what}s; its columns are: {listed}", code=f"no-{what}-column", hint=hint)


def _column(store: ParquetStore, name: str = "") -> Any:
    """Return a column, that of labels by default."""
    import pyarrow as pa

    try:
        name = name or store.columns.label
        return store._file.read(columns=[name]).column(name)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{store.name} is damaged: {error}", code="not-parquet", hint="fetch or write it again") from error


def _sets(store: ParquetStore) -> list[tuple[str, ...]]:
    """Return the labels of each row of a column of lists."""
    rows = ([_name(v, store.columns.names, store.name) for v in row or ()] for row in _column(store).to_pylist())
    return [tuple(dict.fromkeys(label for label in row if label)) for row in rows]


def _targets(store: ParquetStore, known: dict[str, int]) -> npt.NDArray[np.int32]:
    """Return the number of each row's label in `known`, which grows by those that are new: int32 (N,), -1 = none."""
    coded = _column(store).combine_chunks().dictionary_encode()
    names = [_name(value, store.columns.names, store.name) for value in coded.dictionary.to_pylist()]
    numbers = [known.setdefault(name, len(known)) if name else -1 for name in names]
    places = coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    found: npt.NDArray[np.int32] = np.append(np.array(numbers, np.int32), np.int32(-1))[places]
    return found


def _name(value: object, names: Sequence[str], where: str) -> str:
    """Return a label as text, "" for none; the Hub writes -1 where a test part keeps its labels secret."""
    value = int(value) if isinstance(value, float) and value.is_integer() else value
    if not names or not isinstance(value, int):
        return labels.text(value)
    if not -1 <= value < len(names):
        raise DataError(
            f"{where} has the label {value}, but its features name {len(names):,} classes", code="bad-labels", hint="check it"
        )
    return "" if value == -1 else names[value]
