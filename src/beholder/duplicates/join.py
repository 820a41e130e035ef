"""Near-duplicates among hashes that do not fit into memory: a join on disk, far from comparing all with all.

Hashes are filed in tables, each by the signs of one band of coefficients (`duplicates.words`); equal keys meet in one bucket
(`duplicates.buckets`). By the pigeonhole principle two hashes that differ in fewer signs than there are bands agree in one of
them (Manku, Jain & Das Sarma, Detecting near-duplicates for web crawling, WWW 2007). Most others are found because each is also
filed with its smallest coefficients negated (Lv et al., Multi-probe LSH, VLDB 2007). What is found is compared by cosine.
"""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from beholder.base import events
from beholder.base.arrays import F64, I8, I64, Bools
from beholder.base.errors import MachineError
from beholder.base.files import write_atomic
from beholder.duplicates import hashing
from beholder.duplicates.buckets import COPIES, NAMES, PLAN, Plan, column, rows_of, saved, unique_pairs
from beholder.duplicates.hashing import ALIKE, TURNS, turned
from beholder.duplicates.words import distances
from beholder.machine.launch import Launch
from beholder.machine.spread import spread
from beholder.measure.neighbours import unit

BANDS, ROUNDS, PROBES = 4, 2, 3
"""Two hashes that differ in fewer signs than `BANDS`, after the turn that suits best, are found for certain."""

MOST, FAR = 1024, 32
"""Entries of one key that are all compared, and bits of 126 in which near-duplicates may differ. See docs/SCALING.md."""

MANY = 1_000_000
"""Hashes from which on they are joined on disk: compared in memory they give a little more, and take ever longer."""

MEMORY = 1 << 30
"""Bytes that one unit of work holds."""

_ENTRY, _ROW, _PAIR = 160, 700, 64
"""Bytes that one entry of a bucket, one hash of a piece, and one pair take while they are worked on."""

_CHUNK = 1 << 15


@dataclass(frozen=True, eq=False)
class Found:
    """Pairs that may be near-duplicates.

    pairs: int64 (M, 2), numbers of pictures, the smaller first, sorted
    turns: int64 (M,), by which of `hashing.TURNS` the first becomes the second
    scores: float64 (M,), cosines of hashes, or bits in which words differ
    """

    pairs: I64
    turns: I64
    scores: F64


def planned(
    paths: Sequence[str],
    folder: Path,
    *,
    bands: int = BANDS,
    rounds: int = ROUNDS,
    probes: int = PROBES,
    memory: int = MEMORY,
    far: int = FAR,
    most: int = MOST,
) -> Plan:
    """Write the plan of a join into `folder`, which stays on disk until it is over, and return it.

    paths: NPY of hashes, int8 (N, 64), or of words, uint64 (N, 4), or Parquet with a column `hash`; pictures are numbered
    through them. memory: bytes that one unit of work holds. Raises `DataError` (bad-parts).
    """
    pieces, room = _pieces(paths, max(1, memory // _ROW)), max(1, memory // _ENTRY)
    entries = sum(rows for runs in pieces for _, _, rows in runs) * (1 + probes)
    buckets = min(1 << 16, max(1, math.ceil(2 * entries / room)))
    plan = Plan(pieces, bands, rounds, probes, most, far, buckets, room)
    write_atomic(folder / PLAN, json.dumps(asdict(plan)).encode(), option="--cache")
    return plan


def _pieces(paths: Sequence[str], size: int) -> list[list[tuple[str, int, int]]]:
    """Return files cut into pieces of up to `size` rows, and small files put together: see `Plan.pieces`."""
    pieces: list[list[tuple[str, int, int]]] = []
    held = size
    for path in paths:
        rows = len(column(path))
        if pieces and held + rows <= size:
            pieces[-1].append((path, 0, rows))
            held += rows
            continue
        pieces += [[(path, at, min(size, rows - at))] for at in range(0, rows, size)]
        held = rows if 0 < rows <= size else size
    return pieces


def joined(
    plan: Plan, folder: Path, *, memory: int = MEMORY, least: float = ALIKE, launch: Launch | None = None
) -> Iterator[Found]:
    """Carry a plan out and yield what is found, by ranges of the first of two pictures.

    Of pictures with equal hashes only the first is compared with others; each of them is found as a pair with the first.
    Of words, pairs that differ in at most `Plan.far` bits; of hashes, those of a cosine from `least` on.
    launch: where units of work are carried out, see `machine.spread`. Says where keys were too common to be compared in full.
    Raises what `spread` raises, and `MachineError`.
    """
    where = launch or Launch("", 0)
    pieces, buckets = len(plan.pieces), plan.buckets
    _carry("sketched", str(folder), pieces, where)
    for table in range(NAMES, plan.tables):
        argument = f"{folder}|{table}"
        _carry("filed", argument, pieces, where)
        _carry("compared", argument, buckets, where)
        for path in [*folder.glob(f"table{table}-*.npy"), *folder.glob(f"ends{table}-*.npy")]:
            path.unlink()
        if table == NAMES:
            saved(folder / COPIES, _copies(plan, folder))
        events.progress("looking for near-duplicates", table + 2, plan.tables + 1)
    crowded = sum(int(np.load(path)) for path in folder.glob("crowded*.npy"))
    if crowded:
        events.note(
            f"{crowded:,} entries of too common keys were compared with {plan.most:,} others each: pairs may be missing"
        )
    yield from _verified(plan, folder, memory, least)


def _carry(work: str, argument: str, count: int, launch: Launch) -> None:
    """Carry out all units of a work. Raises `MachineError` (lost-work) where one was given up."""
    for heard in spread(f"beholder.duplicates.buckets:{work}", argument, range(count), launch):
        if heard.failed:
            text = f"the join of near-duplicates failed: {heard.failed}"
            raise MachineError(text, code="lost-work", hint="run again")


def _copies(plan: Plan, folder: Path) -> Bools:
    """Return which pictures have the hash of an earlier one, bool (N,)."""
    out = np.zeros(len(plan), bool)
    for path in folder.glob(f"pairs{NAMES}-*.npy"):
        out[np.load(path, mmap_mode="r")[:, 1]] = True
    return out


def _verified(plan: Plan, folder: Path, memory: int, least: float) -> Iterator[Found]:
    """Yield the pairs of all tables, each once, that are as like as they have to be."""
    files = [np.load(path, mmap_mode="r") for path in sorted(folder.glob("pairs*-*.npy"))]
    total = sum(map(len, files))
    for low, high in _ranges(files, len(plan), max(1, memory // _PAIR), total):
        some = [file[slice(*np.searchsorted(file[:, 0], (low, high)))] for file in files]
        pairs = unique_pairs(np.concatenate([np.zeros((0, 2), np.int64), *some]))
        chunks = [_scored(folder, plan, pairs[at : at + _CHUNK], least) for at in range(0, len(pairs), _CHUNK)]
        if chunks:
            yield Found(*(np.concatenate(columns) for columns in zip(*chunks, strict=True)))


def _ranges(files: Sequence[I64], n: int, most: int, total: int) -> Iterator[tuple[int, int]]:
    """Yield ranges of 0..n in which there are about `most` of `total` pairs, sorted by their first."""
    count = max(1, math.ceil(total / most))
    sample = np.concatenate([np.zeros(0, np.int64), *(np.asarray(file[::64, 0]) for file in files)])
    cuts = np.quantile(sample, np.linspace(0, 1, count + 1)[1:-1]) if len(sample) else np.zeros(0)
    edges = [0, *(int(cut) for cut in np.unique(cuts.astype(np.int64)) if 0 < cut < n), n]
    yield from pairwise(edges)


def _scored(folder: Path, plan: Plan, pairs: I64, least: float) -> tuple[I64, I64, F64]:
    """Return those of the pairs that are as like as they have to be, the turns that make them so, and how like they are."""
    first, second = rows_of(folder, plan, pairs[:, 0]), rows_of(folder, plan, pairs[:, 1])
    if first.dtype == np.int8:
        scores, turns = cosines(np.asarray(first, np.int8), np.asarray(second, np.int8))
        stay = scores >= least
    else:
        bits, turns = distances(np.asarray(first, np.uint64), np.asarray(second, np.uint64))
        scores, stay = bits.astype(np.float64), bits <= plan.far
    return pairs[stay], turns[stay], scores[stay]


def cosines(first: I8, second: I8) -> tuple[F64, I64]:
    """Return the cosines of M pairs of hashes (M, 64) after the best turn of the first, float64 (M,), and that turn."""
    a, b = unit(first), unit(second)
    every = np.stack([np.einsum("mk,mk->m", np.asarray(turned(a, turn), np.float32), b) for turn in range(TURNS)])
    best = every.argmax(axis=0)
    return every[best, np.arange(len(first))].astype(np.float64), best.astype(np.int64)


def candidates(hashes: I8, *, root: Path | None = None) -> tuple[I64, I64]:
    """Return who may be near-duplicates, as `hashing.alike` does; of `MANY` and more by a join on disk, under `root`."""
    if len(hashes) < MANY:
        return hashing.alike(hashes)
    with tempfile.TemporaryDirectory(dir=root, prefix="beholder-join-") as name:
        folder = Path(name)
        saved(folder / "hashes.npy", hashes)
        found = list(joined(planned([str(folder / "hashes.npy")], folder), folder))
    if not found:
        return np.empty((0, 2), np.int64), np.empty(0, np.int64)
    every = [np.concatenate(columns) for columns in zip(*((f.pairs, f.turns, f.scores) for f in found), strict=True)]
    return hashing.fewer(every[0], every[1], every[2], len(hashes))


def components(groups: I64, pairs: I64) -> I64:
    """Return `groups` after pairs (M, 2) were tied, so that those of one component share its smallest number; in place.

    groups: int64 (N,), at first `np.arange(N)`; pairs may come in as many calls as memory asks for, then `settled`
    """
    left = pairs
    while len(left):
        left = unique_pairs(_roots(groups, left))
        np.minimum.at(groups, left[:, 1], left[:, 0])
    return groups


def settled(groups: I64) -> I64:
    """Return the smallest number of each picture's component, int64 (N,); in place."""
    for at in range(0, len(groups), _CHUNK):
        groups[at : at + _CHUNK] = _roots(groups, groups[at : at + _CHUNK])
    return groups


def _roots(groups: I64, nodes: I64) -> I64:
    """Return the numbers at the top of those that nodes point to, and let them point there: each turn halves the way."""
    found = nodes
    while True:
        above = groups[found]
        top = groups[above]
        if (top == found).all():
            groups[nodes] = found
            return found
        groups[found] = top
        found = top
