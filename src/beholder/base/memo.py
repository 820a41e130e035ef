"""What was computed once and is kept in the cache folder: losing it costs time, and so does a cache that cannot be written."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import MachineError
from beholder.base.files import write_atomic

LIMIT = 1 << 30
"""Bytes that the files of one folder may take; those used least recently go first."""


def read(path: Path) -> bytes | None:
    """Return what is kept at `path`, None if there is nothing."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    with suppress(OSError):
        os.utime(path)  # used just now
    return data


def keep(path: Path, data: bytes, *, what: str) -> None:
    """Keep `data` at `path`; `what` it is, in the plural, is said where it cannot be written."""
    try:
        write_atomic(path, data)
    except MachineError as error:
        events.warn(f"{what} could not be remembered: {error.message}", hint=error.hint)
        return
    with suppress(OSError):
        _tidy(path)


def table(path: Path) -> npt.NDArray[Any] | None:
    """Return the array that is kept at `path`, None if there is none or it is damaged. It may be of any shape and type."""
    data = read(path)
    if data is None or not data.startswith(np.lib.format.MAGIC_PREFIX):
        return None
    try:
        return np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError):
        return None


def keep_table(path: Path, array: npt.NDArray[Any], *, what: str) -> None:
    """Keep an array at `path`, as NPY; see `keep`."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    keep(path, buffer.getvalue(), what=what)


def fastest(path: Path) -> str:
    """Return the name that `keep_fastest` kept at `path`, "" if there is none or it is damaged."""
    try:
        return str(json.loads(read(path) or b"")["name"])
    except (ValueError, KeyError, TypeError):
        return ""


def keep_fastest(path: Path, rates: Mapping[str, float]) -> str:
    """Return the name of the highest of `rates`, at least one, and keep it at `path` with all of them; see `keep`."""
    best = max(rates, key=lambda name: rates[name])
    keep(path, json.dumps({"name": best, "rates": dict(rates)}).encode(), what="the fastest engines")
    return best


def _tidy(newest: Path) -> None:
    """Remove the files of a folder that were used least recently, beyond `LIMIT` bytes; never the newest."""
    held = []
    for path in newest.parent.iterdir():
        if path == newest or path.suffix == ".tmp":  # what another process is writing
            continue
        with suppress(OSError):
            state = path.stat()
            held.append((state.st_mtime_ns, state.st_size, path))
    total = newest.stat().st_size + sum(size for _, size, _ in held)
    for _, size, path in sorted(held):
        if total <= LIMIT:
            break
        with suppress(OSError):
            path.unlink()
        total -= size
