"""Train, valid and test: stratified, seeded, and leak-proof.

Pictures that must not be torn apart (exact duplicates, near twins once they are found, and those of one group) form a unit;
whole units are dealt out.
Which part a unit goes to depends on the seed and on the digests, not on names or their order.
Several labels or pictures in a unit: iterative stratification, Sechidis, Tsoumakas & Vlahavas 2011, algorithm 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from beholder.base import events
from beholder.base.errors import DataError, UsageError
from beholder.base.records import PARTS, Parts, Pictures
from beholder.data.digest import digested
from beholder.data.sources.listing import some
from beholder.data.twins import Twins

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
TRAIN, VALID, TEST = 0, 1, 2


def split(
    pictures: Pictures,
    *,
    seed: int = 0,
    valid: float = 0.15,
    test: float = 0.15,
    twins: Twins | None = None,
    unreadable: Bools | None = None,
) -> Parts:
    """Return three parts; every picture is in exactly one, in the order of the source.

    twins: who is whose twin among these pictures, by the pixels; files with the same bytes are known without
    unreadable: bool (N,), pictures that show nothing: the same bytes make no twins of them
    valid, test: shares of the pictures that are divided. Parts that the source gives stay as they are; one that it does not
    give is taken from the pictures without a part, or, where all have one, from train.
    Raises `UsageError` (bad-share), `DataError` (too-few-pictures, no-train).
    """
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise UsageError(f"valid={valid:g} and test={test:g} leave nothing to train on", code="bad-share", hint="try 0.15 each")
    pictures = digested(pictures)
    units = unit_of(pictures, twins, alone=unreadable)
    assigned = pictures.parts.astype(np.int64)
    shares = _shares(assigned, valid, test)
    _follow(assigned, units, pictures)
    pool = _pool(assigned, units, shares)
    if shares[1:].any() or (assigned < 0).any():
        if len(pool) < np.count_nonzero(shares):
            raise DataError(
                f"{len(pool)} pictures are too few to divide into {np.count_nonzero(shares)} parts",
                code="too-few-pictures",
                hint="give more pictures: dozens of each class, for a result that means something",
            )
        assigned[pool] = _dealt(pictures, units[pool], pool, shares, seed)
    _tell(pictures, units, assigned, valid, test)
    chosen = replace(pictures, parts=assigned.astype(np.int8))
    train, val, held = (chosen.take(np.flatnonzero(assigned == part)) for part in range(3))
    return Parts(train, val, held)


def _shares(given: Ints, valid: float, test: float) -> Floats:
    """Return the shares (3,) by which the pool is divided: 0 for valid or test where the source gives it."""
    shares = np.array([0.0, 0.0 if (given == VALID).any() else valid, 0.0 if (given == TEST).any() else test])
    shares[TRAIN] = 1 - shares.sum()
    if not ((given == TRAIN) | (given < 0)).any():
        raise DataError(
            "the source gives no pictures to train on, only "
            + " and ".join(PARTS[p] for p in (VALID, TEST) if (given == p).any()),
            code="no-train",
            hint="add a train folder, or give the folder of class folders itself",
        )
    return shares


def unit_of(pictures: Pictures, twins: Twins | None = None, *, alone: Bools | None = None) -> Ints:
    """Return the unit of each picture, int64 (N,): union-find over equal digests, equal groups and twins.

    alone: bool (N,), pictures whose digests make them nobody's twin
    """
    assert pictures.digests is not None
    rows = np.ascontiguousarray(pictures.digests).view("V32").ravel()
    twin = np.unique(rows, return_inverse=True)[1].astype(np.int64).ravel()
    if alone is not None:
        twin[alone] = int(twin.max(initial=-1)) + 1 + np.arange(np.count_nonzero(alone))
    parent = list(range(int(twin.max(initial=-1)) + 1))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    for numbers in (pictures.groups, *([] if twins is None else [twins.groups()])):
        first: dict[int, int] = {}
        grouped = np.flatnonzero(numbers >= 0)
        for node, group in zip(twin[grouped].tolist(), numbers[grouped].tolist(), strict=True):
            a, b = find(first.setdefault(group, node)), find(node)
            parent[max(a, b)] = min(a, b)
    roots = np.fromiter((find(node) for node in range(len(parent))), np.int64, len(parent))
    return np.asarray(np.unique(roots[twin], return_inverse=True)[1], np.int64).ravel()


def _follow(assigned: Ints, units: Ints, pictures: Pictures) -> None:
    """Give pictures without a part that of the given pictures they are tied to (train first); warn of ties across parts."""
    if not (assigned >= 0).any():
        return
    held = np.zeros((int(units.max()) + 1, 3), bool)
    given = assigned >= 0
    held[units[given], assigned[given]] = True
    torn = np.asarray(np.count_nonzero(held, axis=1) > 1)
    if torn.any():
        n = int(torn[units[given]].sum())
        events.warn(
            f"{n:,} pictures have exact duplicates, or others of their group, in another part of the given split",
            hint="they stay where the source puts them, and the score will look better than it is: remove them from the source",
            code="leak",
            keys=[pictures.keys[i] for i in np.flatnonzero(torn[units] & given)[:100]],
        )
    tied = ~given & np.any(held, axis=1)[units]
    assigned[tied] = np.argmax(held, axis=1)[units[tied]]


def _pool(assigned: Ints, units: Ints, shares: Floats) -> Ints:
    """Return the rows to divide: those without a part; else those of train that nothing ties to another part."""
    free = np.flatnonzero(assigned < 0)
    if len(free) or not shares[1:].any():
        return free
    elsewhere = np.unique(units[assigned > 0])
    return np.flatnonzero((assigned == TRAIN) & ~np.isin(units, elsewhere))


@dataclass(frozen=True)
class _Units:
    """Units of the pool in seeded order, and what they show, as a sparse matrix by rows.

    sizes: pictures in each unit, (U,); starts: (U + 1,) into labels and numbers; labels: class; numbers: pictures with it
    """

    sizes: Floats
    starts: Ints
    labels: Ints
    numbers: Floats
    classes: int

    def of_label(self) -> list[Ints]:
        """Return the units that show each class, in order."""
        unit = np.repeat(np.arange(len(self.sizes)), np.diff(self.starts))
        order = np.argsort(self.labels, kind="stable")
        ends = np.cumsum(np.bincount(self.labels, minlength=self.classes))
        return np.split(unit[order], ends[:-1])


class _Deal:
    """What each part still lacks. wanted: (3, K) pictures of each class; room: (3,) pictures; part: (U,), -1 = open."""

    def __init__(self, units: _Units, shares: Floats) -> None:
        self.units = units
        self.shares = shares
        self.usable = np.flatnonzero(shares > 0)
        self.wanted = shares[:, None] * np.bincount(units.labels, units.numbers, minlength=units.classes)
        self.room = shares * units.sizes.sum()
        self.got = np.zeros_like(self.wanted, bool)
        self.open = np.bincount(units.labels, minlength=units.classes)
        self.enough = self.open >= len(self.usable)
        self.part = np.full(len(units.sizes), -1, np.int64)

    def row(self, unit: int) -> tuple[Ints, Floats]:
        span = slice(self.units.starts[unit], self.units.starts[unit + 1])
        return self.units.labels[span], self.units.numbers[span]

    def give(self, unit: int, label: int) -> None:
        """Give a unit to the part that lacks `label` most (-1: that has most room)."""
        labels, numbers = self.row(unit)
        part = self._best(labels, label)
        self.part[unit] = part
        self.wanted[part, labels] -= numbers
        self.room[part] -= self.units.sizes[unit]
        self.got[part, labels] = True
        self.open[labels] -= 1

    def _best(self, labels: Ints, label: int) -> int:
        allowed = self.usable
        scarce = labels[self.open[labels] <= len(allowed)] if len(labels) else labels
        if len(scarce):
            # A part that would otherwise never see some class of the unit comes first.
            lacking = ~self.got[np.ix_(allowed, scarce)]
            urgent = allowed[lacking[:, self.open[scarce] <= lacking.sum(axis=0)].any(axis=1)]
            allowed = urgent if len(urgent) else allowed
        score = self.wanted[allowed, label] + 1e-6 * self.room[allowed] if label >= 0 else self.room[allowed]
        return int(allowed[score.argmax()])


def _dealt(pictures: Pictures, units: Ints, pool: Ints, shares: Floats, seed: int) -> Ints:
    """Return the part of each row of the pool, int64 (M,)."""
    assert pictures.digests is not None
    names, unit = np.unique(units, return_inverse=True)
    unit = _shuffled(pictures.digests[pool], unit.ravel(), len(names), seed)
    table = _table(pictures, pool, unit, len(names))
    deal = _Deal(table, shares)
    simple = (table.sizes == 1) & (not pictures.multi)
    _deal_one_by_one(deal, ~simple)
    _deal_by_class(deal, np.flatnonzero(simple))
    return np.asarray(deal.part[unit], np.int64)


def _table(pictures: Pictures, pool: Ints, unit: Ints, n: int) -> _Units:
    k = len(pictures.classes)
    targets = pictures.targets[pool]
    rows, labels = np.nonzero(targets) if pictures.multi else (np.arange(len(pool)), targets.astype(np.int64))
    cells, numbers = np.unique(unit[rows] * k + labels, return_counts=True)
    starts = np.searchsorted(cells, np.arange(n + 1) * k)
    sizes = np.bincount(unit, minlength=n).astype(np.float64)
    return _Units(sizes, starts.astype(np.int64), cells % k, numbers.astype(np.float64), k)


def _shuffled(digests: npt.NDArray[np.uint8], unit: Ints, n: int, seed: int) -> Ints:
    """Return each row's unit, renumbered in a seeded order that depends on content and seed alone."""
    salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mixed = np.ascontiguousarray(digests[:, :8]).view("<u8").ravel() ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of SplitMix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    rank = np.full(n, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(rank, unit, mixed ^ (mixed >> np.uint64(31)))
    order = np.argsort(rank, kind="stable")
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return np.asarray(place[unit], np.int64)


def _deal_one_by_one(deal: _Deal, todo: npt.NDArray[np.bool_]) -> None:
    """Iterative stratification: always the rarest label still open, its largest units first. todo: (U,)."""
    of_label = deal.units.of_label()
    left = np.array([np.count_nonzero(todo[rows]) for rows in of_label])
    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        rows = of_label[label][todo[of_label[label]]]
        for unit in rows[np.argsort(-deal.units.sizes[rows], kind="stable")].tolist():
            deal.give(unit, label)
            left[deal.row(unit)[0]] -= 1
        todo[rows] = False
    for unit in np.flatnonzero(todo).tolist():
        deal.give(unit, -1)


def _deal_by_class(deal: _Deal, todo: Ints) -> None:
    """Deal out single pictures with one label, class by class, by the quotas that are still open."""
    labels = deal.units.labels[deal.units.starts[todo]]
    order = np.argsort(labels, kind="stable")
    for rows in np.split(todo[order], np.cumsum(np.bincount(labels))[:-1]) if len(todo) else ():
        if len(rows):
            ends = np.cumsum(_quotas(deal, int(deal.units.labels[deal.units.starts[rows[0]]]), len(rows)))
            deal.part[rows] = np.searchsorted(ends, np.arange(len(rows)), side="right")
            deal.room -= np.diff(ends, prepend=0)


def _quotas(deal: _Deal, label: int, n: int) -> Ints:
    """Return how many of `n` pictures each part gets, int64 (3,): largest remainders, at least one where that can be."""
    wanted = np.clip(deal.wanted[:, label], 0, None)
    exact = n * wanted / (wanted.sum() or 1.0)
    quotas: Ints = np.floor(exact).astype(np.int64)
    # Rounding alone would give every class's odd picture to the same part; the part with most room left takes it.
    order = np.lexsort((-deal.room, -np.round(exact - quotas, 9)))
    quotas[order[: n - quotas.sum()]] += 1
    for part in np.flatnonzero((deal.shares > 0) & ~deal.got[:, label] & (quotas == 0)).tolist():
        spare = quotas - ~deal.got[:, label]
        giver = int(np.argmax(spare))
        if spare[giver] > 0 and deal.enough[label]:
            quotas[giver] -= 1
            quotas[part] += 1
    return quotas


def _tell(pictures: Pictures, units: Ints, assigned: Ints, valid: float, test: float) -> None:
    """Warn of classes with one picture, and of parts that miss a class."""
    counts = pictures.counts()
    lone = [pictures.classes[k] for k in np.flatnonzero(counts == 1)]
    if lone:
        events.warn(
            f"{len(lone)} of {len(pictures.classes)} classes have only one picture: {some(lone)}",
            hint="such a class cannot be both learnt and tested: add pictures, or leave it out",
            code="lone-class",
        )
    for part, share in ((TRAIN, 1.0), (VALID, valid), (TEST, test)):
        rows = np.flatnonzero(assigned == part)
        if not len(rows) and not share:
            continue
        there = pictures.take(rows).counts()
        missing = [pictures.classes[k] for k in np.flatnonzero((there == 0) & (counts > 1))]
        if missing:
            events.warn(
                f"the {PARTS[part]} part has no picture of {len(missing)} of {len(pictures.classes)} classes: {some(missing)}",
                hint="each class needs three pictures or more that are neither duplicates nor of one group",
                code="missing-class",
                part=PARTS[part],
            )
