"""The value range of a set of deep pictures: 12-bit values in 16-bit files would otherwise lose their contrast."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder import image
from beholder.base import events, memo
from beholder.base.arrays import Integer
from beholder.base.errors import PictureError
from beholder.base.files import sha256
from beholder.base.limits import LIMITS, Limits
from beholder.base.records import Pictures
from beholder.image.depth import bits_of, ceiling
from beholder.image.kinds import kind
from beholder.image.sandbox import decoders
from beholder.machine.folders import cache_folder

FIRST, MOST, SECONDS = 64, 1024, 20.0
"""Pictures that are looked at where none of them is deep, pictures at most, and seconds after which the looking ends."""

VERSION = 1
"""Counts the versions of what is measured: raise it when the same set would get another range."""

_SHALLOW = frozenset({"jpg", "jpeg", "jpe", "jfif", "gif", "bmp", "dib", "webp", "avif", "avifs", "heic", "heif", "dcm", "pbm"})
"""Endings of formats that have eight bits, or say their range themselves."""


def bits(pictures: Pictures, *, deep: Integer | None = None, root: str | Path | None = None, limits: Limits = LIMITS) -> int:
    """Return how many bits the whole numbers of deep pictures use, 8 to 64; 0 where a set has none.

    Deep is what has more than 8 bits a value and does not say how many count. A seeded sample is decoded, and the result
    remembered by the digests. Shows progress. Raises nothing of its own.
    deep: the rows that may be, int (M,); None: it is seen from the names, and the files
    """
    if pictures.bits is not None:
        return pictures.bits
    if deep is None:
        deep = np.array([i for i, key in enumerate(pictures.keys) if key.rpartition(".")[2].lower() not in _SHALLOW], np.int64)
    if not len(deep):
        return 0
    path, some = None, pictures.take(deep)
    if some.digests is not None:
        path = cache_folder(root) / "depths" / f"{sha256(bytes([VERSION]) + some.digests.tobytes())[:32]}.json"
        kept = memo.read(path)
        if kept is not None:
            return int(json.loads(kept))
    found = bits_of(_top(some, limits))
    if path is not None:
        memo.keep(path, json.dumps(found).encode(), what="depths of pictures")
    return found


def may_be_deep(data: bytes | npt.NDArray[np.generic]) -> bool:
    """Return False for what surely holds no whole numbers of more than 8 bits, seen without decoding it."""
    if not isinstance(data, bytes):
        return data.dtype == np.uint16
    name = kind(data)
    if name == "PPM":
        found = re.match(rb"P[56]\s+\d+\s+\d+\s+(\d+)\s", data)
        return found is None or int(found[1]) > 255
    return name in ("TIFF", "JPEG2000") or (name == "PNG" and data[24:25] == b"\x10")


def said(found: int) -> str:
    """Return in words how values of deep pictures become bytes; "" where that is nothing special."""
    if found in (0, 16):
        return ""
    whole = "16-bit" if found < 16 else "32-bit"
    return f"{whole} pictures use 0..{ceiling(found):,} ({found} bits), which become 0..255"


def _top(pictures: Pictures, limits: Limits) -> int:
    """Return the largest value of the deep pictures among those that are looked at."""
    rows = np.random.default_rng(0).permutation(len(pictures))[:MOST].tolist()
    until = time.monotonic() + SECONDS
    with decoders() as (pool, _):
        highest = 0
        for start in range(0, len(rows), FIRST):
            keys = [pictures.keys[row] for row in rows[start : start + FIRST]]
            tops = list(pool.map(lambda key: _of(pictures, key, limits), keys))
            highest = max(highest, *tops)
            if highest == 0 or highest > ceiling(15) or time.monotonic() > until:
                break
            events.progress("range of the pictures", min(start + FIRST, len(rows)), len(rows))
    return highest


def _of(pictures: Pictures, key: str, limits: Limits) -> int:
    try:
        return image.top(pictures.store.read(key), limits=limits)
    except PictureError:
        return 0
