"""Pictures decoded once: shards of uint8 pixels under the user's cache folder, found by the digest of the file.

    pixels/<policy>/<shard>/pixels.npy     uint8 (n, C, H, W)
                           /digests.npy    uint8 (n, 32)

A shard is a folder that is whole or absent and never changes, so any number of processes may read and write at once.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, MachineError, PictureError, UsageError, did_you_mean
from beholder.base.files import cache_folder, folder_atomic, sha256, telling_disk_errors
from beholder.base.records import Bad, Pictures, PixelPolicy
from beholder.base.spans import span
from beholder.data.digest import digested
from beholder.data.image import load
from beholder.data.image.apart import decoders

CONVERSION = 3
"""Counts the versions of `data.image`'s conversion: raise it when the same file would give other pixels."""

SHARD = 64 << 20
"""Most bytes of pixels in one shard; two are in memory while they are filled and written."""

SHARDS = 512
"""Sets that would need more shards get larger ones: each is an open file, of which a system allows about a thousand."""

ON_BAD = ("report", "skip", "stop")
"""What to do with pictures that cannot be read: say so and go on, go on, or raise at the first."""

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]
Keys = npt.NDArray[np.bytes_]


@dataclass(frozen=True, eq=False)
class Pixels:
    """Decoded pictures on disk, mapped into memory.

    rows:    int64 (M,), the rows of the pictures that could be read; position p of the pixels is row rows[p]
    shape:   (C, H, W)
    bad:     what could not be read, and why
    decoded: how many files were decoded to make this; 0 when all were in the cache
    shards:  uint8 (n, C, H, W) each; shard, place: int64 (M,), in which of them a picture lies, and where in it
    """

    rows: I64
    shape: tuple[int, int, int]
    bad: tuple[Bad, ...]
    decoded: int
    shards: tuple[U8, ...]
    shard: I64
    place: I64

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, positions: npt.NDArray[np.integer]) -> U8:
        """Return a copy of the pixels at `positions`, int (B,) in 0..M-1: uint8 (B, C, H, W)."""
        shard, place = self.shard[positions], self.place[positions]
        used = np.unique(shard)
        if len(used) == 1:
            return _rows(self.shards[used[0]], place)
        out = np.empty((len(shard), *self.shape), np.uint8)
        for k in used:
            here = np.flatnonzero(shard == k)
            out[here] = _rows(self.shards[k], place[here])
        return out

    def subset(self, positions: npt.NDArray[np.integer]) -> Pixels:
        """Return the pixels at `positions` only, in that order; no pixel is copied."""
        return replace(self, rows=self.rows[positions], shard=self.shard[positions], place=self.place[positions])


def cached(
    pictures: Pictures,
    policy: PixelPolicy,
    *,
    root: str | Path | None = None,
    on_bad: str = "report",
    workers: int = 0,
    limit: int = 20 * 2**30,
) -> Pixels:
    """Return the pixels of all pictures that can be read, decoding those that are not in the cache yet.

    root: the cache folder (the user's by default); workers: threads that decode (0: one per core)
    limit: bytes that the pixels of all sets may take; the shards used least recently go first, never those of this call
    Raises `DataError` (all-unreadable; with "stop" bad-picture) and `MachineError` where the cache cannot be written.
    """
    if on_bad not in ON_BAD:
        raise UsageError(f"on_bad cannot be '{on_bad}'", code="bad-value", hint=did_you_mean(on_bad, ON_BAD))
    if pictures.digests is None:
        pictures = digested(pictures, root=root)
    assert pictures.digests is not None
    keys, first, which = np.unique(_keys(pictures.digests), return_index=True, return_inverse=True)
    top = cache_folder(root) / "pixels"
    shelf = _Shelf(top / policy_name(policy), (policy.channels, policy.height, policy.width), keys)
    todo = np.sort(first[shelf.shard < 0])
    with span("decode"):
        failed = _fill(shelf, pictures, todo, policy, workers=workers, stop=on_bad == "stop") if len(todo) else {}
    shard = shelf.shard[which]
    bad = tuple(
        Bad(pictures.keys[row], error.code, error.message)
        for row, error in ((row, failed[int(first[which[row]])]) for row in np.flatnonzero(shard < 0).tolist())
    )
    if bad:
        _judge(bad, pictures, on_bad)
    rows = np.flatnonzero(shard >= 0)
    _tidy(top, limit, using=shelf.paths)
    decoded = len(todo) - len(failed)
    return Pixels(rows, shelf.shape, bad, decoded, tuple(shelf.shards), shard=shard[rows], place=shelf.place[which[rows]])


def missing(pictures: Pictures, policy: PixelPolicy, *, root: str | Path | None = None) -> int:
    """Return how many files `cached` would have to decode; no picture is read if the digests are known."""
    digests = digested(pictures, root=root).digests
    assert digests is not None
    shape = (policy.channels, policy.height, policy.width)
    shelf = _Shelf(cache_folder(root) / "pixels" / policy_name(policy), shape, np.unique(_keys(digests)))
    return int((shelf.shard < 0).sum())


class _Shelf:
    """The shards of one policy that hold any of `keys`, S32 (U,) sorted and unique, mapped into memory.

    shard, place: int64 (U,), in which shard a key lies and where in it; -1 where in none
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], keys: Keys) -> None:
        self.folder = folder
        self.shape = shape
        self.keys = keys
        self.shard = np.full(len(keys), -1, np.int64)
        self.place = np.full(len(keys), -1, np.int64)
        self.paths: list[Path] = []
        self.shards: list[U8] = []
        for path in sorted(folder.glob("[!.]*")):
            found = _mapped(path, shape)
            if found is None:
                shutil.rmtree(path, ignore_errors=True)
            else:
                self._hold(path, *found)

    def write(self, pixels: U8, digests: U8) -> None:
        """Add a new shard, whole or not at all. Raises `MachineError`."""
        path = self.folder / uuid.uuid4().hex[:16]
        for again in (True, True, False):
            try:
                with folder_atomic(path) as folder:
                    np.save(folder / "pixels.npy", pixels, allow_pickle=False)
                    np.save(folder / "digests.npy", digests, allow_pickle=False)
                break
            except MachineError as error:  # somebody may delete the whole cache at any moment, this one included
                if not again or not isinstance(error.__cause__, (FileNotFoundError, FileExistsError)):
                    raise
        # Another process that is short of room may have deleted it already: then this one goes on with a copy in memory.
        self._hold(path, *(_mapped(path, self.shape) or (pixels.copy(), digests)))

    def _hold(self, path: Path, pixels: U8, digests: U8) -> None:
        theirs = _keys(digests)
        at = np.searchsorted(self.keys, theirs)
        at[at == len(self.keys)] = 0
        places = np.flatnonzero(self.keys[at] == theirs) if len(self.keys) else at[:0]
        if len(places):  # A mapping holds a file open: keep what is needed only.
            self.shard[at[places]] = len(self.shards)
            self.place[at[places]] = places
            self.shards.append(pixels)
            self.paths.append(path)


def _mapped(path: Path, shape: tuple[int, int, int]) -> tuple[U8, U8] | None:
    """Return the pixels and digests of a shard, or None if it is damaged or gone."""
    try:
        pixels = np.load(path / "pixels.npy", mmap_mode="r", allow_pickle=False)
        digests = np.load(path / "digests.npy", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    except OSError as error:  # too many open files, no permission: the shard may be sound, so it is left alone
        raise MachineError(
            f"cannot read the cache at {path}: {error.strerror}",
            code="cannot-read",
            hint="close other programs, or delete that folder",
        ) from error
    sound = pixels.dtype == digests.dtype == np.uint8 and pixels.shape[1:] == shape and digests.shape == (len(pixels), 32)
    return (np.asarray(pixels), digests) if sound else None


def _fill(
    shelf: _Shelf, pictures: Pictures, missing: I64, policy: PixelPolicy, *, workers: int, stop: bool
) -> dict[int, PictureError]:
    """Decode the rows `missing` into new shards; return what could not be read, by row.

    However it ends, finished shards stay; at Ctrl-C the shard at hand is kept as well.
    """
    assert pictures.digests is not None
    _check_writable(shelf.folder)
    size = max(1, int(np.prod(shelf.shape)))
    room = max(1, max(SHARD, len(missing) * size // SHARDS) // size)
    failed: dict[int, PictureError] = {}
    telling = _Telling(len(missing))
    step = max(1, min(32, (8 << 20) // size))
    chunks = (missing[k : k + step].tolist() for k in range(0, len(missing), step))
    with (
        _Filling(shelf, pictures.digests, min(room, len(missing))) as filling,
        _decoded(chunks, pictures, policy, workers=workers) as results,
    ):
        for row, picture in results:
            if not isinstance(picture, PictureError):
                filling.add(row, picture)
            elif stop:
                raise DataError(f"{pictures.keys[row]}: {picture.message}", code="bad-picture", hint=picture.hint)
            else:
                failed[row] = picture
            telling.one()
    return failed


class _Filling:
    """Gathers pictures into shards of `room` each; a thread writes one while the next is filled, for disks are slow to sync."""

    def __init__(self, shelf: _Shelf, digests: U8, room: int) -> None:
        self._shelf = shelf
        self._digests = digests
        self._room = room
        self._pixels: U8 | None = None
        self._rows: list[int] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beholder-write")
        self._written: Future[U8] | None = None

    def __enter__(self) -> _Filling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._pool:
            if self._rows and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._write()
            if self._written is not None:
                self._written.result()

    def add(self, row: int, picture: U8) -> None:
        """Take one picture in. Raises `MachineError` where an earlier shard could not be written."""
        if self._pixels is None:
            self._pixels = np.empty((self._room, *self._shelf.shape), np.uint8)
        self._pixels[len(self._rows)] = picture
        self._rows.append(row)
        if len(self._rows) == self._room:
            self._write()

    def _write(self) -> None:
        assert self._pixels is not None
        full, digests = self._pixels, self._digests[self._rows]
        count, self._rows = len(self._rows), []
        self._pixels = self._written.result() if self._written is not None else None

        def work() -> U8:
            self._shelf.write(full[:count], digests)
            return full

        self._written = self._pool.submit(work)


@contextlib.contextmanager
def _decoded(
    chunks: Iterable[Sequence[int]], pictures: Pictures, policy: PixelPolicy, *, workers: int
) -> Iterator[Iterator[tuple[int, U8 | PictureError]]]:
    """Yield an iterator over (row, pixels or the error) in order; leaving the block ends the threads at their next picture."""

    def decode(rows: Sequence[int]) -> list[tuple[int, U8 | PictureError]]:
        done: list[tuple[int, U8 | PictureError]] = []
        for row in rows:
            if stopping.is_set():
                break
            try:
                done.append((row, _decode(pictures, row, policy)))
            except PictureError as error:
                done.append((row, error.with_traceback(None)))
        return done

    def results(pool: ThreadPoolExecutor, ahead: int) -> Iterator[tuple[int, U8 | PictureError]]:
        flying: deque[Future[list[tuple[int, U8 | PictureError]]]] = deque()
        for chunk in chunks:
            flying.append(pool.submit(decode, chunk))
            if len(flying) > ahead:
                yield from flying.popleft().result()
        while flying:
            yield from flying.popleft().result()

    workers = workers or os.cpu_count() or 1
    with decoders(workers) as (pool, stopping):
        yield results(pool, 2 * workers)


def _decode(pictures: Pictures, row: int, policy: PixelPolicy) -> U8:
    data = pictures.store.read(pictures.keys[row])
    assert pictures.digests is not None
    # Under a digest that is not its own, a picture would be served to every later run as another one.
    if isinstance(data, bytes) and hashlib.sha256(data).digest() != pictures.digests[row].tobytes():
        raise PictureError(f"{pictures.keys[row]} changed while it was read", code="changed", hint="run again")
    return load(data, policy)


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
        events.progress("decode", self._done, self._total, rate=f"{rate:.0f} pictures/s")


def _judge(bad: Sequence[Bad], pictures: Pictures, on_bad: str) -> None:
    counts = ", ".join(f"{n} {code}" for code, n in Counter(b.code for b in bad).most_common())
    few = ", ".join(b.key for b in bad[:3]) + (", …" if len(bad) > 3 else "")
    text = f"{len(bad)} of {len(pictures)} pictures in {pictures.store.name} cannot be read: {counts} ({few})"
    if len(bad) == len(pictures):
        raise DataError(text, code="all-unreadable", hint=bad[0].message)
    if on_bad == "report":
        events.warn(
            text,
            hint="they are left out; --set data.on_bad=skip says nothing of them, data.on_bad=stop ends the run",
            bad=len(bad),
        )


def _check_writable(folder: Path) -> None:
    """Raise `MachineError` before any work is done, rather than when the first shard is full."""
    with telling_disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass


def _tidy(top: Path, limit: int, *, using: Sequence[Path]) -> None:
    """Delete the shards used least recently until all take no more than `limit` bytes, and what a killed run left behind."""
    for path in using:
        with contextlib.suppress(OSError):
            os.utime(path)
    shards = []
    for path in top.glob("*/*"):
        with contextlib.suppress(OSError):
            used = path.stat().st_mtime
            if not path.name.startswith("."):
                shards.append((used, sum(file.stat().st_size for file in path.iterdir()), path))
            elif time.time() - used > 3600:
                shutil.rmtree(path, ignore_errors=True)
    total = sum(size for _, size, _ in shards)
    for _, size, path in sorted(shards):
        if total > limit and path not in using:
            shutil.rmtree(path, ignore_errors=True)
            total -= size


def policy_name(policy: PixelPolicy) -> str:
    """Return what pixels of this policy are called in the cache; another conversion gives another name."""
    return sha256(json.dumps([CONVERSION, policy.json()], sort_keys=True).encode())[:16]


def _keys(digests: U8) -> Keys:
    """Return digests, uint8 (N, 32), as N values that can be sorted and compared: S32 (N,)."""
    return np.ascontiguousarray(digests).view("S32").reshape(len(digests))


def _rows(pixels: U8, places: I64) -> U8:
    if (np.diff(places) == 1).all():
        return pixels[places[0] : places[-1] + 1].copy()
    return pixels.take(places, axis=0)
