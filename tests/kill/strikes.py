"""Strikes at named points of writing: `before fsync checkpoint/state.json`, `half write m.beholder/model.safetensors`, …

Everything that Beholder writes goes through the few functions of `DOORS`, so these are wrapped and no hook is needed in the
source; test_kill.py asserts that no file is opened for writing past them.
"""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

DOORS = ((Path, "write_bytes"), (np, "save"), (os, "fsync"), (os, "replace"), (Path, "mkdir"), (shutil, "rmtree"))
"""What makes, fills, makes durable, renames and deletes files, as (owner, name)."""

Strike = Callable[[str, int], None]
"""Called at each point with its name and how often that name came before; it may kill, signal or raise."""


def arm(strike: Strike, *, under: Path) -> None:
    """Wrap the doors of this process: `strike` is called at every point that concerns a path below `under`."""
    seen: Counter[str] = Counter()

    def at(when: str, door: str, what: str) -> None:
        name = f"{when} {door} {what}"
        seen[name] += 1
        strike(name, seen[name] - 1)

    for owner, name in DOORS:
        setattr(owner, name, _wrapped(getattr(owner, name), name, at, under))


def _wrapped(real: Callable[..., Any], door: str, at: Callable[[str, str, str], None], under: Path) -> Callable[..., Any]:
    def wrapped(*given: Any, **options: Any) -> Any:
        path = _path(door, given, options)
        if under not in path.parents:
            return real(*given, **options)
        what = _plain(path, under)
        at("before", door, what)
        if door in ("write_bytes", "save"):
            data = given[1] if door == "write_bytes" else _npy(given[1])
            path.open("wb").write(data[: len(data) // 2])
            at("half", door, what)
        result = real(*given, **options)
        at("after", door, what)
        return result

    return wrapped


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _path(door: str, given: tuple[Any, ...], options: dict[str, Any]) -> Path:
    if door == "fsync":
        return Path(f"/proc/self/fd/{given[0]}").readlink()
    target = given[1] if door == "replace" else given[0]
    return Path(target) if isinstance(target, (str, Path)) else Path("/")


def _plain(path: Path, under: Path) -> str:
    """Return the last two parts of a path without what differs from run to run."""
    text = "/".join(path.relative_to(under).parts[-2:])
    text = re.sub(r"\.[\w-]+\.\d+\.\w*\.?tmp", ".tmp", text)
    return re.sub(r"\b[0-9a-f]{16,}\b", "SHARD", text)


def failing(at: tuple[str, int], number: int) -> Strike:
    """Return a strike that raises the `OSError` of that number at one point, given as (name, how often it came before)."""

    def strike(name: str, before: int) -> None:
        if (name, before) == at:
            raise OSError(number, f"{os.strerror(number)} (injected, {errno.errorcode[number]})")

    return strike
