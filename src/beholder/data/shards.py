"""Shards of rows on disk, found by the digest of the picture, each row with a checksum that is verified when it is first read.

    SHARD/NAME.npy      (n, …)           one row a picture: pixels, features
    SHARD/digests.npy   uint8 (n, 36)    its digest, and the CRC-32 of digest and row

A disk that loses or turns bits, and rows that changed places, are noticed: the checksum binds a row to its digest. A shard is a
folder that is whole or absent, and the only thing that is ever written into it is what was damaged.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
import numpy.typing as npt

from beholder.base.arrays import I64, U8, Bools, Values
from beholder.base.errors import MachineError
from beholder.base.files import folder_atomic
from beholder.base.locks import evict, share

Keys = npt.NDArray[np.bytes_]

DIGEST = 32

ROW = DIGEST + 4
"""Bytes of a picture beside its values."""


class Rows(Protocol):
    """Where some of the rows of a table are had from: a `Shard`, or what makes them anew each time."""

    @property
    def path(self) -> Path:
        """Return the folder that they lie in; there is none where they are not kept."""

    def take(self, places: I64, again: Callable[[int], Values]) -> Values:
        """Return the rows at `places`, int64 (B,) of at least one; again: makes the row at a place anew."""


@dataclass(frozen=True, eq=False)
class Shard:
    """Values (n, …) mapped into memory, and what tells whether they are what was written.

    sums: uint8 (n, 36), as in digests.npy; sound: bool (n,), which rows were verified; repaired: rows made anew, by place
    path: the folder that they lie in; a row made anew is written there too, in the place of what is damaged
    """

    rows: Values
    sums: U8
    sound: Bools
    path: Path
    name: str
    repaired: dict[int, Values] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def digests(self) -> U8:
        """Return the digests of the rows, uint8 (n, 32)."""
        return self.sums[:, :DIGEST]

    def among(self, keys: Keys) -> tuple[I64, I64]:
        """Return the places of the rows that are among `keys`, S32 (U,) sorted and unique, and which these are: int64 (B,)."""
        theirs = keys_of(self.digests)
        at = np.searchsorted(keys, theirs)
        at[at == len(keys)] = 0
        places = np.flatnonzero(keys[at] == theirs) if len(keys) else at[:0]
        return places, at[places]

    def damaged(self, places: I64) -> I64:
        """Return those of `places`, int64 (B,), whose rows are not what was written; each is verified once."""
        unknown = places[~self.sound[places]]
        if not len(unknown):
            return unknown
        unknown = np.unique(unknown)
        right = (summed(self.rows[unknown], self.digests[unknown]) == self.sums[unknown]).all(axis=1)
        self.sound[unknown[right]] = True
        return np.asarray(unknown[~right], np.int64)

    def take(self, places: I64, again: Callable[[int], Values]) -> Values:
        """Return a copy of the rows at `places`, int64 (B,) of at least one; again: makes the row at a place anew."""
        bad = self.damaged(places)
        if len(places) and (np.diff(places) == 1).all():
            out: Values = self.rows[places[0] : places[-1] + 1].copy()
        else:
            out = self.rows.take(places, axis=0)
        for place in bad.tolist():
            with self.lock:
                if place not in self.repaired:
                    self.repaired[place] = again(place)
                    self._restore(place)
            out[places == place] = self.repaired[place]
        return out

    def _restore(self, place: int) -> None:
        """Write a repaired row to the disk: it is what was written once, so a concurrent reader loses nothing."""
        row = self.repaired[place][None]
        for name, value in ((self.name, row), ("digests", summed(row, self.digests[place : place + 1]))):
            with contextlib.suppress(OSError, ValueError):
                np.load(self.path / f"{name}.npy", mmap_mode="r+", allow_pickle=False)[place] = value[0]


class Shelf:
    """The shards of pixels of one policy that hold any of `keys`, S32 (U,) sorted and unique, mapped into memory.

    shard, place: int64 (U,), in which shard a key lies and where in it; -1 where in none
    """

    def __init__(self, folder: Path, shape: tuple[int, int, int], keys: Keys) -> None:
        self.folder = folder
        self.shape = shape
        self.keys = keys
        self.shard = np.full(len(keys), -1, np.int64)
        self.place = np.full(len(keys), -1, np.int64)
        self.paths: list[Path] = []
        self.shards: list[Rows] = []
        for path in sorted(folder.glob("[!.]*")):
            found = mapped(path, shape)
            if found is None:
                shutil.rmtree(path, ignore_errors=True)
            else:
                self._hold(path, found)

    def write(self, pixels: U8, digests: U8) -> None:
        """Add a new shard, whole or not at all. Raises `MachineError`."""
        path = self.folder / uuid.uuid4().hex[:16]
        for again in (True, True, False):
            try:
                with folder_atomic(path, option="--cache") as folder:
                    saved(folder, "pixels", pixels, digests)
                break
            except MachineError as error:  # somebody may delete the whole cache at any moment, this one included
                if not again or not isinstance(error.__cause__, (FileNotFoundError, FileExistsError)):
                    raise
        # Another process that is short of room may have deleted it already: then this one goes on with a copy in memory.
        sums = summed(pixels, digests)
        self._hold(path, mapped(path, self.shape) or Shard(pixels.copy(), sums, np.ones(len(pixels), bool), path, "pixels"))

    def _hold(self, path: Path, shard: Shard) -> None:
        places, at = shard.among(self.keys)
        if len(places):  # A mapping holds a file open: keep what is needed only.
            self.shard[at] = len(self.shards)
            self.place[at] = places
            self.shards.append(shard)
            self.paths.append(path)


def saved(folder: Path, name: str, rows: Values, digests: U8) -> None:
    """Write rows (n, …) and their digests, uint8 (n, 32), into a folder. Raises `OSError`."""
    np.save(folder / f"{name}.npy", rows, allow_pickle=False)
    np.save(folder / "digests.npy", summed(rows, digests), allow_pickle=False)


def opened(path: Path, name: str, kind: npt.DTypeLike, dimensions: int) -> Shard | None:
    """Return the shard in the folder `path`, None if it is not whole or gone; its rows are verified when they are read.

    kind, dimensions: the type of its rows, and how many dimensions their table has
    Raises `MachineError` where it is there and cannot be read.
    """
    try:
        rows = _mapping(path / f"{name}.npy")
        sums = np.load(path / "digests.npy", allow_pickle=False)
    except (FileNotFoundError, ValueError, EOFError):
        return None
    except OSError as error:  # too many open files, no permission: the shard may be sound, so it is left alone
        hint = "close other programs, or delete that folder"
        raise MachineError(f"cannot read the cache at {path}: {error.strerror}", code="cannot-read", hint=hint) from error
    whole = rows.ndim == dimensions and rows.dtype == kind and sums.dtype == np.uint8 and sums.shape == (len(rows), ROW)
    return Shard(np.asarray(rows), sums, np.zeros(len(rows), bool), path, name) if whole else None


def _mapping(path: Path) -> Values:
    """Return the array of an NPY file mapped into memory; as long as it lives, nobody deletes the file. Raises `ValueError`."""
    with path.open("rb") as file:
        if not share(file.fileno()):  # the mapping has its own copy of the descriptor, and by it the lock
            raise FileNotFoundError(path)
        if np.lib.format.read_magic(file) != (1, 0):  # what numpy.save writes of plain arrays
            raise ValueError(path)
        shape, fortran, kind = np.lib.format.read_array_header_1_0(file)
        return np.memmap(file, kind, "r", file.tell(), shape, "F" if fortran else "C")


def mapped(path: Path, shape: tuple[int, int, int]) -> Shard | None:
    """Return the shard of pixels of this shape, (C, H, W), in the folder `path`, None if it is not whole or gone."""
    found = opened(path, "pixels", np.uint8, 4)
    return found if found is not None and found.rows.shape[1:] == shape else None


def summed(rows: Values, digests: U8) -> U8:
    """Return digests (n, 32) with the CRC-32 of each digest and row beside it: uint8 (n, 36)."""
    plain = np.ascontiguousarray(rows).reshape(len(rows), -1).view(np.uint8) if len(rows) else np.empty((0, 0), np.uint8)
    digests = np.ascontiguousarray(digests)
    codes = [zlib.crc32(row.data, zlib.crc32(digest.data)) for row, digest in zip(plain, digests, strict=True)]
    return np.concatenate([digests, np.array(codes, "<u4").view(np.uint8).reshape(-1, 4)], axis=1)


def keys_of(digests: U8) -> Keys:
    """Return digests, uint8 (N, 32), as N values that can be sorted and compared: S32 (N,)."""
    return np.ascontiguousarray(digests).view("S32").reshape(len(digests))


def tidy(top: Path, limit: int, *, using: Sequence[Path] = ()) -> None:
    """Keep the shards within `limit` bytes, and delete what a killed run left behind an hour ago."""
    for path in using:
        with contextlib.suppress(OSError):
            os.utime(path)
    for path in top.glob("*/.*"):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path, ignore_errors=True)
    evict(top.glob("*/[!.]*"), limit, using=using)


class Filling:
    """Gathers pictures into shards of `room` each; a thread writes one while the next is filled, for disks are slow to sync.

    most: pictures that are taken; beyond: rows that came after that, and were not kept
    """

    def __init__(self, shelf: Shelf, digests: U8, room: int, *, most: int) -> None:
        self.beyond: list[int] = []
        self._left = most
        self._shelf = shelf
        self._digests = digests
        self._room = room
        self._pixels: U8 | None = None
        self._rows: list[int] = []
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="beholder-write")
        self._written: Future[U8] | None = None

    def __enter__(self) -> Filling:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        with self._pool:
            if self._rows and (kind is None or issubclass(kind, KeyboardInterrupt)):
                self._write()
            if self._written is not None:
                self._written.result()

    def add(self, row: int, picture: U8) -> None:
        """Take one picture in, or note its row. Raises `MachineError` where an earlier shard could not be written."""
        if not self._left:
            self.beyond.append(row)
            return
        self._left -= 1
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
