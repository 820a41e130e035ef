"""Work of a join, piece by piece and bucket by bucket: each unit reads files, holds a bounded part of them, and writes one.

A table files every hash under one band (`duplicates.words`): a piece of the hashes becomes entries sorted by bucket, and a
bucket is what all pieces have of it. Within it, entries of equal keys are compared; too many of one key are divided by further
bits.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beholder.base.arrays import I8, I64, Bools, Values
from beholder.base.errors import DataError
from beholder.base.files import telling_disk_errors
from beholder.base.mixing import U64, mixed
from beholder.duplicates.hashing import LENGTH
from beholder.duplicates.words import NAME, STRONG, USED, Band, bands, entries, shares, words_of

NAMES = -1
"""The table in which hashes are filed by their names: equal ones are found there, and only the first is filed elsewhere."""

LEVELS = 2
"""How often the entries of one key may be divided by further bits."""

_ROWS, _COMPARED = 1 << 13, 1 << 14
"""Words that are filed at a time, and entries that are compared at a time: what is needed of them stays in the cache."""

PLAN, COPIES = "plan.json", "copies.npy"


@dataclass(frozen=True)
class Plan:
    """How a join is cut.

    pieces: runs of rows, (path, first row of the file, rows), of one file or of several; pictures are counted through them all
    bands: of one round; rounds: sets of bands; probes: smallest signs in a band that are turned over, one at a time
    most: entries of one key that are all compared; far: bits, of 126, in which two hashes may differ
    buckets: of a table; room: entries of a bucket that are held at a time
    """

    pieces: list[list[tuple[str, int, int]]]
    bands: int
    rounds: int
    probes: int
    most: int
    far: int
    buckets: int
    room: int

    def __len__(self) -> int:
        return sum(self.sizes)

    @property
    def tables(self) -> int:
        """Return the number of tables beside that of names."""
        return self.bands * self.rounds

    def start(self, piece: int) -> int:
        """Return the number of the first picture of a piece."""
        return sum(self.sizes[:piece])

    @property
    def sizes(self) -> list[int]:
        """Return the number of pictures of each piece."""
        return [sum(rows for _, _, rows in runs) for runs in self.pieces]


def opened(folder: Path) -> Plan:
    """Return the plan of a join."""
    return Plan(**json.loads((folder / PLAN).read_text("utf-8")))


def column(path: str) -> Values:
    """Return the hashes, int8 (N, 64), or words, uint64 (N, 4), of a file: NPY, or the column `hash` of Parquet.

    Those of NPY are mapped into memory. Raises `DataError` (bad-parts).
    """
    try:
        if path.endswith(".npy"):
            found: Values = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            import pyarrow.parquet as parquet

            held = parquet.read_table(path, columns=["hash"])["hash"].combine_chunks()
            found = np.frombuffer(held.buffers()[1], np.int8).reshape(-1, held.type.byte_width)[held.offset :][: len(held)]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        hint = "delete it and run again: it is made anew"
        raise DataError(f"{path} cannot be read: {error}", code="bad-parts", hint=hint) from error
    if (found.dtype.str, found.shape[1:]) in (("|i1", (LENGTH,)), ("<u8", (4,))):
        return found
    hint = "give hashes, int8 (N, 64)"
    raise DataError(f"{path} has {found.dtype} {found.shape} instead of hashes", code="bad-parts", hint=hint)


def _given(plan: Plan, piece: int) -> Values:
    """Return the rows of a piece as its files hold them."""
    runs = [column(path)[first : first + rows] for path, first, rows in plan.pieces[piece]]
    return runs[0] if len(runs) == 1 else np.concatenate(runs)


def _mapped(plan: Plan, piece: int) -> bool:
    """Return whether rows of a piece can be read one by one where they lie."""
    return len(plan.pieces[piece]) == 1 and plan.pieces[piece][0][0].endswith(".npy")


def sketched(folder: str, piece: int, threads: int) -> Iterator[int]:
    """Write the words of a piece, uint64 (n, 4), and its rows where they cannot be mapped. threads: not used."""
    plan, there = opened(Path(folder)), Path(folder)
    found = _given(plan, piece)
    if found.dtype == np.int8:
        chunks = [words_of(found[at : at + _ROWS]) for at in range(0, len(found), _ROWS)]
        saved(there / f"words-{piece:06}.npy", np.concatenate([np.zeros((0, 4), np.uint64), *chunks]))
    if not _mapped(plan, piece):
        saved(there / f"hashes-{piece:06}.npy", found)
    yield len(found)


def _words(folder: Path, plan: Plan, piece: int) -> U64:
    """Return the words of a piece, mapped into memory."""
    path = folder / f"words-{piece:06}.npy"
    found: U64 = np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else _given(plan, piece)
    return found


def saved(path: Path, rows: Values) -> None:
    """Write an array that is whole or absent once its process ends; it is not made durable. Raises `MachineError`."""
    with telling_disk_errors(path, option="--cache"):
        temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
        with temporary.open("wb") as file:
            np.save(file, rows, allow_pickle=False)
        temporary.replace(path)


def filed(argument: str, piece: int, threads: int) -> Iterator[int]:
    """Write the entries of a piece in one table, sorted by bucket, and where each bucket begins. argument: folder|table."""
    folder, table = _place(argument)
    plan = opened(folder)
    words = _words(folder, plan, piece)
    start, kind = plan.start(piece), _entry(plan)
    fresh = _fresh(folder, start, len(words)) if table != NAMES else None
    rows, places = [], []
    band, mask = _band(plan, table), np.uint64(_mask(plan, table))
    for at in range(0, len(words), _ROWS):
        some = np.asarray(words[at : at + _ROWS])
        chosen = np.flatnonzero(some[:, NAME] if fresh is None else some[:, NAME].astype(bool) & fresh[at : at + _ROWS])
        for signs, strong, place in _entries(band, plan.probes, some[chosen]):
            made = np.empty(len(signs), kind)
            made["signs"], made["strong"], made["row"] = signs, strong, start + at + chosen[place]
            rows.append(made)
            places.append((mixed(signs & mask) % np.uint64(plan.buckets)).astype(np.uint16))
    every, place = np.concatenate([np.zeros(0, kind), *rows]), np.concatenate([np.zeros(0, np.uint16), *places])
    saved(folder / f"table{table}-{piece:06}.npy", every[np.argsort(place, kind="stable")])
    ends = np.cumsum(np.bincount(place, minlength=plan.buckets))
    saved(folder / f"ends{table}-{piece:06}.npy", np.concatenate([[0], ends]))
    yield len(words)


def _place(argument: str) -> tuple[Path, int]:
    folder, _, table = argument.rpartition("|")
    return Path(folder), int(table)


def _entry(plan: Plan) -> np.dtype[Any]:
    row = "<u4" if len(plan) < 1 << 32 else "<u8"
    return np.dtype([("signs", "<u8"), ("strong", "<u8"), ("row", row)])


def _fresh(folder: Path, start: int, rows: int) -> Bools:
    """Return which rows are the first of their name, bool (rows,)."""
    return np.asarray(~np.load(folder / COPIES, mmap_mode="r", allow_pickle=False)[start : start + rows])


def _entries(band: Band | None, probes: int, words: U64) -> Iterator[tuple[U64, U64, I64]]:
    if band is None:
        yield words[:, NAME], words[:, STRONG], np.arange(len(words))
    else:
        yield from entries(words, band, probes)


def _band(plan: Plan, table: int) -> Band | None:
    """Return the band of a table, None for that of names."""
    return None if table == NAMES else bands(plan.bands, table // plan.bands)[table % plan.bands]


def _mask(plan: Plan, table: int) -> int:
    band = _band(plan, table)
    return (1 << LENGTH) - 1 if band is None else band.mask


def compared(argument: str, bucket: int, threads: int) -> Iterator[int]:
    """Write the pairs of a bucket, int64 (M, 2) sorted, and how many entries were not compared with all of their key."""
    folder, table = _place(argument)
    plan, found = opened(folder), []
    crowded = count = 0
    for held in _held(folder, plan, table, bucket):
        crowded += len(held) if count else 0
        if table == NAMES:
            found.append(_same(held["signs"], held["row"].astype(np.int64)))
        else:
            search = _Search(plan.most, plan.far, plan.bands)
            search.within(held["signs"], held["strong"], held["row"].astype(np.int64), _mask(plan, table))
            found += search.found
            crowded += search.crowded
        count += len(held)
        yield count
    saved(folder / f"pairs{table}-{bucket:06}.npy", unique_pairs(np.concatenate([np.zeros((0, 2), np.int64), *found])))
    if crowded:
        saved(folder / f"crowded{table}-{bucket:06}.npy", np.array(crowded))


def _held(folder: Path, plan: Plan, table: int, bucket: int) -> Iterator[Values]:
    """Yield the entries of a bucket from all pieces, `room` at a time where one key has so many."""
    held, count = [], 0
    for piece in range(len(plan.pieces)):
        ends = np.load(folder / f"ends{table}-{piece:06}.npy", allow_pickle=False)
        path = folder / f"table{table}-{piece:06}.npy"
        rows = np.load(path, mmap_mode="r", allow_pickle=False)[ends[bucket] : ends[bucket + 1]]
        held.append(np.asarray(rows))
        count += len(rows)
        if count > plan.room:
            yield np.concatenate(held)
            held, count = [], 0
    if held:
        yield np.concatenate(held)


def unique_pairs(pairs: I64) -> I64:
    """Return each pair (M, 2) once, the smaller number first, sorted."""
    pairs = np.sort(pairs[pairs[:, 0] != pairs[:, 1]], axis=1)
    order = np.lexsort((pairs[:, 1], pairs[:, 0]))
    pairs = pairs[order]
    fresh = np.ones(len(pairs), bool)
    fresh[1:] = (pairs[1:] != pairs[:-1]).any(axis=1)
    return pairs[fresh]


def _same(names: U64, rows: I64) -> I64:
    """Return pairs of the first row of each name with each other row of it, (M, 2)."""
    order = np.lexsort((rows, names))
    starts, lengths = _runs(names[order])
    first = np.repeat(rows[order][starts], lengths)
    return np.stack([first, rows[order]], axis=1)


def _runs(keys: U64) -> tuple[I64, I64]:
    """Return where runs of equal keys, sorted, begin, and their lengths."""
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])) if len(keys) else np.zeros(0, np.int64)
    return starts, np.diff(np.append(starts, len(keys)))


@dataclass
class _Search:
    """Pairs of entries that differ in at most `far` bits. crowded: entries of keys too large to be compared in full."""

    most: int
    far: int
    bands: int

    def __post_init__(self) -> None:
        self.found: list[I64] = []
        self.crowded = 0

    def within(self, signs: U64, strong: U64, rows: I64, mask: int, level: int = 0) -> None:
        """Compare entries whose signs are equal under `mask`.

        Of a key that too many share, two that differ in less than `bands` signs beyond it are equal in one of as many shares.
        """
        order = np.argsort(signs & np.uint64(mask))
        starts, lengths = _runs((signs & np.uint64(mask))[order])
        large = lengths > self.most
        last = level == LEVELS or mask == USED
        if last:
            self.crowded += int(lengths[large].sum())
        places = _laid(order, starts, lengths, np.ones(len(large), bool) if last else ~large)
        self._compare(signs[places[0]], strong[places[0]], rows[places[0]], places[1])
        if last or not large.any():
            return
        rest, _ = _laid(order, starts, lengths, large)
        signs, strong, rows = signs[rest], strong[rest], rows[rest]
        for share in shares(mask, self._shares(mask, float(np.median(lengths[large])))):
            self.within(signs, strong, rows, mask | share, level + 1)

    def _shares(self, mask: int, size: float) -> int:
        """Return into how many shares the other bits are divided: each has enough to make runs of a fourth of `most`."""
        left = (USED & ~mask).bit_count()
        need = max(1, int(np.ceil(np.log2(4 * size / self.most))))
        return min(left, max(self.bands, min(left // need, 2 * self.bands)))

    def _compare(self, signs: U64, strong: U64, rows: I64, lengths: I64) -> None:
        """Compare entries that lie run after run, the longest runs first, with up to `most` that come after them in theirs."""
        ends = np.cumsum(lengths)
        run = np.repeat(np.arange(len(lengths)), lengths)
        begin = 0
        while begin < len(lengths) and lengths[begin] > 1:
            until = max(begin + 1, int(np.searchsorted(ends, ends[begin] - lengths[begin] + _COMPARED)))
            low = int(ends[begin] - lengths[begin])
            steps = np.arange(1, min(int(lengths[begin]), self.most + 1))
            longer = np.searchsorted(-lengths[begin:until], -steps)  # so many runs have entries so many steps apart
            for step, stop in zip(steps.tolist(), ends[begin + longer - 1].tolist(), strict=True):
                a, b = slice(low, stop - step), slice(low + step, stop)
                apart = np.bitwise_count(signs[a] ^ signs[b]) + np.bitwise_count(strong[a] ^ strong[b])
                at = (apart <= self.far).nonzero()[0] + low
                at = at[run[at] == run[at + step]]
                if len(at):
                    self.found.append(np.stack([rows[at], rows[at + step]], axis=1))
            begin = until


def _laid(order: I64, starts: I64, lengths: I64, chosen: Bools) -> tuple[I64, I64]:
    """Return the places of the entries of the chosen runs, run after run, the longest first, and the lengths of these runs."""
    which = np.flatnonzero(chosen)
    which = which[np.argsort(-lengths[which], kind="stable")]
    sizes = lengths[which]
    inside = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return order[np.repeat(starts[which], sizes) + inside], sizes


def rows_of(folder: Path, plan: Plan, wanted: I64) -> I8 | U64:
    """Return the hashes or words of pictures by number, (M, …). wanted: int64 (M,), in any order."""
    starts = np.cumsum([0, *plan.sizes])
    piece = np.searchsorted(starts, wanted, side="right") - 1
    out: Values | None = None
    for k in np.unique(piece).tolist():
        here = np.flatnonzero(piece == k)
        path = folder / f"hashes-{k:06}.npy"
        every = np.load(path, mmap_mode="r", allow_pickle=False) if path.exists() else _given(plan, k)
        found = every[wanted[here] - starts[k]]
        out = np.empty((len(wanted), *found.shape[1:]), found.dtype) if out is None else out
        out[here] = found
    assert out is not None
    return out
