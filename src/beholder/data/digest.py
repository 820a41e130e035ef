"""SHA-256 of every picture, remembered, so that a second run reads no file again."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from beholder.base import events, memo
from beholder.base.errors import PictureError
from beholder.base.files import cache_folder, sha256
from beholder.base.records import Pictures, Store

_ID = 16
_ROW = _ID + 32
_FORGET = 100_000
"""A memo keeps this many entries of pictures that are no longer there, for several sources of one name share it."""


def digested(pictures: Pictures, *, root: str | Path | None = None) -> Pictures:
    """Return the pictures with `.digests` filled: uint8 (N, 32), SHA-256 of each file's bytes or of each array's.

    A picture that cannot be read gets the digest of its name: it is nobody's duplicate, and decoding will report it.
    What was computed is remembered in the cache folder (or `root`) under `Store.stamp`.
    """
    if pictures.digests is not None:
        return pictures
    stamps = _stamps(pictures)
    path = cache_folder(root) / "digests" / f"{sha256(os.fsencode(pictures.store.name))[:32]}.npy"
    known = _remembered(path) if any(stamps) else {}
    found = [known.get(stamp) if stamp else None for stamp in stamps]
    todo = [i for i, digest in enumerate(found) if digest is None]
    fresh: dict[bytes, bytes] = {}
    for i, (digest, readable) in zip(todo, _computed(pictures.store, [pictures.keys[i] for i in todo]), strict=True):
        found[i] = digest
        if readable and stamps[i]:
            fresh[stamps[i]] = digest
    if fresh:
        _remember(path, known, fresh, keep=set(stamps))
    digests = np.frombuffer(b"".join(digest for digest in found if digest is not None), np.uint8).reshape(-1, 32)
    return replace(pictures, digests=digests)


def _stamps(pictures: Pictures) -> list[bytes]:
    """Return an identity of 16 bytes for the present content of each picture; b"" where there is none."""
    stamps = []
    for key in pictures.keys:
        stamp = pictures.store.stamp(key)
        stamps.append(
            hashlib.blake2b(f"{key}\0{stamp}".encode("utf-8", "surrogateescape"), digest_size=_ID).digest() if stamp else b""
        )
    return stamps


def _computed(store: Store, keys: list[str]) -> Iterable[tuple[bytes, bool]]:
    """Yield (digest, True), or (digest of the name, False) for what cannot be read, in the order of `keys`."""

    def one(key: str) -> tuple[bytes, bool]:
        try:
            data = store.read(key)
        except PictureError:
            return hashlib.sha256(b"unreadable\0" + key.encode("utf-8", "surrogateescape")).digest(), False
        if isinstance(data, bytes):
            return hashlib.sha256(data).digest(), True
        shape = f"{data.dtype.str} {data.shape} ".encode()  # arrays of equal bytes and other shapes are other pictures
        return hashlib.sha256(shape + np.ascontiguousarray(data).tobytes()).digest(), True

    step = 256
    with ThreadPoolExecutor() as pool:
        chunks = (keys[start : start + step] for start in range(0, len(keys), step))
        done = 0
        for rows in pool.map(lambda chunk: [one(key) for key in chunk], chunks):
            done += len(rows)
            events.progress("digests", done, len(keys))
            yield from rows


def _remembered(path: Path) -> dict[bytes, bytes]:
    table = memo.table(path)
    if table is None or table.dtype != np.uint8 or table.ndim != 2 or table.shape[1] != _ROW:
        return {}
    plain = table.tobytes()
    return {plain[at : at + _ID]: plain[at + _ID : at + _ROW] for at in range(0, len(plain), _ROW)}


def _remember(path: Path, known: dict[bytes, bytes], fresh: dict[bytes, bytes], *, keep: set[bytes]) -> None:
    """Write the memo anew; another process may have added to it since it was read, and loses nothing by it."""
    whole = {**known, **_remembered(path), **fresh}
    others = [stamp for stamp in whole if stamp not in keep]
    for stamp in others[: max(len(others) - _FORGET, 0)]:
        del whole[stamp]
    rows = np.frombuffer(b"".join(a + b for a, b in whole.items()), np.uint8).reshape(-1, _ROW)
    memo.keep_table(path, rows, what="digests")
