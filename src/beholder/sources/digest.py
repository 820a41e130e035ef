"""SHA-256 of every picture, remembered, so that a second run reads no file again.

Other readers of the bytes get them at the same time (`visit`): a file is opened once for both.
"""

from __future__ import annotations

import hashlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder.base import events, memo
from beholder.base.arrays import U8, Integer
from beholder.base.errors import PictureError
from beholder.base.files import sha256
from beholder.base.records import Pictures, Store
from beholder.image.sandbox import decoders
from beholder.machine.folders import cache_folder
from beholder.sources import depths
from beholder.sources.ahead import expect

_ID = 16
_VALUE = 33
"""Bytes that are remembered of a picture: its digest, and 1 where it may hold values of more than 8 bits."""
_ROW = _ID + _VALUE
_FORGET = 100_000
"""A memo keeps this many entries of pictures that are no longer there, for several sources of one name share it."""


CHUNK = 64
"""Pictures that a thread takes at a time, and that one call of `visit` is shown."""

Data = bytes | npt.NDArray[np.generic]
Visit = Callable[[Iterator[tuple[int, Data | PictureError, bytes]]], None]


def _ignored(reads: Iterator[tuple[int, Data | PictureError, bytes]]) -> None:
    deque(reads, maxlen=0)


def digested(
    pictures: Pictures, *, root: str | Path | None = None, visit: Visit = _ignored, order: Integer | None = None
) -> Pictures:
    """Return the pictures with `.digests` filled: uint8 (N, 32), SHA-256 of each file's bytes or of each array's.

    A picture that cannot be read gets the digest of its name: it is nobody's duplicate, and decoding will report it.
    What was computed is remembered in the cache folder (or `root`) under `Store.stamp`.
    visit: is shown what has to be read as it is read, (row, bytes or array or error, digest) of up to `CHUNK` pictures a call;
    it runs in several threads at once, and takes all that it is shown
    order: int (N,), in which pictures are read; None: in their own
    """
    if pictures.digests is not None:
        return pictures
    stamps = _stamps(pictures)
    path = _place(pictures, root)
    known = _remembered(path) if any(stamps) else {}
    found = [known.get(stamp) if stamp else None for stamp in stamps]
    todo = [i for i in (range(len(found)) if order is None else order.tolist()) if found[i] is None]
    fresh: dict[bytes, bytes] = {}
    for i, (value, readable) in zip(todo, _computed(pictures, todo, visit), strict=True):
        found[i] = value
        if readable and stamps[i]:
            fresh[stamps[i]] = value
    if fresh:
        _remember(path, known, fresh, keep=set(stamps))
    values = np.frombuffer(b"".join(value for value in found if value is not None), np.uint8).reshape(-1, _VALUE)
    known_by = replace(pictures, digests=np.ascontiguousarray(values[:, :32]))
    return replace(known_by, bits=depths.bits(known_by, deep=np.flatnonzero(values[:, 32]), root=root))


def renewed(pictures: Pictures, rows: Integer, *, root: str | Path | None = None) -> Pictures:
    """Return the pictures with the digests of `rows`, int (M,), made anew from their bytes, and remembered instead of the old.

    For files that turned out to hold something else than their digests say: no stamp tells everything.
    """
    assert pictures.digests is not None
    some = pictures.take(rows)
    digests = pictures.digests.copy()
    fresh: dict[bytes, bytes] = {}
    stamps = _stamps(some)
    for row, stamp, (value, readable) in zip(rows.tolist(), stamps, _computed(some, range(len(some))), strict=True):
        if readable:
            digests[row] = np.frombuffer(value[:32], np.uint8)
            if stamp:
                fresh[stamp] = value
    if fresh:
        path = _place(pictures, root)
        _remember(path, {}, fresh, keep=set(stamps))
    return replace(pictures, digests=digests)


def same(data: bytes | npt.NDArray[np.generic], digest: U8) -> bool:
    """Return whether what was read of a picture, encoded bytes or an array, is what its digest, uint8 (32,), was taken of."""
    return _of(data) == digest.tobytes()


def _of(data: bytes | npt.NDArray[np.generic]) -> bytes:
    if isinstance(data, bytes):
        return hashlib.sha256(data).digest()
    shape = f"{data.dtype.str} {data.shape} ".encode()  # arrays of equal bytes and other shapes are other pictures
    return hashlib.sha256(shape + np.ascontiguousarray(data).tobytes()).digest()


def _place(pictures: Pictures, root: str | Path | None) -> Path:
    return cache_folder(root) / "digests" / f"{sha256(os.fsencode(pictures.store.name))[:32]}.npy"


def _stamps(pictures: Pictures) -> list[bytes]:
    """Return an identity of 16 bytes for the present content of each picture; b"" where there is none."""
    stamps = []
    for key in pictures.keys:
        stamp = pictures.store.stamp(key)
        stamps.append(
            hashlib.blake2b(f"{key}\0{stamp}".encode("utf-8", "surrogateescape"), digest_size=_ID).digest() if stamp else b""
        )
    return stamps


def _computed(pictures: Pictures, rows: Sequence[int], visit: Visit = _ignored) -> Iterable[tuple[bytes, bool]]:
    """Yield (digest and whether it may be deep, True), or (digest of the name, False) for what cannot be read, in order."""

    def work(chunk: Sequence[int]) -> list[tuple[bytes, bool]]:
        done: list[tuple[bytes, bool]] = []

        expect(pictures.store, [pictures.keys[row] for row in chunk])

        def reads() -> Iterator[tuple[int, Data | PictureError, bytes]]:
            for row in chunk:
                data, value = hashed(pictures.store, pictures.keys[row])
                done.append((value, not isinstance(data, PictureError)))
                yield row, data, value[:32]

        visit(reads())
        return done

    with decoders() as (pool, _):
        done = 0
        for values in pool.map(work, (rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK))):
            done += len(values)
            events.progress("reading the pictures", done, len(rows))
            yield from values


def hashed(store: Store, key: str) -> tuple[Data | PictureError, bytes]:
    """Return what was read of a picture, or why it cannot be, and 33 bytes: its digest, and whether it may be deep."""
    try:
        data = store.read(key)
    except PictureError as error:
        return error, hashlib.sha256(b"unreadable\0" + key.encode("utf-8", "surrogateescape")).digest() + b"\0"
    return data, _of(data) + bytes([depths.may_be_deep(data)])


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
