"""Pictures decoded once: shards of uint8 pixels under the user's cache folder, found by the digest of the file.

    pixels/<policy>/<shard>/pixels.npy     uint8 (n, C, H, W)
                           /digests.npy    uint8 (n, 36): see `beholder.data.shards`

A shard is whole or absent, and only what is damaged in it is ever written again: any number of processes may read and write
at once.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base import events, memo
from beholder.base.arrays import I64, U8, Integer
from beholder.base.brief import shown
from beholder.base.errors import DataError, PictureError, UsageError, did_you_mean
from beholder.base.files import sha256, telling_disk_errors
from beholder.base.records import Bad, Pictures, PixelPolicy
from beholder.base.spans import span
from beholder.data.shards import Filling, Keys, Rows, Shelf, keys_of, tidy
from beholder.data.streamed import known_sound, pixels_of, remember, share_of, stream
from beholder.image.sandbox import decoders
from beholder.machine.folders import cache_folder
from beholder.sources.ahead import expect
from beholder.sources.digest import digested, renewed

CONVERSION = 3
"""Counts the versions of `image`'s conversion: raise it when the same file would give other pixels."""

SHARD = 64 << 20
"""Most bytes of pixels in one shard; two are in memory while they are filled and written."""

SHARDS = 512
"""Sets that would need more shards get larger ones: each is an open file, of which a system allows about a thousand."""

ON_BAD = ("report", "skip", "stop")
"""What to do with pictures that cannot be read: say so and go on, go on, or raise at the first."""


@dataclass(frozen=True, eq=False)
class Pixels:
    """Decoded pictures on disk, mapped into memory.

    rows:    int64 (M,), the rows of the pictures that could be read; position p of the pixels is row rows[p]
    shape:   (C, H, W)
    bad:     what could not be read, and why
    decoded: how many files were decoded to make this; 0 when all were in the cache
    shards:  uint8 (n, C, H, W) each, or `Streamed`; shard, place: int64 (M,), in which of them a picture lies, and where in it
    digests: uint8 (M, 32) of what was decoded: not the one that was given where a file changed in between
    again:   decodes the picture of a row anew, where its pixels turn out to be damaged; raises `DataError` if it cannot
    """

    rows: I64
    shape: tuple[int, int, int]
    bad: tuple[Bad, ...]
    decoded: int
    shards: tuple[Rows, ...]
    shard: I64
    place: I64
    digests: U8
    again: Callable[[int], U8]

    __repr__ = shown

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: Integer) -> U8:
        """Return a copy of the pixels at `positions`, int (B,) in 0..M-1: uint8 (B, C, H, W)."""
        shard, place = self.shard[positions], self.place[positions]
        used = np.unique(shard)
        if len(used) == 1:
            return self._of(int(used[0]), place)
        out = np.empty((len(shard), *self.shape), np.uint8)
        for k in used.tolist():
            here = np.flatnonzero(shard == k)
            out[here] = self._of(k, place[here])
        return out

    def _of(self, shard: int, places: I64) -> U8:
        def again(place: int) -> U8:
            return self.again(int(self.rows[(self.shard == shard) & (self.place == place)][0]))

        return self.shards[shard].take(places, again)

    def of(self, pictures: Pictures) -> Pictures:
        """Return those of `pictures`, which these are the pixels of, that could be read, with the digests of what was read."""
        return replace(pictures.take(self.rows), digests=self.digests)

    def seen(self, pictures: Pictures) -> Pictures:
        """Return all of `pictures`, which these are the pixels of, with the digests of what was read."""
        if pictures.digests is None:
            return pictures
        digests = pictures.digests.copy()
        digests[self.rows] = self.digests
        return replace(pictures, digests=digests)

    def subset(self, positions: Integer) -> Pixels:
        """Return the pixels at `positions` only, in that order; no pixel is copied."""
        chosen = {name: getattr(self, name)[positions] for name in ("rows", "shard", "place", "digests")}
        return replace(self, **chosen)


def cached(
    pictures: Pictures,
    policy: PixelPolicy,
    *,
    root: str | Path | None = None,
    on_bad: str = "report",
    workers: int = 0,
    limit: int = 20 * 2**30,
    enough: Callable[[], bool] = bool,
    order: I64 | None = None,
    also: PixelPolicy | None = None,
) -> Pixels:
    """Return the pixels of all pictures that can be read, decoding those that are not in the cache yet.

    A file that holds something else than its digest says is read as it is now; pixels that the disk damaged are decoded anew.

    root: the cache folder (the user's by default); workers: threads that decode (0: one per core)
    enough: is asked after each picture that is decoded; once it says so, the rest is neither decoded nor called bad
    order: int64 (N,), in which pictures are decoded, where not all of them may be; None: in their own
    also: a policy by which they will be asked for later: what is opened now is decoded for that one too
    limit: bytes that the pixels of all sets may take; the shards used least recently go first, never those of this call
    Raises `DataError` (all-unreadable; with "stop" bad-picture) and `MachineError` where the cache cannot be written.
    """
    if on_bad not in ON_BAD:
        raise UsageError(f"on_bad cannot be '{on_bad}'", code="bad-value", hint=did_you_mean(on_bad, ON_BAD))
    if pictures.digests is None:
        pictures = digested(pictures, root=root)
    top = cache_folder(root) / "pixels"
    with span("decode"):
        how: dict[str, Any] = {"workers": workers, "stop": on_bad == "stop", "enough": enough, "order": order, "also": also}
        shelf, which, failed, decoded = _filled(top, pictures, policy, **how)
        changed = np.array([row for row, error in failed.items() if error.code == "changed"], np.int64)
        if len(changed):
            pictures = renewed(pictures, changed, root=root)
            shelf, which, failed, more = _filled(top, pictures, policy, last=True, **how)
            decoded += more
    bad = tuple(Bad(pictures.keys[row], error.code, error.message) for row, error in sorted(failed.items()))
    if bad:
        _judge(bad, pictures, on_bad)
    tidy(top, limit, using=shelf.paths)
    return _pixels(pictures, shelf, which, bad, decoded, _Again(pictures, policy, top))


def _pixels(pictures: Pictures, shelf: Shelf, which: I64, bad: tuple[Bad, ...], decoded: int, again: _Again) -> Pixels:
    """Return the pixels of the pictures that the shelf holds; which: int64 (N,), of its keys that of each picture."""
    assert pictures.digests is not None
    shard = shelf.shard[which]
    rows = np.flatnonzero(shard >= 0)
    place, digests = shelf.place[which[rows]], pictures.digests[rows]
    shards = tuple(shelf.shards)
    return Pixels(rows, shelf.shape, bad, decoded, shards, shard=shard[rows], place=place, digests=digests, again=again)


def _filled(
    top: Path,
    pictures: Pictures,
    policy: PixelPolicy,
    *,
    workers: int,
    stop: bool,
    last: bool = False,
    enough: Callable[[], bool] = bool,
    order: I64 | None = None,
    also: PixelPolicy | None = None,
) -> tuple[Shelf, I64, dict[int, PictureError], int]:
    """Return the shelf that holds all pictures that can be read, int64 (N,) which of its keys each has, what could not be
    read, by row, and how many files were decoded. last: a file that changed is an error, too.
    """
    assert pictures.digests is not None
    keys, first, which = np.unique(keys_of(pictures.digests), return_index=True, return_inverse=True)
    shelves = {one: _shelf(top, one, keys) for one in (policy, *([] if also is None else [also]))}
    shelf = shelves[policy]
    todo, had = np.sort(first[shelf.shard < 0]), int((shelf.shard >= 0).sum())
    if order is not None:
        todo = todo[np.argsort(np.argsort(order)[todo])]
    began = time.monotonic()
    lacking = {one: (held, set(first[held.shard < 0].tolist())) for one, held in shelves.items()}
    most = share_of(top, shelves.values(), len(todo))
    sound = first[known_sound(top, policy_name(policy), keys)] if most < 1 else first[:0]
    todo = todo[~np.isin(todo, sound)]
    found, left = _fill(lacking, pictures, todo, most=most, workers=workers, stop=stop, last=last, enough=enough)
    beyond = stream(shelf, first, np.append(sound, left), pictures, policy)
    remember(top, policy_name(policy), keys[np.isin(first, np.setdiff1d(beyond, sound))])
    without = ((row, found.get(int(first[which[row]]))) for row in np.flatnonzero(shelf.shard[which] < 0).tolist())
    failed = {row: error for row, error in without if error is not None}
    count = int((shelf.shard >= 0).sum()) - had - int(np.isin(sound, beyond).sum())
    if count >= PACED:
        for one in shelves:
            memo.keep(_paced(top, one), json.dumps((time.monotonic() - began) / count).encode(), what="paces of decoding")
    return shelf, which, failed, count


PACED = 8
"""Pictures that have to be decoded for their pace to be remembered."""


def pace(policy: PixelPolicy, *, root: str | Path | None = None) -> float:
    """Return the seconds that a picture took when pictures were last decoded by this policy; 0 where that is not known."""
    return float(json.loads(memo.read(_paced(cache_folder(root) / "pixels", policy)) or b"0"))


def _paced(top: Path, policy: PixelPolicy) -> Path:
    return top.parent / "paces" / f"{policy_name(policy)}.json"


class _Again:
    """Decodes pictures anew whose pixels in the cache are damaged, and says so once."""

    def __init__(self, pictures: Pictures, policy: PixelPolicy, folder: Path) -> None:
        self._pictures, self._policy, self._folder, self._told = pictures, policy, folder, False

    def __call__(self, row: int) -> U8:
        """Return the pixels of a row, uint8 (C, H, W). Raises `DataError` (cache-damaged)."""
        if not self._told:
            self._told = True
            hint = f"the disk that holds {self._folder} may be failing; deleting that folder loses nothing"
            events.warn("cached pixels are not what was written: they are decoded anew", hint=hint)
        try:
            return pixels_of(self._pictures, row, [self._policy])[self._policy]
        except PictureError as error:
            raise DataError(
                f"the cached pixels of {self._pictures.keys[row]} are damaged and cannot be decoded anew: {error.message}",
                code="cache-damaged",
                hint="run again: the pictures are then read as they are now",
            ) from error


def missing(pictures: Pictures, policy: PixelPolicy, *, root: str | Path | None = None) -> int:
    """Return how many files `cached` would have to decode; no picture is read if the digests are known."""
    digests = digested(pictures, root=root).digests
    assert digests is not None
    return int((_shelf(cache_folder(root) / "pixels", policy, np.unique(keys_of(digests))).shard < 0).sum())


Found = dict[PixelPolicy, U8] | PictureError
"""The pixels of a picture by each policy, or why it cannot be read."""


def _shelf(top: Path, policy: PixelPolicy, keys: Keys) -> Shelf:
    return Shelf(top / policy_name(policy), (policy.channels, policy.height, policy.width), keys)


Lacking = dict[PixelPolicy, tuple[Shelf, set[int]]]
"""For each policy the shelf of its pixels, and the rows that are not on it."""


def _fill(
    lacking: Lacking,
    pictures: Pictures,
    missing: I64,
    *,
    most: float,
    workers: int,
    stop: bool,
    last: bool,
    enough: Callable[[], bool],
) -> tuple[dict[int, PictureError], I64]:
    """Decode the rows `missing` into new shards; return what could not be read, by row, and the rows that were not kept.

    most: which share of them is kept on each shelf
    However it ends, finished shards stay; at Ctrl-C the shard at hand is kept as well.
    """
    failed: dict[int, PictureError] = {}
    if not len(missing):
        return failed, missing
    telling = _Telling(len(missing))
    size = max(1, max(math.prod(shelf.shape) for shelf, _ in lacking.values()))
    step = max(1, min(32, (8 << 20) // size))
    chunks = (missing[k : k + step].tolist() for k in range(0, len(missing), step))
    with contextlib.ExitStack() as stack:
        filling = {
            policy: stack.enter_context(_filling(shelf, pictures, len(missing), most)) for policy, (shelf, _) in lacking.items()
        }
        for row, found in stack.enter_context(_decoded(chunks, pictures, lacking, workers=workers)):
            if not isinstance(found, PictureError):
                for policy, pixels in found.items():
                    filling[policy].add(row, pixels)
            elif stop and (last or found.code != "changed"):
                raise DataError(f"{pictures.keys[row]}: {found.message}", code="bad-picture", hint=found.hint)
            else:
                failed[row] = found
            telling.one()
            if enough():
                break
    return failed, np.array(next(iter(filling.values())).beyond, np.int64)


def _filling(shelf: Shelf, pictures: Pictures, count: int, most: float) -> Filling:
    """Return what writes up to `count` pictures to a shelf. Raises `MachineError` where the disk cannot be written."""
    assert pictures.digests is not None
    _check_writable(shelf.folder)
    size = max(1, math.prod(shelf.shape))
    room = max(1, max(SHARD, count * size // SHARDS) // size)
    return Filling(shelf, pictures.digests, min(room, count), most=int(most * count))


@contextlib.contextmanager
def _decoded(
    chunks: Iterable[Sequence[int]], pictures: Pictures, lacking: Lacking, *, workers: int
) -> Iterator[Iterator[tuple[int, Found]]]:
    """Yield an iterator over (row, pixels or the error) in order; leaving the block ends the threads at their next picture."""

    def decode(rows: Sequence[int]) -> list[tuple[int, Found]]:
        done: list[tuple[int, Found]] = []
        expect(pictures.store, [pictures.keys[row] for row in rows])
        for row in rows:
            if stopping.is_set():
                break
            try:
                done.append((row, pixels_of(pictures, row, [policy for policy, (_, those) in lacking.items() if row in those])))
            except PictureError as error:
                done.append((row, error.with_traceback(None)))
        return done

    def results(pool: ThreadPoolExecutor, ahead: int) -> Iterator[tuple[int, Found]]:
        flying: deque[Future[list[tuple[int, Found]]]] = deque()
        for chunk in chunks:
            flying.append(pool.submit(decode, chunk))
            if len(flying) > ahead:
                yield from flying.popleft().result()
        while flying:
            yield from flying.popleft().result()

    workers = workers or os.cpu_count() or 1
    with decoders(workers) as (pool, stopping):
        yield results(pool, 2 * workers)


class _Telling:
    """Says how far decoding is, at most five times a second."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0
        self._began = self._last = time.monotonic()

    def one(self) -> None:
        """Count one picture."""
        self._done += 1
        now = time.monotonic()
        if self._done < self._total and now - self._last < 0.2:
            return
        self._last = now
        rate = self._done / max(now - self._began, 1e-6)
        events.progress("decode", self._done, self._total, rate=rate)


def _judge(bad: Sequence[Bad], pictures: Pictures, on_bad: str) -> None:
    counts = ", ".join(f"{n} {code}" for code, n in Counter(b.code for b in bad).most_common())
    few = ", ".join(b.key for b in bad[:3]) + (", …" if len(bad) > 3 else "")
    text = f"{len(bad)} of {len(pictures)} pictures in {pictures.store.name} cannot be read: {counts} ({few})"
    if len(bad) == len(pictures):
        raise DataError(text, code="all-unreadable", hint=bad[0].message)
    if on_bad == "report":
        hint = "they are left out; --set data.on_bad=skip says nothing of them, data.on_bad=stop ends the run"
        events.warn(text, hint=hint, bad=len(bad))


def _check_writable(folder: Path) -> None:
    """Raise `MachineError` before any work is done, rather than when the first shard is full."""
    with telling_disk_errors(folder, option="--cache"):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def policy_name(policy: PixelPolicy) -> str:
    """Return what pixels of this policy are called in the cache; another conversion gives another name."""
    return sha256(json.dumps([CONVERSION, policy.json()], sort_keys=True).encode())[:16]
