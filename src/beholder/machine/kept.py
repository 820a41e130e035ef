"""What the cache folder holds, and deleting of it while others use it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from beholder.base.brief import shown
from beholder.base.errors import UsageError
from beholder.base.locks import evict
from beholder.machine.folders import cache_folder

KINDS = {
    "pixels": "decoded pictures",
    "features": "what nets say of pictures",
    "digests": "SHA-256 of files",
    "facts": "measurements of pictures",
    "depths": "bits of deep pictures",
    "duplicates": "near-duplicates",
    "twins": "near-duplicates, of former versions",
    "findings": "findings of the audit",
    "flips": "which flips keep the classes",
    "engine": "which engine was fastest",
    "machine": "speed of this machine",
    "paces": "how long a picture takes to decode",
    "archives": "packed tars, decompressed",
    "downloads": "archives from the network",
    "objects": "copies from object storage",
    "sound": "which pictures can be decoded",
    "members": "what tars on object storage hold",
    "torchvision": "data sets of torchvision, which are never pruned",
}
"""The folders in the cache folder, and what is in them."""

UNIT = re.compile(r"\.?[0-9a-f]{16,64}(\..+)?")
"""Names of what is deleted as one. Nothing else is: the folder named may be one that holds other things, too."""

DAYS = 30.0
"""Days without use after which what is kept is pruned, unless other bounds are given."""

_HOUR, _DAY, _GIB = 3600.0, 86400.0, 2**30


@dataclass(frozen=True)
class Kept:
    """What one folder of the cache holds. n: files; bytes: of all; used: seconds since 1970, of the last use."""

    kind: str
    what: str
    path: str
    n: int
    bytes: int
    used: float

    __repr__ = shown

    def json(self) -> dict[str, object]:
        """Return the fields as plain JSON values."""
        return asdict(self)


def kept(root: str | Path | None = None) -> list[Kept]:
    """Return what the cache folder (or `root`) holds, a row a kind; kinds of which there is nothing are left out."""
    rows = []
    for kind, what in KINDS.items():
        path = cache_folder(root) / kind
        n = size = 0
        used = 0.0
        for file in path.rglob("*"):
            with suppress(OSError):  # another process may have deleted it
                state = file.stat()
                used = max(used, state.st_mtime)
                if file.is_file():
                    n, size = n + 1, size + state.st_size
        if n:
            rows.append(Kept(kind, what, str(path), n, size, used))
    return rows


def prune(
    *, older: float | None = None, to: float | None = None, everything: bool = False, root: str | Path | None = None
) -> list[int]:
    """Delete of the cache folder (or `root`) what nobody is using; return the bytes of each file or folder deleted.

    older: what was not used for so many days (default `DAYS`); to: what was used least recently, until the rest takes no more
    than so many GiB; everything: all of it. What a process reads at this moment stays. Raises `UsageError` (bad-value).
    """
    if sum((older is not None, to is not None, everything)) > 1 or min(older or 0, to or 0) < 0:
        hint = "give one of them: days since the last use, GiB that may stay, or everything"
        raise UsageError("what is to be pruned is not clear", code="bad-value", hint=hint)
    units = [unit for kind in KINDS if kind != "torchvision" for unit in _units(cache_folder(root) / kind)]
    if to is None and not everything:
        before = time.time() - (DAYS if older is None else older) * _DAY
        units = [unit for unit in units if _used(unit) < before]
    gone = evict(units, (to or 0) * _GIB)
    for folder in {unit.parent for unit in units if unit.parent.name not in KINDS}:
        with suppress(OSError):  # it still holds something
            folder.rmdir()
    return gone


def _units(path: Path) -> Iterator[Path]:
    """Yield what is deleted as one below the folder of one kind; what is being written is left out."""
    pattern = "*/*" if path.name in ("pixels", "features") else "*"
    for unit in path.glob(pattern):
        written = unit.name.startswith(".") or unit.suffix == ".tmp"
        if UNIT.fullmatch(unit.name) and not (written and _used(unit) > time.time() - _HOUR):
            yield unit


def _used(path: Path) -> float:
    """Return when something was used last, in seconds since 1970; of what is gone, now."""
    try:
        return path.stat().st_mtime
    except OSError:
        return time.time()
