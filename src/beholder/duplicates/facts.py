"""Facts of each picture's file and pixels that the audit needs: one pass, one row a picture, cached by digest.

A picture is decoded upright in its own size; where its longer side exceeds `appearance.SIDE` it is first reduced by a whole
factor with a box filter, as exposure and sharpness do not need more.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from beholder import image
from beholder.base import events, memo
from beholder.base.arrays import U8, Bools
from beholder.base.deadline import NEVER, Deadline
from beholder.base.errors import PictureError
from beholder.base.files import sha256
from beholder.base.limits import LIMITS
from beholder.base.order import stratified
from beholder.base.records import Pictures
from beholder.base.spans import span
from beholder.duplicates.appearance import QUANTILES, TINTS, bounded, grey, histogram, lights, shapes, thumbnail, tints
from beholder.duplicates.hashing import LENGTH
from beholder.image.refusal import PASSING
from beholder.image.sandbox import decoders
from beholder.machine.folders import cache_folder
from beholder.sources import depths
from beholder.sources.digest import CHUNK, Data, digested, hashed, renewed, same
from beholder.sources.held import Held

STACK = 1 << 20
"""Bytes of pixels from which pictures of one size are no longer collected, but measured."""

VERSION = 6
"""Counts the versions of what is measured: raise it when the same picture would get another row."""

Facts = npt.NDArray[np.void]

FACTS = np.dtype(
    [
        ("digest", "u1", 32),  # SHA-256 of the file's bytes
        ("error", "S20"),  # reason code; b"" where the picture could be decoded
        ("bytes", "i8"),
        ("format", "S12"),  # by the first bytes, such as b"JPEG"; b"array" for a picture in memory
        ("height", "i4"),  # pixels, upright
        ("width", "i4"),
        ("channels", "u1"),  # 1 grey, 3 colour, 4 with transparency, as stored
        ("pixels", "u1", 16),  # the first half of the SHA-256 of the upright RGB pixels and their shape
        ("hash", "i1", LENGTH),  # perceptual: see `beholder.duplicates.hashing`; all 0 where it shows nothing
        ("light", "f4", len(QUANTILES)),  # quantiles of the luma, in 0..1
        ("spread", "f4"),  # standard deviation of the luma, in 0..1
        ("mode", "f4"),  # share of the pixels within 4 levels of the commonest luma
        ("blur", "f4"),  # 0 sharp, 1 without any detail (Crété-Roffet et al. 2007)
        ("fine", "f4"),  # share of the gradient's energy beyond half of the highest frequency
        ("tint", "f4", len(TINTS)),  # quantiles of the largest less the smallest of R, G, B, in 0..1
        ("border", "f4", 2),  # mean and standard deviation of the luma on the outermost ring, in 0..1
        ("corners", "f4", 8),  # mean and standard deviation of the luma in each corner, an eighth of the shorter side
    ]
)
"""One picture. What was not measured, as the picture is unreadable, is 0."""


Thumbnails = dict[bytes, U8]
"""Thumbnails by digest, uint8 (64, 64): what facts are measured of is decoded anyway, and `twins` need not open it again."""

MOST = 1 << 14
"""Thumbnails that are held at most, the first that come: 4,096 bytes and some 200 of keys each."""


def facts(
    pictures: Pictures,
    *,
    root: str | Path | None = None,
    small: Thumbnails | None = None,
    until: Deadline = NEVER,
) -> Facts:
    """Return (N,) of dtype `FACTS`: one row a picture, in the order of `pictures`, which must have digests.

    root: the cache folder (the user's by default), where rows are remembered; small: takes the thumbnails of those opened
    A file that holds something else than its digest says is looked at as it is: its row has the digest that it has now.
    until: when it should be over; `unseen` tells which pictures there was no time for: their pixels count as like no others'
    Shows progress. Raises nothing of its own.
    """
    return _facts(pictures, [], root=root, small=small, until=until)


def fingerprinted(
    pictures: Pictures,
    *,
    root: str | Path | None = None,
    small: Thumbnails | None = None,
    until: Deadline = NEVER,
) -> tuple[Pictures, Facts]:
    """Return the pictures with digests, and their facts: see `digested` and `facts`. Each file is opened once for both.

    What may hold values of more than 8 bits has to wait until the range of the set is known; its bytes are held meanwhile.
    """
    if pictures.digests is not None:
        return pictures, facts(pictures, root=root, small=small, until=until)
    held, fresh = Held(pictures.store), list[Facts]()
    before = set(_keys(_remembered(_place(pictures, root))["digest"]).tolist())

    def visit(reads: Iterator[tuple[int, Data | PictureError, bytes]]) -> None:
        look = _Look(CHUNK, 0, small)
        for row, data, digest in reads:
            if digest.rstrip(b"\0") in before or until.passed:
                continue
            if not isinstance(data, PictureError) and depths.may_be_deep(data):
                held.keep(pictures.keys[row], data)
            else:
                look.add(data, digest)
        fresh.append(look.rows())

    with span("decode"):
        order = None if until.none else stratified(pictures.targets)
        found = digested(replace(pictures, store=held), root=root, visit=visit, order=order)
        rows = _facts(found, fresh, root=root, small=small, until=until)
    return replace(found, store=pictures.store), rows


def recalled(pictures: Pictures, *, root: str | Path | None = None) -> Facts:
    """Return (N,) of dtype `FACTS`, what is remembered of pictures with digests; `unseen` of which nothing is."""
    return _rows(pictures, _remembered(_place(pictures, root)))


def _facts(
    pictures: Pictures,
    fresh: list[Facts],
    *,
    root: str | Path | None,
    small: Thumbnails | None,
    until: Deadline,
) -> Facts:
    """Return the facts of pictures, of which those of `fresh` were measured just now."""
    path = _place(pictures, root)
    rows = _rows(pictures, np.concatenate([_remembered(path), *fresh]))
    todo = np.flatnonzero(unseen(rows))
    if not until.none:
        order = stratified(pictures.targets)
        todo = order[np.isin(order, todo)] if not (fresh and until.passed) else todo[:0]
    done = 0
    for i, row in zip(todo.tolist(), _measured(pictures, todo.tolist(), small, until), strict=False):
        rows[i] = row
        done += 1
    late = unseen(rows)
    rows["pixels"][late] = rows["digest"][late, :16]
    changed = np.flatnonzero(rows["error"] == b"changed")
    if len(changed):
        rows[changed] = measure(renewed(pictures, changed, root=root), changed.tolist(), small)
    if done or fresh:
        lasting = ~(np.isin(rows["error"], [code.encode() for code in PASSING]) | late)
        memo.keep_table(path, rows[lasting], what="facts of pictures")
    return rows


def _place(pictures: Pictures, root: str | Path | None) -> Path:
    seen_as = f"{VERSION} {pictures.bits or 0} {LIMITS.pixels} {pictures.store.name}"
    return cache_folder(root) / "facts" / f"{sha256(os.fsencode(seen_as))[:32]}.npy"


def _rows(pictures: Pictures, known: Facts) -> Facts:
    """Return the rows of pictures with digests, those that are among the `known` filled."""
    assert pictures.digests is not None
    rows = np.zeros(len(pictures), FACTS)
    rows["digest"] = pictures.digests
    if len(known):
        keys, theirs = _keys(pictures.digests), _keys(known["digest"])
        order = np.argsort(theirs, kind="stable")
        at = order[np.searchsorted(theirs, keys, sorter=order).clip(max=len(theirs) - 1)]
        here = theirs[at] == keys
        rows[here] = known[at[here]]
    return rows


def _keys(digests: U8) -> npt.NDArray[np.bytes_]:
    """Return digests, uint8 (N, 32), as N values that can be sorted and compared."""
    return np.ascontiguousarray(digests).view("S32").ravel()


def unseen(rows: Facts) -> Bools:
    """Return which pictures there was no time to look at, bool (N,)."""
    return np.asarray((rows["height"] == 0) & (rows["error"] == b""))


def suffix_of(key: str) -> str:
    """Return the extension of a picture's name in lower case without its dot, or "".

    >>> suffix_of("rust/A.JPEG")
    'jpeg'
    """
    name = key.rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem else ""


def _measured(pictures: Pictures, rows: list[int], small: Thumbnails | None, until: Deadline) -> Iterator[Facts]:
    chunks = [rows[at : at + CHUNK] for at in range(0, len(rows), CHUNK)]
    done = 0
    with decoders() as (pool, _):
        for found in pool.map(lambda chunk: measure(pictures, chunk, small), chunks):
            done += len(found)
            events.progress("measuring the pictures", done, len(rows))
            yield from found
            if until.passed:
                return


def measure(pictures: Pictures, rows: Sequence[int], small: Thumbnails | None = None) -> Facts:
    """Return (len(rows),) of dtype `FACTS`; `error` is set where a picture cannot be read. small: takes their thumbnails."""
    assert pictures.digests is not None
    look = _Look(len(rows), pictures.bits or 0, small)
    for index in rows:
        key, digest = pictures.keys[index], pictures.digests[index]
        try:
            data: Data | PictureError = pictures.store.read(key)
            if not isinstance(data, PictureError) and not same(data, digest):
                data = PictureError(f"{key} changed while it was read", code="changed", hint="run again")
        except PictureError as error:
            data = error
        look.add(data, digest.tobytes())
    return look.rows()


def looked(pictures: Pictures, rows: Sequence[int]) -> Facts:
    """Return (len(rows),) of dtype `FACTS` with the digests of what was read now: each file is opened once, nothing is kept.

    What may hold values of more than 8 bits has its digest alone, and is `unseen`: the range of the set has to be known first.
    """
    found, shallow = np.zeros(len(rows), FACTS), list[int]()
    look = _Look(len(rows), 0, None)
    for at, row in enumerate(rows):
        data, value = hashed(pictures.store, pictures.keys[row])
        found["digest"][at] = np.frombuffer(value[:32], np.uint8)
        if not value[32]:
            look.add(data, value[:32])
            shallow.append(at)
    found[shallow] = look.rows()
    return found


class _Look:
    """Measures up to `n` pictures, small ones of one size together: they cost less to measure than to call for."""

    def __init__(self, n: int, bits: int, small: Thumbnails | None) -> None:
        self._bits, self._small = bits, small
        self._table, self._n = np.zeros(n, FACTS), 0
        self._levels, self._tints = (np.zeros((n, 256), np.int64) for _ in range(2))
        self._waiting: dict[tuple[int, ...], list[tuple[int, U8]]] = {}

    def add(self, data: Data | PictureError, digest: bytes) -> None:
        """Take in what was read of a picture, or why it cannot be."""
        at, self._n = self._n, self._n + 1
        row = self._table[at : at + 1]
        row["digest"] = np.frombuffer(digest, np.uint8)
        try:
            if isinstance(data, PictureError):
                raise data
            pixels = _looked_at(data, row, self._bits)
        except PictureError as error:
            row["error"] = error.code.encode()
            return
        waiting = self._waiting.setdefault(pixels.shape, [])
        waiting.append((at, pixels))
        if len(waiting) * pixels.size >= STACK:
            self._count(waiting)

    def rows(self) -> Facts:
        """Return the rows of the pictures that were taken in, of dtype `FACTS`."""
        for waiting in filter(None, self._waiting.values()):
            self._count(waiting)
        read = self._levels.any(axis=1)
        for name, values in lights(self._levels[read], self._tints[read]).items():
            self._table[name][read] = values
        return self._table[: self._n]

    def _count(self, some: list[tuple[int, U8]]) -> None:
        places = np.array([at for at, _ in some])
        pixels = some[0][1][None] if len(some) == 1 else np.stack([one for _, one in some])
        luma = grey(pixels)
        self._levels[places], self._tints[places] = histogram(luma), histogram(tints(pixels))
        for name, values in shapes(luma).items():
            self._table[name][places] = values
        for at, plane in zip(places.tolist(), luma, strict=True):
            if self._small is not None and len(self._small) < MOST:
                self._small[self._table["digest"][at].tobytes()] = thumbnail(plane)
        some.clear()


def _looked_at(data: Data, row: Facts, bits: int) -> U8:
    """Fill what the file says into `row` (1,) and return the pixels to be measured, uint8 (H, W, 3)."""
    row["bytes"] = len(data) if isinstance(data, bytes) else data.nbytes
    head = image.header(data)
    row["format"], row["height"], row["width"], row["channels"] = head.format, head.height, head.width, head.channels
    pixels = image.decode(data, channels=3, bits=bits)
    code = hashlib.sha256(str(pixels.shape).encode())
    code.update(np.ascontiguousarray(pixels).data)
    row["pixels"] = np.frombuffer(code.digest()[:16], np.uint8)
    return bounded(pixels)


def _remembered(path: Path) -> Facts:
    table = memo.table(path)
    return np.zeros(0, FACTS) if table is None or table.dtype != FACTS or table.ndim != 1 else table
