"""Train, valid and test: stratified, seeded, and leak-proof.

Pictures that must not be torn apart (exact duplicates, and those of one group) form a unit; whole units are dealt out.
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

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
TRAIN, VALID, TEST = 0, 1, 2


def split(pictures: Pictures, *, seed: int = 0, valid: float = 0.15, test: float = 0.15) -> Parts:
    """Return three parts; every picture is in exactly one, in the order of the source.

    valid, test: shares of the pictures that are divided. Parts that the source gives stay as they are; one that it does not
    give is taken from the pictures without a part, or, where all have one, from train.
    Raises `UsageError` (bad-share), `DataError` (too-few-pictures, no-train).
    """
    if not (valid >= 0 and test >= 0 and valid + test < 1):
        raise UsageError(f"valid={valid:g} and test={test:g} leave nothing to train on", code="bad-share", hint="try 0.15 each")
    pictures = digested(pictures)
    units = _units(pictures)
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


def _units(pictures: Pictures) -> Ints:
    """Return the unit of each picture, int64 (N,): union-find over equal digests and equal groups."""
    assert pictures.digests is not None
    rows = np.ascontiguousarray(pictures.digests).view("V32").ravel()
    twin = np.unique(rows, return_inverse=True)[1].astype(np.int64).ravel()
    parent = list(range(int(twin.max(initial=-1)) + 1))

    def find(node: int) -> int:
        while parent[node] != node:
            parent[node] = parent[parent[node]]
            node = parent[node]
        return node

    first: dict[int, int] = {}
    grouped = np.flatnonzero(pictures.groups >= 0)
    for node, group in zip(twin[grouped].tolist(), pictures.groups[grouped].tolist(), strict=True):
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


@dataclass
class _Deal:
    """Units of the pool in seeded order. counts: (U, K) pictures with each class; sizes: (U,); part: (U,), -1 = open."""

    counts: Floats
    sizes: Floats
    shares: Floats
    part: Ints

    def __post_init__(self) -> None:
        self.wanted = self.shares[:, None] * self.counts.sum(axis=0)
        self.room = self.shares * self.sizes.sum()
        self.got = np.zeros_like(self.wanted, bool)
        self.open = (self.counts > 0).sum(axis=0)
        self.enough = self.open >= np.count_nonzero(self.shares)

    def give(self, unit: int, part: int) -> None:
        row = self.counts[unit]
        self.part[unit] = part
        self.wanted[part] -= row
        self.room[part] -= self.sizes[unit]
        self.got[part] |= row > 0
        self.open -= row > 0

    def best(self, unit: int, label: int) -> int:
        """Return the part that lacks `label` most; but one that else would never see some class of the unit comes first."""
        score = self.wanted[:, label] + 1e-6 * self.room if label >= 0 else self.room
        usable = self.shares > 0
        has = self.counts[unit] > 0
        lacking = (~self.got[:, has]) & usable[:, None]
        urgent = lacking[:, self.open[has] <= lacking.sum(axis=0)].any(axis=1)
        allowed = urgent if urgent.any() else usable
        return int(np.flatnonzero(allowed)[np.argmax(score[allowed])])


def _dealt(pictures: Pictures, units: Ints, pool: Ints, shares: Floats, seed: int) -> Ints:
    """Return the part of each row of the pool, int64 (M,)."""
    assert pictures.digests is not None
    names, unit = np.unique(units, return_inverse=True)
    unit = unit.ravel()
    order, unit = _shuffled(pictures.digests[pool], unit, len(names), seed)
    labels = _multi_hot(pictures, pool)
    counts = np.zeros((len(order), labels.shape[1]))
    np.add.at(counts, unit, labels)
    sizes = np.bincount(unit, minlength=len(order)).astype(np.float64)
    deal = _Deal(counts, sizes, shares, np.full(len(order), -1, np.int64))
    simple = (sizes == 1) & (counts.sum(axis=1) == 1)
    _deal_one_by_one(deal, np.flatnonzero(~simple))
    _deal_by_class(deal, np.flatnonzero(simple))
    return np.asarray(deal.part[unit], np.int64)


def _shuffled(digests: npt.NDArray[np.uint8], unit: Ints, n: int, seed: int) -> tuple[Ints, Ints]:
    """Return the seeded order of the units, and each row's unit renumbered in it: it depends on content and seed alone."""
    salt = np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]
    mixed = np.ascontiguousarray(digests[:, :8]).view("<u8").ravel() ^ salt
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):  # the finaliser of SplitMix64
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    rank = np.full(n, np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(rank, unit, mixed ^ (mixed >> np.uint64(31)))
    order = np.argsort(rank, kind="stable")
    place = np.empty(n, np.int64)
    place[order] = np.arange(n)
    return order, place[unit]


def _multi_hot(pictures: Pictures, pool: Ints) -> Floats:
    targets = pictures.targets[pool]
    if pictures.multi:
        return targets.astype(np.float64)
    return np.eye(len(pictures.classes))[targets]


def _deal_one_by_one(deal: _Deal, todo: Ints) -> None:
    """Iterative stratification: always the rarest label still open, its largest units first."""
    left = deal.counts[todo].sum(axis=0)
    undealt = np.zeros(len(deal.part), bool)
    undealt[todo] = True
    while (left > 0).any():
        label = int(np.argmin(np.where(left > 0, left, np.inf)))
        rows = np.flatnonzero(undealt & (deal.counts[:, label] > 0))
        for unit in rows[np.argsort(-deal.sizes[rows], kind="stable")].tolist():
            deal.give(unit, deal.best(unit, label))
            undealt[unit] = False
            left -= deal.counts[unit]
    for unit in np.flatnonzero(undealt).tolist():
        deal.give(unit, deal.best(unit, -1))


def _deal_by_class(deal: _Deal, todo: Ints) -> None:
    """Deal out single pictures with one label, class by class, by the quotas that are still open."""
    labels = deal.counts[todo].argmax(axis=1)
    for label in np.unique(labels).tolist():
        rows = todo[labels == label]
        ends = np.cumsum(_quotas(deal, label, len(rows)))
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
