"""What was computed once and is kept in the cache folder: losing it costs time, and so does a cache that cannot be written."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events
from beholder.base.arrays import Values
from beholder.base.errors import MachineError
from beholder.base.files import write_atomic
from beholder.base.locks import evict

_SEAL = b"crc32"
"""Begins the end of each file, before four bytes with the CRC-32 of all that stands before it."""

LIMIT = 1 << 30
"""Bytes that the files of one folder may take; those used least recently go first."""


def read(path: Path) -> bytes | None:
    """Return what is kept at `path`, None if there is nothing, or other bytes than were written."""
    try:
        whole = path.read_bytes()
    except OSError:
        return None
    data, seal = whole[: -len(_sealed(b""))], whole[-len(_sealed(b"")) :]
    if seal != _sealed(data):
        return None
    with suppress(OSError):
        os.utime(path)  # used just now
    return data


def keep(path: Path, data: bytes, *, what: str) -> None:
    """Keep `data` at `path`; `what` it is, in the plural, is said where it cannot be written."""
    try:
        write_atomic(path, data + _sealed(data), option="--cache")
    except MachineError as error:
        events.warn(f"{what} could not be remembered: {error.message}", hint=error.hint)
        return
    with suppress(OSError):
        evict((held for held in path.parent.iterdir() if held.suffix != ".tmp"), LIMIT, using=[path])


def _sealed(data: bytes) -> bytes:
    return _SEAL + zlib.crc32(data).to_bytes(4, "little")


def table(path: Path) -> Values | None:
    """Return the array that is kept at `path`, None if there is none or it is damaged. It may be of any shape and type."""
    data = read(path)
    if data is None or not data.startswith(np.lib.format.MAGIC_PREFIX):
        return None
    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError):
        return None


def keep_table(path: Path, array: Values, *, what: str) -> None:
    """Keep an array at `path`, as NPY; see `keep`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    keep(path, buffer.getvalue(), what=what)


def record(path: Path) -> dict[str, Any]:
    """Return the JSON object that is kept at `path`, an empty one if there is none or it is damaged."""
    try:
        found = json.loads(read(path) or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def keep_record(path: Path, values: Mapping[str, Any], *, what: str) -> None:
    """Keep a JSON object at `path`; see `keep`."""
    keep(path, json.dumps(dict(values), indent=1).encode(), what=what)
